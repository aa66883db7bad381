package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

func table(t testing.TB) *module.Table {
	t.Helper()
	tb, err := module.NewTable(slices.Concat([]module.Spec{Spec()}, reverseproxy.Specs(), route.Specs()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

// build compiles a handler; the result has its problems.
func build(t testing.TB, text string, copies *Copies) (*handler, module.Result) {
	t.Helper()
	services := module.Services{}
	module.Provide(services, copies)
	module.Provide(services, upstream.NewPool(nil))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	module.Provide(services, logs.NewSwitch(logs.Process{Stderr: io.Discard}))
	b := module.Builder{Table: table(t), Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{}, Services: services}}
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	res := b.Build(nil, Spec().ID, n, module.Options{})
	if len(res.Problems) > 0 {
		return nil, res
	}
	for _, built := range res.New {
		for _, r := range built.Owned() {
			if err := r.Prepare(); err != nil {
				t.Fatal(err)
			}
			r.Start()
			t.Cleanup(r.Close)
		}
	}
	return res.Root.Value().(*handler), res
}

// site is a server with a mirror before a handler.
type site struct {
	*httptest.Server
	t      *testing.T
	mirror *handler
	copies *Copies
	next   func(w http.ResponseWriter, r *http.Request) error
}

func (s *site) Name() string              { return "test" }
func (s *site) LogCredentials() bool      { return false }
func (s *site) Logger(string) *zap.Logger { return zap.NewNop() }
func (s *site) ShutdownAt() time.Time     { return time.Time{} }
func (s *site) NamedRoute(string, http.ResponseWriter, *http.Request, handlers.Next) (bool, error) {
	return false, nil
}

// newSite makes one; %s in more stands for nothing. The handler behind echoes the body.
func newSite(t *testing.T, upstreams []string, more string) *site {
	t.Helper()
	s := &site{t: t, copies: NewCopies(nil), next: func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		_, err = w.Write(body)
		return err
	}}
	var list []string
	for _, u := range upstreams {
		list = append(list, fmt.Sprintf(`{"dial":%q}`, u))
	}
	s.mirror, _ = build(t, `{"upstreams":[`+strings.Join(list, ",")+`]`+more+`}`, s.copies)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &handlers.Exchange{Server: s, Response: handlers.NewResponseWriter(w), Globals: vars.Map{}}
		r = x.Begin(r, nil)
		defer x.Finish()
		if err := s.mirror.ServeHTTP(x.Response, r, handlers.NextFunc(s.next)); err != nil {
			w.WriteHeader(500)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// send sends a request and wants the body back.
func (s *site) send(method, path, body string, lines ...string) {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	s.do(method, path, reader, body, lines...)
}

func (s *site) do(method, path string, body io.Reader, want string, lines ...string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != want || res.StatusCode != 200 {
		s.t.Errorf("%d, %d bytes, %v; want 200 and %d bytes", res.StatusCode, len(got), err, len(want))
	}
}

// want waits until this many copies had an outcome, and nothing is held any more.
func (s *site) want(counts map[outcome]int64) {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		bad := ""
		for o := range outcomes {
			if n := s.copies.outcomes[o].Load(); n != counts[o] {
				bad += fmt.Sprintf(" %s %d, want %d;", outcomeNames[o], n, counts[o])
			}
		}
		if n := s.copies.held.Load(); n != 0 {
			bad += fmt.Sprintf(" %d bytes are held", n)
		}
		if bad == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(bad)
		}
		<-time.After(time.Millisecond)
	}
}

// shadow is a server for copies. It shows what it got.
type shadow struct {
	mu  sync.Mutex
	got []string
	r   *http.Request
}

func (s *shadow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r.Method+" "+r.Host+r.RequestURI+" "+string(body))
	s.r = r
	w.WriteHeader(500)
	io.WriteString(w, "an answer that nobody gets")
}

func (s *shadow) last() (string, *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[len(s.got)-1], s.r
}

