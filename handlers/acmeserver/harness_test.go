package acmeserver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/go-jose/go-jose/v4"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server/pki"
)

// document is what is built: a handler and the authorities.
type document struct {
	PKI    module.Ref[*pki.App]         `json:"pki" module:"=pki"`
	Handle module.Ref[handlers.Handler] `json:"handle" module:"http.handlers" inline:"handler"`
}

// world is a process with an ACME server.
type world struct {
	t           *testing.T
	dir         string
	databases   *Databases
	authorities *pki.Authorities
	builder     *module.Builder
	built       *module.Built
	handler     atomic.Pointer[handler]
	server      *httptest.Server

	mu  sync.Mutex
	now time.Time // zero for the clock
	// ports is where names lead: to this machine, whatever they are.
	httpPort, tlsPort string
}

// newWorld starts an ACME server with a config.
func newWorld(t *testing.T, cfg string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.httpPort, w.tlsPort = freePort(t), freePort(t)
	w.authorities = pki.NewAuthorities(pki.Options{Storage: &certmagic.FileStorage{Path: w.dir}})
	t.Cleanup(w.authorities.Close)
	w.start()
	w.load(cfg)
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		next := handlers.NextFunc(func(rw http.ResponseWriter, _ *http.Request) error {
			http.Error(rw, "next", http.StatusTeapot)
			return nil
		})
		if err := w.handler.Load().ServeHTTP(rw, r, next); err != nil {
			t.Errorf("the handler returned %v", err)
		}
	}))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	t.Cleanup(w.unload)
	return w
}

// start makes the services, as a process does when it starts.
func (w *world) start() {
	dialer := &net.Dialer{}
	w.databases = NewDatabases(Options{Dir: w.dir, now: w.clock, check: checks{
		httpPort: w.httpPort, tlsPort: w.tlsPort, waits: []time.Duration{time.Millisecond},
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}})
	services := module.Services{}
	module.Provide(services, w.databases)
	module.Provide(services, w.authorities)
	specs := append(pki.Specs(), Spec(), module.New("document", "Holds all.", nil, func(_ *module.Env, c *document) (handlers.Handler, error) {
		return c.Handle.Value(), nil
	}))
	table, err := module.NewTable(specs, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.builder = &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{}, Services: services}}
}

// clock is the time of the server.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now.IsZero() {
		return time.Now()
	}
	return w.now
}

func (w *world) setClock(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

// build compiles and prepares a document.
func (w *world) build(cfg string) (module.Result, error) {
	w.t.Helper()
	doc := `{"pki": {"certificate_authorities": {"local": {"install_trust": false}, "lab": {"install_trust": false, "name": "Lab"}}}, "handle": {"handler": "acme_server"` + cfg + `}}`
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		w.t.Fatalf("%s: %v", doc, err)
	}
	res := w.builder.Build(w.built, "document", node, module.Options{})
	if len(res.Problems) > 0 {
		return res, res.Problems
	}
	var done []module.Resource
	// As the engine does: authorities before what needs them.
	slices.SortStableFunc(res.New, func(a, b *module.Built) int { return cmp.Compare(rank(a), rank(b)) })
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				for i := len(done) - 1; i >= 0; i-- {
					done[i].Close()
				}
				return res, err
			}
			done = append(done, r)
		}
	}
	return res, nil
}

func rank(b *module.Built) int {
	if b.ID() == pki.AppID {
		return 0
	}
	return 1
}

// load puts a config to use, as an edit does.
func (w *world) load(cfg string) {
	w.t.Helper()
	res, err := w.build(cfg)
	if err != nil {
		w.t.Fatalf("%s: %v", cfg, err)
	}
	w.handler.Store(res.Root.Value().(*handler))
	w.built = res.Root
	for _, b := range res.New {
		for _, r := range b.Owned() {
			r.Start()
		}
	}
	closeAll(res.Gone)
}

// unload ends all handlers.
func (w *world) unload() {
	if w.built != nil {
		closeAll(w.built.All())
		w.built = nil
	}
}

func closeAll(list []*module.Built) {
	for _, b := range list {
		for _, r := range b.Owned() {
			r.Close()
		}
	}
}

