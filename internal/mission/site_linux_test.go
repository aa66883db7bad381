package mission

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	_ "github.com/sluiceproxy/sluice/internal/http2connect"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

const (
	admin    = "http://localhost:2019"
	host     = "example.com"
	origin   = "https://" + host
	redirect = http.StatusPermanentRedirect // from HTTP
)

// protocols is what the site is asked over.
var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// site is a running server with one of the Caddyfiles, and clients of it.
type site struct {
	Case
	ca      *acmetest.CA
	dns     *names
	log     *buffer
	process *exec.Cmd
	ended   chan error
	clients map[string]*http.Client // by protocol
	secure  *tls.Config             // of clients
}

// buffer is an output that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newSite makes what stands around a server.
func newSite(t *testing.T, c Case) *site {
	t.Helper()
	s := &site{Case: c, dns: newNames(t), log: &buffer{}, ended: make(chan error, 1), clients: map[string]*http.Client{}}
	s.ca = acmetest.Start(t, acmetest.Options{HTTPPort: 80, TLSPort: 443})
	s.secure = &tls.Config{RootCAs: s.ca.IssuedRoots()}
	for _, proto := range protocols {
		s.clients[proto] = s.client(t, proto)
	}
	return s
}

// up starts the server, and gives it the Caddyfile as its user would: adapted by one command, and then posted.
func (s *site) up(t *testing.T) {
	t.Helper()
	s.start(t)
	file := "/etc/sluice/" + s.Name
	must(t, os.WriteFile(file, []byte(s.Text), 0o644))
	adapt := s.command("adapt", "--config", file)
	var trouble strings.Builder
	adapt.Stderr = &trouble
	text, err := adapt.Output()
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, trouble.String())
	}
	s.post(t, "application/json", string(text))
	s.isSecure(t)
	before := s.document(t)
	if adapted := parse(t, text); !reflect.DeepEqual(before, adapted) {
		t.Errorf("what runs is not what was adapted:\n%v\n%v", before, adapted)
	}
	s.load(t, s.Text)
	// A Caddyfile that was posted has no name that files of a site are hidden by.
	before = parse(t, bytes.ReplaceAll(text, []byte(`"`+file+`"`), []byte(`"./Caddyfile"`)))
	if after := s.document(t); !reflect.DeepEqual(before, after) {
		t.Errorf("the Caddyfile itself, posted, is something else:\n%v\n%v", after, before)
	}
}

// command is a command of the program, with no more in its environment than it needs.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/tools/sluice", args...)
	cmd.Dir = "/" + home
	cmd.Env = []string{"HOME=/" + home, "PATH=/usr/bin:/bin", "SLUICE_NO_TRUST_INSTALL=1", "SLUICE_ACME_CA_URL=" + s.ca.Directory, "SLUICE_ACME_CA_ROOT=" + s.ca.RootsFile}
	return cmd
}

// start starts the server, and stops it in peace when the test ends.
func (s *site) start(t *testing.T) {
	t.Helper()
	s.process = s.command("run")
	s.process.Stdout, s.process.Stderr = s.log, s.log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, s.process.Start())
	go func() { s.ended <- s.process.Wait() }()
	t.Cleanup(func() {
		for _, c := range s.clients {
			c.CloseIdleConnections()
		}
		_ = s.process.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-s.ended:
			if err != nil {
				t.Errorf("the server has ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the server does not stop")
			_ = s.process.Process.Kill()
			<-s.ended
		}
		if text := s.log.String(); strings.Contains(text, "panic") {
			t.Errorf("a panic is in the log")
		}
		if t.Failed() {
			text := s.log.String()
			t.Logf("the end of the log:\n%s", text[max(0, len(text)-20_000):])
		}
	})
	poll(t, "the API to answer", func() error {
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("the server has ended: %v\n%s", err, s.log)
		default:
		}
		res, err := http.Get(admin + "/healthz")
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	})
}

// poll asks until the answer is no error.
func poll(t *testing.T, what string, ask func() error) {
	t.Helper()
	within(t, patience, what, ask)
}

func within(t *testing.T, limit time.Duration, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s: %v", limit, what, err)
		}
		<-tick.C
	}
}

// post gives the server a document in some language.
func (s *site) post(t *testing.T, language, text string) {
	t.Helper()
	res, err := http.Post(admin+"/load", language, strings.NewReader(text))
	must(t, err)
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("POST /load: %s\n%s\n%s", res.Status, body, text)
	}
}

// load gives the server another Caddyfile.
func (s *site) load(t *testing.T, text string) {
	t.Helper()
	s.post(t, "text/caddyfile", text)
}

// edit loads the Caddyfile with one text in the place of another.
func (s *site) edit(t *testing.T, from, to string) {
	t.Helper()
	if strings.Count(s.Text, from) != 1 {
		t.Fatalf("%q is not in the file once:\n%s", from, s.Text)
	}
	s.load(t, strings.Replace(s.Text, from, to, 1))
}

func parse(t *testing.T, text []byte) (doc any) {
	t.Helper()
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc
}

// document is what the API says that runs.
func (s *site) document(t *testing.T) any {
	t.Helper()
	res, err := http.Get(admin + "/config/")
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	return parse(t, text)
}