func serve(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestCopies(t *testing.T) {
	var to shadow
	s := newSite(t, []string{serve(t, &to)}, "")
	host := s.Listener.Addr().String()
	for i, tt := range []struct{ method, path, body string }{
		{"GET", "/a%2Fb?x=1&y", ""}, {"POST", "/p", "hello"}, {"PUT", "/", strings.Repeat("x", 1<<20)}, {"HEAD", "/", ""}, {"DELETE", "/d", ""},
	} {
		s.send(tt.method, tt.path, tt.body, "X-Own: 1", "Connection: X-Hop", "X-Hop: 1", "X-Forwarded-For: 203.0.113.1", "Authorization: secret")
		s.want(map[outcome]int64{answered: int64(i + 1)})
		got, r := to.last()
		if want := tt.method + " " + host + tt.path + " " + tt.body; got != want {
			t.Errorf("the copy is %.80q, want %.80q", got, want)
		}
		if h := r.Header; h.Get("X-Own") != "1" || h.Get("X-Hop") != "" || h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Host") != host ||
			h.Get("X-Forwarded-Proto") != "http" || h.Get("Via") != "1.1 sluice" || h.Get("Authorization") != "secret" {
			t.Errorf("header of the copy: %v", h)
		}
	}
	// A body whose length is not known.
	s.do("POST", "/chunked", io.MultiReader(strings.NewReader("in "), strings.NewReader("parts")), "in parts")
	s.want(map[outcome]int64{answered: 6})
	if got, _ := to.last(); got != "POST "+host+"/chunked in parts" {
		t.Errorf("the copy is %q", got)
	}
}

func TestTurnsAndPlaceholders(t *testing.T) {
	var a, b shadow
	s := newSite(t, []string{serve(t, &a), "{http.vars.to}"}, "")
	s.mirror.targets[1].text = vars.Parse(serve(t, &b))
	for i := range 6 {
		s.send("GET", "/", "")
		s.want(map[outcome]int64{answered: int64(i + 1)})
	}
	if len(a.got) != 3 || len(b.got) != 3 {
		t.Errorf("%d and %d copies, want 3 each", len(a.got), len(b.got))
	}
	s.mirror.targets[1].text = vars.Parse("{unknown}x:1-2")
	s.send("GET", "/", "")
	s.send("GET", "/", "")
	s.want(map[outcome]int64{answered: 7, failed: 1})
}

func TestShare(t *testing.T) {
	var to shadow
	s := newSite(t, []string{serve(t, &to)}, `,"percent":25`)
	n := 0
	s.mirror.random = func() float64 { n++; return float64(n%100) / 100 }
	for range 100 {
		s.send("GET", "/", "")
	}
	s.want(map[outcome]int64{answered: 25})
	none := newSite(t, []string{serve(t, &to)}, `,"percent":0`)
	none.send("GET", "/", "")
	none.want(nil)
}

// Requests go on as if there was no mirror when those that get the copies are dead, hang, or send garbage.
func TestFaults(t *testing.T) {
	hang := make(chan struct{})
	hanging := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(func() { close(hang) })
	garbage := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			io.WriteString(c, "garbage\r\n\r\n")
			c.Close()
		}
	}))
	dead := httptest.NewServer(nil)
	dead.Close()
	s := newSite(t, []string{hanging, garbage, dead.Listener.Addr().String()}, `,"timeout":"100ms","max_concurrent":9`)
	begun := time.Now()
	for range 9 {
		s.send("POST", "/", "hello")
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("9 requests took %v", d)
	}
	s.want(map[outcome]int64{failed: 9})
}

func TestSkipped(t *testing.T) {
	var to shadow
	address := serve(t, &to)
	t.Run("large", func(t *testing.T) {
		s := newSite(t, []string{address}, `,"max_body":1000`)
		s.send("POST", "/", strings.Repeat("x", 1000))
		s.want(map[outcome]int64{answered: 1})
		s.send("POST", "/", strings.Repeat("x", 1001))
		long := strings.Repeat("y", 1001)
		s.do("POST", "/", io.MultiReader(strings.NewReader(long)), long)
		s.want(map[outcome]int64{answered: 1, skippedLarge: 2})
	})
	t.Run("not read", func(t *testing.T) {
		s := newSite(t, []string{address}, "")
		s.next = func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.ReadFull(r.Body, make([]byte, 3))
			return err
		}
		s.do("POST", "/", strings.NewReader("hello"), "")
		s.want(map[outcome]int64{skippedIncomplete: 1})
		s.next = func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.ReadFull(r.Body, make([]byte, 5)) // all there is, without a look for the end
			return err
		}
		s.do("POST", "/", strings.NewReader("hello"), "")
		s.want(map[outcome]int64{skippedIncomplete: 1, answered: 1})
	})
	t.Run("broken off", func(t *testing.T) {
		s := newSite(t, []string{address}, "")
		s.next = func(_ http.ResponseWriter, r *http.Request) error { _, err := io.ReadAll(r.Body); return err }
		x := &handlers.Exchange{Server: s, Response: handlers.NewResponseWriter(httptest.NewRecorder()), Globals: vars.Map{}}
		r := x.Begin(httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("part"), brokenBody{})), nil)
		if err := s.mirror.ServeHTTP(x.Response, r, handlers.NextFunc(s.next)); !errors.Is(err, errBroken) {
			t.Errorf("the handler got %v", err)
		}
		s.want(map[outcome]int64{skippedIncomplete: 1})
	})
	t.Run("upgrade", func(t *testing.T) {
		s := newSite(t, []string{address}, "")
		s.send("GET", "/", "", "Connection: Upgrade", "Upgrade: websocket")
		s.want(map[outcome]int64{skippedUpgrade: 1})
	})
	t.Run("busy", func(t *testing.T) {
		hang := make(chan struct{})
		s := newSite(t, []string{serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))}, `,"max_concurrent":2,"queue":3`)
		for range 10 {
			s.send("POST", "/", "hello")
		}
		if n := s.copies.outcomes[skippedBusy].Load(); n != 5 {
			t.Errorf("%d copies were skipped, want 5", n)
		}
		if n := s.copies.held.Load(); n != 25 {
			t.Errorf("%d bytes are held, want 25", n)
		}
		close(hang)
		s.want(map[outcome]int64{answered: 5, skippedBusy: 5})
		s.mirror.sender.mu.Lock()
		defer s.mirror.sender.mu.Unlock()
		if n := s.mirror.sender.running; n > 2 {
			t.Errorf("%d copies ran at the same time", n)
		}
	})
	t.Run("memory", func(t *testing.T) {
		s := newSite(t, []string{address}, "")
		s.copies.held.Store(maxHeld - 3)
		s.send("POST", "/", "hello")
		s.copies.held.Add(3 - maxHeld)
		s.want(map[outcome]int64{skippedBusy: 1})
	})
}

