package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/proxyprotocol"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an engine with a few test handlers and a journal in memory.
type world struct {
	*server.Engine
	t       *testing.T
	journal *journal
	open    atomic.Int64 // resources held
	hold    chan struct{}
	metrics *metrics.Registry
}

type journal struct {
	mu      sync.Mutex
	entries []server.Entry
	commits int
	fail    error
	block   chan struct{}
}

func (j *journal) Commit(_ context.Context, base uint64, entries []server.Entry, document func() []byte) error {
	if j.block != nil {
		<-j.block
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	if base != uint64(len(j.entries)) {
		return fmt.Errorf("base %d, have %d", base, len(j.entries))
	}
	if len(document()) == 0 {
		return errors.New("no document")
	}
	j.entries = append(j.entries, entries...)
	j.commits++
	return nil
}

type sayConfig struct {
	Body  string `json:"body"`
	File  string `json:"file"`
	Owns  bool   `json:"owns"`
	Fails bool   `json:"fails"`
}

// say answers with its body; with "owns" it holds a resource.
func (w *world) specs() []module.Spec {
	say := module.New("http.handlers.say", "Says.", nil, func(env *module.Env, c *sayConfig) (handlers.Handler, error) {
		if c.File != "" {
			data, err := env.ReadFile(c.File)
			if err != nil {
				return nil, err
			}
			c.Body += string(data)
		}
		if c.Owns {
			env.Own(module.Acquired(func() error {
				if c.Fails {
					return errors.New("the resource is not to be had")
				}
				w.open.Add(1)
				return nil
			}, func() { w.open.Add(-1) }))
		}
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			_, err := io.WriteString(rw, c.Body)
			return err
		}), nil
	})
	fail := module.New("http.handlers.fail", "Fails.", nil, func(_ *module.Env, c *struct {
		Status int    `json:"status"`
		Panic  bool   `json:"panic"`
		Plain  bool   `json:"plain"`
		Says   string `json:"says"` // before it fails
	}) (handlers.Handler, error) {
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			if c.Says != "" {
				if _, err := io.WriteString(rw, c.Says); err != nil {
					return err
				}
			}
			r.Method, r.URL.Path = "CHANGED", "/changed"
			switch {
			case c.Panic:
				panic("boom")
			case c.Plain:
				return errors.New("plain")
			}
			return handlers.NewError(c.Status, errors.New("told to fail"))
		}), nil
	})
	show := module.New("http.handlers.show", "Expands a text.", nil, func(_ *module.Env, c *struct {
		Text string `json:"text"`
	}) (handlers.Handler, error) {
		text := vars.Parse(c.Text)
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			x := handlers.Of(r)
			if status, ok := x.ErrStatus(); ok {
				rw.WriteHeader(status)
			}
			_, err := io.WriteString(rw, text.Expand(x, vars.All, ""))
			return err
		}), nil
	})
	held := module.New("http.handlers.held", "Waits to be let go.", nil, func(_ *module.Env, c *struct {
		Release bool `json:"release"`
	}) (handlers.Handler, error) {
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			rw.WriteHeader(200)
			_ = http.NewResponseController(rw).Flush()
			if c.Release {
				handlers.Of(r).Release()
			}
			<-w.hold
			_, err := io.WriteString(rw, "done")
			return err
		}), nil
	})
	pass := module.New("http.handlers.pass", "Goes on.", nil, func(*module.Env, *struct{}) (handlers.Handler, error) {
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, next handlers.Next) error {
			return next.ServeHTTP(rw, r)
		}), nil
	})
	talk := module.New("http.handlers.talk", "Sends back what comes, as it comes.", nil, func(*module.Env, *struct{}) (handlers.Handler, error) {
		return handlers.HandlerFunc(func(rw http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			buf := make([]byte, 100)
			for {
				n, err := r.Body.Read(buf)
				if _, err := rw.Write(buf[:n]); err != nil {
					return err
				}
				if err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := http.NewResponseController(rw).Flush(); err != nil {
					return err
				}
			}
		}), nil
	})
	admin := module.New("sluice.admin", "None.", nil, func(*module.Env, *struct {
		Disabled bool `json:"disabled"`
	}) (any, error) {
		return struct{}{}, nil
	})
	return slices.Concat(server.Specs(), logs.Specs(), route.Specs(), match.Specs(), clientip.Specs(), []module.Spec{proxyprotocol.Spec(), say, fail, show, held, pass, talk, lookupSpec(), admin})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, journal: &journal{}, hold: make(chan struct{})}
	table, err := module.NewTable(w.specs(), map[string]string{"tls": "TLS comes later"})
	if err != nil {
		t.Fatal(err)
	}
	if w.metrics, err = metrics.New(metrics.Config{}); err != nil {
		t.Fatal(err)
	}
	sw := logs.NewSwitch(logs.Process{})
	services := module.Services{}
	module.Provide(services, sw)
	w.Engine, err = server.New(server.Options{
		Table: table, Services: services, ReadFile: os.ReadFile, Globals: vars.NewGlobal(),
		Journal: w.journal, Sockets: listen.NewManager(listen.Options{}), Logs: sw, Metrics: w.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		_ = sw.Sync()
		w.wait("resources to be closed", func() bool { return w.open.Load() == 0 })
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) { // a connection that never sent anything is waited for 5 s
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (w *world) node(text string) *config.Node {
	w.t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) change(verb config.Verb, path, text string) server.Change {
	w.t.Helper()
	p, err := config.ParsePath(path)
	if err != nil {
		w.t.Fatal(err)
	}
	c := server.Change{Verb: verb.String(), Edit: config.Edit{Verb: verb, Path: p, RequestPath: "/config" + path}}
	if text != "" {
		c.Edit.Value = w.node(text)
	}
	return c
}

func (w *world) load(text string) (server.Report, error) {
	w.t.Helper()
	return w.Apply(context.Background(), server.Change{Verb: "load", Edit: config.Edit{Verb: config.Post, Whole: true, Value: w.node(text)}})
}

func (w *world) mustLoad(text string) server.Report {
	w.t.Helper()
	r, err := w.load(text)
	if err != nil {
		w.t.Fatalf("loading: %v", err)
	}
	return r
}

func (w *world) mustApply(c server.Change) server.Report {
	w.t.Helper()
	r, err := w.Apply(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func freePort(t *testing.T) int {
	t.Helper()
	return porttest.Free(t, 1)[0]
}

func site(port int, routes string) string {
	return fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},"routes":[%s]}}}}}`, port, routes)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestLoadServeEdit(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	r := w.mustLoad(site(port, `{"@id":"a","match":[{"path":["/a"]}],"handle":[{"handler":"say","body":"A"}]},{"handle":[{"handler":"say","body":"rest"}]}`))
	if r.Revision != 1 || !r.Changed {
		t.Errorf("report %+v", r)
	}
	if _, body := get(t, url+"/a"); body != "A" {
		t.Errorf("/a says %q", body)
	}
	r = w.mustApply(w.change(config.Patch, "/apps/http/servers/s/routes/0/handle/0/body", `"AA"`))
	if r.Revision != 2 || r.Built > 7 || r.Reused == 0 {
		t.Errorf("report %+v", r)
	}
	if _, body := get(t, url+"/a"); body != "AA" {
		t.Errorf("/a says %q after the edit", body)
	}
	if _, body := get(t, url+"/b"); body != "rest" {
		t.Errorf("/b says %q", body)
	}
	if r = w.mustApply(w.change(config.Patch, "/apps/http/servers/s/routes/0/handle/0/body", `"AA"`)); r.Changed || r.Revision != 2 {
		t.Errorf("an edit without a change: %+v", r)
	}
}

func TestRejectedChangeLeavesEverything(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(site(port, `{"handle":[{"handler":"say","body":"old","owns":true}]}`))
	before := w.Current()
	other := freePort(t)
	for name, text := range map[string]string{
		"unknown handler":    site(port, `{"handle":[{"handler":"nope"}]}`),
		"failing resource":   site(other, `{"handle":[{"handler":"say","owns":true},{"handler":"say","owns":true,"fails":true}]}`),
		"unavailable socket": site(1, ``)[:0] + `{"apps":{"http":{"servers":{"s":{"listen":["192.0.2.1:8000"]}}}}}`,
		"same address twice": fmt.Sprintf(`{"apps":{"http":{"servers":{"a":{"listen":[":%d"]},"b":{"listen":[":%d"]}}}}}`, other, other),
		"automatic https":    fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":[":%d"],"routes":[{"match":[{"host":["a.test"]}]}]}}}}}`, other),
		"https port":         `{"apps":{"http":{"servers":{"s":{"listen":[":443"]}}}}}`,
		"tls policies":       fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":[":%d"],"tls_connection_policies":[{}]}}}}}`, other),
		"later app":          `{"apps":{"tls":{}}}`,
		"null server":        `{"apps":{"http":{"servers":{"s":null}}}}`,
	} {
		_, err := w.load(text)
		var rejected *server.Rejected
		if !errors.As(err, &rejected) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %v", name, err)
		if w.Current() != before || w.open.Load() != 1 {
			t.Fatalf("%s: something changed (%d resources)", name, w.open.Load())
		}
	}
	if _, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); body != "old" {
		t.Errorf("the old config says %q", body)
	}
	w.journal.fail = errors.New("disk full")
	_, err := w.load(site(port, `{"handle":[{"handler":"say","body":"new","owns":true}]}`))
	var notStored *server.NotStored
	if !errors.As(err, &notStored) || w.Current() != before || w.open.Load() != 1 {
		t.Errorf("not stored: %v, %d resources", err, w.open.Load())
	}
}