func (w *world) directory() string { return w.server.URL + "/acme/local/directory" }

// host is the host and port of the server.
func (w *world) host() string { return strings.TrimPrefix(w.server.URL, "https://") }

// roots is who has signed certificates.
func (w *world) roots(ca string) *x509.CertPool {
	w.t.Helper()
	a, err := w.authorities.Get(ca)
	if err != nil {
		w.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Root())
	return pool
}

// raw is the client that knows the protocol, with the solvers.
func (w *world) raw(solvers map[string]acmez.Solver) *acmez.Client {
	return &acmez.Client{
		Client:           &acme.Client{Directory: w.directory(), HTTPClient: w.server.Client(), PollInterval: 10 * time.Millisecond, PollTimeout: 30 * time.Second},
		ChallengeSolvers: solvers,
	}
}

func newKeyPair(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// account makes an account.
func (w *world) account(c *acme.Client, contact ...string) acme.Account {
	w.t.Helper()
	a, err := c.NewAccount(w.t.Context(), acme.Account{Contact: contact, TermsOfServiceAgreed: true, PrivateKey: newKeyPair(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(porttest.Free(t, 1)[0])
}

func listenAt(t *testing.T, port string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// signed is what a hand-made request is made of.
type signed struct {
	key     any // private
	kid     string
	url     string // default: where it goes
	nonce   string // default: a fresh one
	alg     jose.SignatureAlgorithm
	extra   map[jose.HeaderKey]any
	kind    string // Content-Type
	change  func(body []byte) []byte
	payload any // nil for none, a string as it is
}

// sign makes a JWS.
func (s *signed) sign(t testing.TB, url, nonce string) []byte {
	t.Helper()
	alg := s.alg
	if alg == "" {
		alg = jose.ES256
	}
	opts := (&jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"url": url}})
	if nonce != "" {
		opts.ExtraHeaders["nonce"] = nonce
	}
	for k, v := range s.extra {
		opts.ExtraHeaders[k] = v
	}
	key := any(s.key)
	if s.kid != "" {
		opts.ExtraHeaders["kid"] = s.kid
	} else {
		opts.EmbedJWK = true
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	var payload []byte
	switch p := s.payload.(type) {
	case nil:
	case string:
		payload = []byte(p)
	default:
		if payload, err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text := jws.FullSerialize()
	if len(payload) == 0 {
		text = `{"payload":"",` + text[1:] // the library leaves it out
	}
	return []byte(text)
}

// reply is an answer that was read.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	problem problem
}

// nonce fetches one.
func (w *world) nonce() string {
	w.t.Helper()
	return w.do(http.MethodHead, "/acme/local/new-nonce", "", nil).header.Get("Replay-Nonce")
}

// post sends a hand-made request.
func (w *world) post(path string, s signed) reply {
	w.t.Helper()
	url := s.url
	if url == "" {
		url = w.server.URL + path
	}
	nonce := s.nonce
	if nonce == "" {
		nonce = w.nonce()
	}
	body := s.sign(w.t, url, nonce)
	if s.change != nil {
		body = s.change(body)
	}
	kind := s.kind
	if kind == "" {
		kind = jwsType
	}
	return w.do(http.MethodPost, path, kind, body)
}

func (w *world) do(method, path, kind string, body []byte) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := reply{status: resp.StatusCode, header: resp.Header}
	if out.body, err = io.ReadAll(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(out.body, &out.problem); err != nil {
			w.t.Fatal(err)
		}
	}
	return out
}

// want fails unless a reply is the error of a kind.
func (r reply) want(t testing.TB, what, kind string, status int) {
	t.Helper()
	if r.status != status || r.problem.Type != problemNamespace+kind || r.problem.Status != status || r.problem.Detail == "" {
		t.Errorf("%s: %d %s; want %d and %s", what, r.status, r.body, status, kind)
	}
	if r.header.Get("Replay-Nonce") == "" {
		t.Errorf("%s: the error has no nonce", what)
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// quiet is a logger of nothing.
func quiet() *zap.Logger { return zap.NewNop() }

var discard = log.New(io.Discard, "", 0)