var errBroken = errors.New("the client broke off")

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errBroken }

// Many requests at once, some with large bodies.
func TestLoad(t *testing.T) {
	var to shadow
	s := newSite(t, []string{serve(t, &to)}, `,"max_body":100000,"queue":100000`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				s.send("POST", "/", strings.Repeat("z", 10000*(1+(i+j)%12)))
			}
		})
	}
	wg.Wait()
	large := s.copies.outcomes[skippedLarge].Load()
	if large == 0 || large == 160 {
		t.Errorf("%d of 160 bodies were too large", large)
	}
	s.want(map[outcome]int64{answered: 160 - large, skippedLarge: large})
	for _, g := range to.got {
		if body := g[strings.LastIndexByte(g, ' ')+1:]; strings.Trim(body, "z") != "" || len(body)%10000 != 0 {
			t.Fatalf("a copy has a body of %d bytes", len(body))
		}
	}
}

func TestLoadProblems(t *testing.T) {
	for _, tt := range []struct{ config, want string }{
		{`{}`, "/upstreams"}, {`{"upstreams":[]}`, "/upstreams"}, {`{"upstreams":[{"dial":""}]}`, "/upstreams/0/dial"},
		{`{"upstreams":[{"dial":"a:1"},{"dial":"a:1-2"}]}`, "/upstreams/1/dial"}, {`{"upstreams":[{"dial":"a:1"}],"percent":101}`, "/percent"},
		{`{"upstreams":[{"dial":"a:1"}],"percent":-1}`, "/percent"}, {`{"upstreams":[{"dial":"a:1"}],"max_concurrent":0}`, "/max_concurrent"},
		{`{"upstreams":[{"dial":"a:1"}],"timeout":0}`, "/timeout"}, {`{"upstreams":[{"dial":"a:1"}],"queue":-1}`, "/queue"},
		{`{"upstreams":[{"dial":"a:1"}],"transport":{"protocol":"x"}}`, "/transport"}, {`{"upstreams":[{"dial":"a:1","max_requests":1}]}`, "/upstreams/0/max_requests"},
	} {
		if _, res := build(t, tt.config, NewCopies(nil)); !strings.Contains(res.Problems.Error(), tt.want) {
			t.Errorf("%s: %v lacks %s", tt.config, res.Problems, tt.want)
		}
	}
	for _, e := range Spec().Examples {
		if _, res := build(t, strings.Replace(e.JSON, `"handler":"mirror",`, "", 1), NewCopies(nil)); len(res.Problems)+len(res.Warnings) > 0 {
			t.Errorf("%s: %v %v", e.JSON, res.Problems, res.Warnings)
		}
	}
}

func TestMetrics(t *testing.T) {
	r, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCopies(r)
	c.count(answered)
	c.count(skippedLarge)
	c.hold(7)
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	for _, want := range []string{`sluice_mirror_copies_total{outcome="answered"} 1`, `sluice_mirror_copies_total{outcome="skipped_large"} 1`, `sluice_mirror_held_bytes 7`} {
		if !bytes.Contains(rec.Body.Bytes(), []byte(want)) {
			t.Errorf("%s is missing", want)
		}
	}
}

func BenchmarkMirror(b *testing.B) {
	h := &handler{copies: NewCopies(nil), share: 0.5, random: func() float64 { return 1 }}
	w, next := httptest.NewRecorder(), handlers.NextFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	x := &handlers.Exchange{Response: handlers.NewResponseWriter(w), Globals: vars.Map{}}
	r := x.Begin(httptest.NewRequest("GET", "/", nil), nil)
	b.ReportAllocs()
	for b.Loop() {
		_ = h.ServeHTTP(w, r, next)
	}
}