func TestDryRunHasNoEffect(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(site(port, `{"handle":[{"handler":"say","body":"old","owns":true}]}`))
	before := w.Current()
	c := server.Change{Verb: "load", DryRun: true, Edit: config.Edit{Verb: config.Post, Whole: true, Value: w.node(site(freePort(t), `{"handle":[{"handler":"say","body":"new","owns":true}]}`))}}
	r := w.mustApply(c)
	if w.Current() != before || w.open.Load() != 1 || len(w.journal.entries) != 1 || len(w.Sockets()) != 1 {
		t.Errorf("a dry run had an effect: report %+v, sockets %v", r, w.Sockets())
	}
	if !r.Changed || r.Built == 0 {
		t.Errorf("report %+v", r)
	}
}

func TestErrorsAndPanics(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	routes := `{"match":[{"path":["/418"]}],"handle":[{"handler":"fail","status":418}]},
		{"match":[{"path":["/late"]}],"handle":[{"handler":"fail","status":418,"says":"half"}]},
		{"match":[{"path":["/plain"]}],"handle":[{"handler":"fail","plain":true}]},
		{"match":[{"path":["/panic"]}],"handle":[{"handler":"fail","panic":true}]}`
	w.mustLoad(site(port, routes))
	for path, want := range map[string]int{"/418": 418, "/plain": 500, "/none": 200} {
		if status, body := get(t, url+path); status != want || body != "" {
			t.Errorf("%s: %d %q, want %d and no body", path, status, body, want)
		}
	}
	if _, err := http.Get(url + "/panic"); err == nil {
		t.Error("a panic was answered")
	}
	w.mustApply(w.change(config.Put, "/apps/http/servers/s/errors", `{"routes":[{"match":[{"path":["/418"]}],"handle":[{"handler":"show","text":"{http.request.method} {http.error.status_code} {http.error.message}"}]}]}`))
	if status, body := get(t, url+"/418"); status != 418 || body != "GET 418 told to fail" {
		t.Errorf("error route: %d %q", status, body)
	}
	if status, body := get(t, url+"/late"); status != 200 || body != "half" {
		t.Errorf("an error after the header: %d %q", status, body)
	}
	if status, body := get(t, url+"/plain"); status != 500 || body != "" {
		t.Errorf("no error route matches: %d %q", status, body)
	}
}

