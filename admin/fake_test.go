package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/mem"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// fakeEngine edits real documents and validates a little of them.
type fakeEngine struct {
	store *mem.Store
	// hold, if set, is called by Apply while it has the applier's lock.
	hold func()
	fail error
	// warnings are in the report of each change.
	warnings schema.Problems

	applier sync.Mutex
	mu      sync.Mutex // guards what follows
	doc     *config.Doc
	number  uint64
	seen    []server.Change
}

func newFakeEngine(t testing.TB, document string) *fakeEngine {
	t.Helper()
	e := &fakeEngine{store: mem.New(mem.Options{})}
	n, _, err := config.Parse([]byte(document), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if e.doc, err = config.NewDoc(n); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *fakeEngine) Document() (*config.Doc, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.doc, e.number
}

func (e *fakeEngine) changes() []server.Change {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]server.Change(nil), e.seen...)
}

func (e *fakeEngine) Apply(ctx context.Context, c server.Change) (server.Report, error) {
	e.applier.Lock()
	defer e.applier.Unlock()
	if e.hold != nil {
		e.hold()
	}
	if ctx.Err() != nil {
		return server.Report{}, ctx.Err()
	}
	doc, number := e.Document()
	e.mu.Lock()
	e.seen = append(e.seen, c)
	e.mu.Unlock()
	if e.fail != nil {
		return server.Report{}, e.fail
	}
	if err := c.Place(doc); err != nil {
		return server.Report{}, err
	}
	if c.IfMatch != "" {
		if err := doc.CheckIfMatch(c.IfMatch); err != nil {
			return server.Report{}, err
		}
	}
	next, err := doc.Apply(c.Edit)
	if err != nil {
		return server.Report{}, err
	}
	if ps := validate(next.Root()); len(ps) > 0 {
		return server.Report{}, &server.Rejected{Problems: ps}
	}
	report := server.Report{Revision: number, Reused: 5, Built: 2, Closed: 1, Duration: 1500 * time.Microsecond, Changed: next != doc, Warnings: e.warnings}
	if c.DryRun || !report.Changed {
		return report, nil
	}
	change := storage.Change{Origin: c.Origin, Digest: next.Root().Digest(), Edit: storage.Edit{
		Verb: storage.VerbLoad, Path: c.Edit.Path.Pointer(), Body: next.Root().AppendJSON(nil), Source: c.Source, SourceType: c.SourceType}}
	if _, err := e.store.Commit(ctx, number, []storage.Change{change}, nil); err != nil {
		return server.Report{}, &server.NotStored{Err: err}
	}
	e.mu.Lock()
	e.doc, e.number = next, number+1
	e.mu.Unlock()
	report.Revision = number + 1
	return report, nil
}

// validate knows as much of documents as the scenarios need.
func validate(root *config.Node) (ps schema.Problems) {
	fail := func(pointer, format string, args ...any) {
		ps = append(ps, schema.Problem{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
	}
	known := func(n *config.Node, pointer string, names string) bool {
		if n.Kind() == config.Null {
			return false
		}
		if n.Kind() != config.Object {
			fail(pointer, "expected an object, found an %s", n.Kind())
			return false
		}
		for key := range n.Members() {
			if names != "*" && !strings.Contains(names, " "+key+" ") {
				fail(config.JoinPointer(pointer, key), "unknown field %q", key)
			}
		}
		return true
	}
	if !known(root, "", " admin apps logging x ") || !known(root.Get("apps"), "/apps", "*") {
		return ps
	}
	for name := range root.Get("apps").Members() {
		if name != "http" && name != "any" {
			fail("/apps/"+name, "unknown module: %s", name)
		}
	}
	for name, s := range root.Get("apps").Get("http").Get("servers").Members() {
		at := config.JoinPointer("/apps/http/servers", name)
		known(s, at, " listen routes idle_timeout ")
		if l := s.Get("listen"); l != nil && l.Kind() != config.Array {
			fail(at+"/listen", "expected an array, found an %s", l.Kind())
		}
		if d := s.Get("idle_timeout"); d != nil {
			if _, err := vars.ParseDuration(d.Str()); err != nil {
				fail(at+"/idle_timeout", "%v", err)
			}
		}
		for i, r := range s.Get("routes").Elements() {
			at := fmt.Sprintf("%s/routes/%d", at, i)
			known(r, at, " @id match handle ")
			for j, m := range r.Get("match").Elements() {
				if _, err := regexp.Compile(m.Get("path_regexp").Get("pattern").Str()); err != nil {
					fail(fmt.Sprintf("%s/match/%d/path_regexp/pattern", at, j), "%v", err)
				}
			}
		}
	}
	return ps
}

// fixture is an API behind a real socket.
type fixture struct {
	t      testing.TB
	engine *fakeEngine
	lang   *fakeCaddyfile
	api    *API
	reg    *metrics.Registry
	logs   *observer.ObservedLogs
	url    string
	host   string
}

func newFixture(t testing.TB, document string, with ...func(*Deps, *GuardOptions)) *fixture {
	t.Helper()
	reg, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	f := &fixture{t: t, engine: newFakeEngine(t, document), reg: reg, logs: logs, lang: &fakeCaddyfile{}}
	srv := httptest.NewUnstartedServer(nil)
	t.Cleanup(srv.Close)
	f.host = srv.Listener.Addr().String()
	f.url = "http://" + f.host
	deps := Deps{
		Engine: f.engine, Store: f.engine.store, Metrics: reg, Log: zap.New(core), Version: "v0",
		Adapters: map[string]Adapter{"caddyfile": f.lang},
		Schema:   func() schema.Schema { return schema.Schema{"type": "object"} },
	}
	addr, err := netaddr.Parse(f.host)
	if err != nil {
		t.Fatal(err)
	}
	guard := GuardOptions{Address: addr}
	for _, w := range with {
		w(&deps, &guard)
	}
	g, err := NewGuard(guard)
	if err != nil {
		t.Fatal(err)
	}
	f.api = New(deps)
	srv.Config.Handler = f.api.Handler(g)
	srv.Config.DisableGeneralOptionsHandler = true
	srv.Start()
	return f
}

type result struct {
	status int
	header http.Header
	body   string
}

var direct = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

// do sends a request; header fields are "Name: value". A body has the content
// type of JSON unless a field says otherwise.
func (f *fixture) do(method, path string, body any, header ...string) result {
	f.t.Helper()
	r, err := f.try(method, path, body, header...)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (f *fixture) try(method, path string, body any, header ...string) (result, error) {
	var reader io.Reader
	switch b := body.(type) {
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	case io.Reader:
		reader = b
	}
	r, err := http.NewRequest(method, f.url+path, reader)
	if err != nil {
		return result{}, err
	}
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	resp, err := direct.Do(r)
	if err != nil {
		return result{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return result{resp.StatusCode, resp.Header, string(text)}, err
}

// want checks status and body; an error is named by its text alone.
func (f *fixture) want(r result, status int, body string) {
	f.t.Helper()
	got := r.body
	if status >= 400 && strings.HasPrefix(got, "{") {
		var e errorBody
		if err := json.Unmarshal([]byte(got), &e); err != nil {
			f.t.Fatalf("error body %q: %v", got, err)
		}
		got = e.Error
	}
	if r.status != status || strings.TrimSuffix(got, "\n") != body {
		f.t.Fatalf("got %d %q, want %d %q", r.status, got, status, body)
	}
}

func (r result) problems(t testing.TB) schema.Problems {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("error body %q: %v", r.body, err)
	}
	return e.Problems
}