// client makes a client of a protocol, which finds the site by its name and trusts nobody but the authority.
func (s *site) client(t *testing.T, proto string) *http.Client {
	var via http.RoundTripper
	switch proto {
	case "HTTP/3.0":
		h3 := &http3.Transport{TLSClientConfig: s.secure.Clone()}
		t.Cleanup(func() { _ = h3.Close() })
		via = h3
	default:
		h := &http.Transport{TLSClientConfig: s.secure.Clone(), ForceAttemptHTTP2: proto == "HTTP/2.0"}
		if proto == "HTTP/1.1" {
			h.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		t.Cleanup(h.CloseIdleConnections)
		via = h
	}
	return &http.Client{Transport: via, Timeout: 2 * patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// isSecure waits until the site is served over all protocols with a certificate of the authority, and looks at what comes
// with that. A site whose backends are down is secure as well.
func (s *site) isSecure(t *testing.T) {
	t.Helper()
	for _, proto := range protocols {
		poll(t, "HTTPS over "+proto, func() error {
			res, err := s.clients[proto].Get(origin + "/")
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if res.Proto != proto {
				t.Errorf("the protocol is %s, want %s", res.Proto, proto)
			}
			if leaf := res.TLS.PeerCertificates[0]; !slices.Equal(leaf.DNSNames, []string{host}) || !strings.HasPrefix(leaf.Issuer.CommonName, "Pebble") {
				t.Errorf("%s: a certificate for %v by %s", proto, leaf.DNSNames, leaf.Issuer)
			}
			if offer := res.Header.Get("Alt-Svc"); proto != "HTTP/3.0" && !strings.Contains(offer, `h3=":443"`) {
				t.Errorf("%s: Alt-Svc is %q", proto, offer)
			}
			return nil
		})
	}
	if n := s.ca.Issued(); n != 1 {
		t.Errorf("the authority has issued %d certificates", n)
	}
	plain := s.client(t, "HTTP/1.1")
	for _, uri := range []string{"/", "/some/path?x=1&y=%20", "//double"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+host+uri, nil)
			must(t, err)
			res, err := plain.Do(req)
			must(t, err)
			res.Body.Close()
			if to := res.Header.Get("Location"); res.StatusCode != redirect || to != origin+uri {
				t.Errorf("%s http://%s%s: %d to %q", method, host, uri, res.StatusCode, to)
			}
		}
	}
}

// reply is an answer that was read.
type reply struct {
	*http.Response
	text string
}

// request is a request to the site: method and path, and lines of header.
func (s *site) request(t *testing.T, method, uri string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, origin+uri, body)
	must(t, err)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// try sends a request and reads the answer. It may be used by any goroutine.
func (s *site) try(proto string, req *http.Request) (reply, error) {
	res, err := s.clients[proto].Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.Proto != proto {
		err = fmt.Errorf("the protocol is %s, want %s", res.Proto, proto)
	}
	return reply{res, string(text)}, err
}

// do sends a request that is answered.
func (s *site) do(t *testing.T, proto string, req *http.Request) reply {
	t.Helper()
	r, err := s.try(proto, req)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", req.Method, req.URL, proto, err)
	}
	return r
}

// get asks for a path over HTTP/2.
func (s *site) get(t *testing.T, uri string, header ...string) reply {
	t.Helper()
	return s.do(t, "HTTP/2.0", s.request(t, http.MethodGet, uri, nil, header...))
}

// status asks for no more than the status.
func (s *site) status(t *testing.T) int {
	t.Helper()
	return s.get(t, "/").StatusCode
}

// becomes waits for a status.
func (s *site) becomes(t *testing.T, status int) {
	t.Helper()
	poll(t, fmt.Sprint("status ", status), func() error {
		if got := s.status(t); got != status {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
}

// seen asks for what a backend says about the request.
func (s *site) seen(t *testing.T, proto, uri string, header ...string) (reply, seen) {
	t.Helper()
	r := s.do(t, proto, s.request(t, http.MethodGet, uri, nil, header...))
	return r, r.seen(t)
}

func (r reply) seen(t *testing.T) (v seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.text), &v); err != nil {
		t.Fatalf("%s %s: %s: %v in %q", r.Request.Method, r.Request.URL, r.Status, err, r.text)
	}
	return v
}

// turns are who answered n requests, one after the other.
func (s *site) turns(t *testing.T, n int, header ...string) (list []string) {
	t.Helper()
	for range n {
		_, v := s.seen(t, "HTTP/2.0", "/", header...)
		list = append(list, v.Name)
	}
	return list
}

// pages asks for files and redirects over all protocols: each path, the status, and the body or the address of the redirect.
func (s *site) pages(t *testing.T, want [][3]string) {
	t.Helper()
	for _, proto := range protocols {
		for _, w := range want {
			r := s.do(t, proto, s.request(t, http.MethodGet, w[0], nil))
			got := r.text
			if r.StatusCode/100 == 3 {
				got = r.Header.Get("Location")
			}
			if fmt.Sprint(r.StatusCode) != w[1] || strings.TrimSpace(got) != w[2] {
				t.Errorf("%s over %s: %d %q, want %s %q", w[0], proto, r.StatusCode, got, w[1], w[2])
			}
		}
	}
}

// write makes files, each below a folder.
func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(folder, name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(text), 0o644))
	}
}

// dial connects to the site over TLS for HTTP/1.1.
func (s *site) dial(t *testing.T) net.Conn {
	t.Helper()
	c := s.secure.Clone()
	c.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", host+":443", c)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}