func TestReleaseClosesWhatNobodyUses(t *testing.T) {
	for _, release := range []bool{false, true} {
		t.Run(fmt.Sprint("release ", release), func(t *testing.T) {
			w := newWorld(t)
			port := freePort(t)
			w.mustLoad(site(port, fmt.Sprintf(`{"match":[{"path":["/held"]}],"handle":[{"handler":"held","release":%v}]},{"handle":[{"handler":"say","body":"1","owns":true}]}`, release)))
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/held", port))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for i := range 3 {
				w.mustApply(w.change(config.Patch, "/apps/http/servers/s/routes/1/handle/0/body", fmt.Sprintf(`"%d"`, i+2)))
			}
			want := int64(4) // the held request keeps all that came before the current one
			if release {
				want = 1
			}
			w.wait("resources to be released", func() bool { return w.open.Load() == want })
			close(w.hold)
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "done" {
				t.Errorf("%q %v", body, err)
			}
			w.wait("resources to be released", func() bool { return w.open.Load() == 1 })
		})
	}
}

func TestForcedLoadRebuildsOnlyWhatReadTheFile(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	file := t.TempDir() + "/f"
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	doc := site(port, `{"match":[{"path":["/f"]}],"handle":[{"handler":"say","file":"`+file+`"}]},{"handle":[{"handler":"say","body":"x"}]}`)
	w.mustLoad(doc)
	write("two")
	c := server.Change{Verb: "load", Force: true, Edit: config.Edit{Verb: config.Post, Whole: true, Value: w.node(doc)}}
	r := w.mustApply(c)
	if r.Changed || r.Built != 6 || len(w.journal.entries) != 1 {
		t.Errorf("report %+v: want the handler and the five modules above it", r)
	}
	if _, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/f", port)); body != "two" {
		t.Errorf("says %q", body)
	}
}

func TestGroupCommitAndIfMatch(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(site(port, `{"handle":[{"handler":"say","body":"0"}]}`))
	path := "/apps/http/servers/s/routes/0/handle/0/body"
	p, _ := config.ParsePath(path)
	etag, err := w.Current().Doc().Etag("/config"+path, p)
	if err != nil {
		t.Fatal(err)
	}
	w.journal.block = make(chan struct{})
	type result struct {
		report server.Report
		err    error
	}
	results := make(chan result, 12)
	apply := func(c server.Change) {
		go func() {
			r, err := w.Apply(context.Background(), c)
			results <- result{r, err}
		}()
	}
	started := make(chan struct{})
	first := w.change(config.Patch, path, `"first"`)
	first.Started = func() { close(started) }
	apply(first)
	<-started
	if w.Current().Revision() != 1 {
		t.Error("readers see a change that is not persisted")
	}
	for i := range 10 {
		c := w.change(config.Patch, path, fmt.Sprintf(`"x%d"`, i))
		c.IfMatch = etag // stale for all, since the first change came before
		if i%2 == 0 {
			c.IfMatch = ""
		}
		apply(c)
	}
	close(w.journal.block)
	stale := 0
	for range 11 {
		r := <-results
		var cerr *config.Error
		if errors.As(r.err, &cerr) && cerr.Status == 412 {
			stale++
		} else if r.err != nil {
			t.Error(r.err)
		}
	}
	if stale != 5 || len(w.journal.entries) != 7 || w.Current().Revision() != 7 {
		t.Errorf("%d stale, %d entries, revision %d", stale, len(w.journal.entries), w.Current().Revision())
	}
	if w.journal.commits > 6 {
		t.Logf("%d commits for 7 changes", w.journal.commits)
	}
}

func TestListenerThatLeavesFinishesItsRequests(t *testing.T) {
	w := newWorld(t)
	one, two := freePort(t), freePort(t)
	w.mustLoad(site(one, `{"match":[{"path":["/held"]}],"handle":[{"handler":"held"}]},{"handle":[{"handler":"say","body":"1"}]}`))
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/held", one))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start := time.Now()
	w.mustLoad(site(two, `{"handle":[{"handler":"say","body":"2"}]}`))
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the change waited %v", d)
	}
	if _, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", two)); body != "2" {
		t.Errorf("new listener says %q", body)
	}
	close(w.hold)
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "done" {
		t.Errorf("request on the old listener: %q %v", body, err)
	}
	w.wait("the old socket to close", func() bool {
		_, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", one))
		return err != nil
	})
}

func TestSettingsOfTheServer(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	doc := fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},
		"trusted_proxies":{"source":"static","ranges":["127.0.0.1/8"]},"expected_underscore_headers":["tenant_id"],"named_routes":{"n":{}},
		"routes":[{"handle":[{"handler":"show","text":"{http.vars.client_ip} {http.request.header.tenant_id} {http.request.header.other_id}"}]}]}}}}}`, port)
	w.mustLoad(doc)
	req, _ := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	req.Header.Set("tenant_id", "t")
	req.Header.Set("other_id", "o")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if string(body) != "203.0.113.9 t " || resp.Header.Get("Server") != "sluice" {
		t.Errorf("%q, Server %q", body, resp.Header.Get("Server"))
	}
}

func TestManyProblemsAreReportedTogether(t *testing.T) {
	w := newWorld(t)
	_, err := w.load(`{"apps":{"http":{"servers":{"s":{"listen":[":x","h:2-1"],"listen_protocols":[null],"routez":[],"metrics":{"per_hosts":1},"routes":[{"match":[{"nope":[]}],"handle":[{"handler":"sayy"}]}]}}}},"storage":{}}`)
	var rejected *server.Rejected
	if !errors.As(err, &rejected) {
		t.Fatal(err)
	}
	all := rejected.Problems.Error()
	for _, p := range rejected.Problems {
		all += "\n" + p.String()
	}
	for _, want := range []string{"/storage", "/apps/http/servers/s/routez", "/apps/http/servers/s/metrics", "routes/0/match/0/nope", `did you mean "say"`, `did you mean "routes"`} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem mentions %s:\n%s", want, all)
		}
	}
}
