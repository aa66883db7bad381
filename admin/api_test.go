package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/upstream"
)

func TestPaths(t *testing.T) {
	f := newFixture(t, `{"x":{"a b":1,"ü":2,"c":[[1,2],[3]]}}`)
	for _, c := range []struct {
		path   string
		status int
		where  string // body, or Location
	}{
		{"/config?x=1", 307, "/config/?x=1"},
		{"/id", 307, "/id/"},
		{"/pki", 307, "/pki/"},
		{"/debug/pprof", 307, "/debug/pprof/"},
		{"/config//x", 307, "/config/x"},
		{"/config/./x/", 307, "/config/x/"},
		{"/config/y/../x", 307, "/config/x"},
		{"/a/../load", 307, "/load"},
		{"/config/y/..", 307, "/config/"},
		{"/load/", 404, "404 page not found"},
		{"/adapt/", 404, "404 page not found"},
		{"/Config/", 404, "404 page not found"},
		{"/", 404, "404 page not found"},
		{"/revisions/", 404, "404 page not found"},
		{"/config/x/a%20b", 200, "1"},
		{"/config/x/%C3%BC", 200, "2"},
		{"/config/x%2Fc/1", 200, "[3]"},
		{"/config/x/c/0/1", 200, "2"},
		{"/config/x/c/...", 200, "[[1,2],[3]]"},
		{"/config/x/c/1/?ignored=yes", 200, "[3]"},
		{"/config/x%2F%2Fc", 400, "malformed path '/x//c': segment 2 is empty"},
	} {
		r := f.do("GET", c.path, nil)
		if c.status == 307 {
			if r.status != 307 || r.header.Get("Location") != c.where || !strings.Contains(r.header.Get("Content-Type"), "text/html") {
				t.Errorf("%s: %d to %q", c.path, r.status, r.header.Get("Location"))
			}
			continue
		}
		f.want(r, c.status, c.where)
	}
}

func TestMethods(t *testing.T) {
	f := newFixture(t, "{}")
	for _, c := range []struct {
		method, path string
		status       int
		error        string
	}{
		{"FOO", "/config/", 405, "method FOO not allowed"},
		{"TRACE", "/id/x", 405, "method TRACE not allowed"},
		{"FOO", "/load", 405, "method not allowed"},
		{"PUT", "/load", 405, "method not allowed"},
		{"DELETE", "/revisions/1/restore", 405, "method not allowed"},
		{"PUT", "/revisions", 405, "method not allowed"},
		{"FOO", "/pki/x", 405, "method not allowed: FOO"},
		{"POST", "/reverse_proxy/upstreams", 405, "method not allowed"},
		{"DELETE", "/reverse_proxy/upstreams", 405, "method not allowed"},
		{"FOO", "/nope", 404, "404 page not found"},
		{"POST", "/schema", 405, "method not allowed"},
	} {
		r := f.do(c.method, c.path, nil)
		f.want(r, c.status, c.error)
		if r.header.Get("Allow") != "" {
			t.Errorf("%s %s has an Allow header", c.method, c.path)
		}
	}
	for _, path := range []string{"/config/", "/id/x", "/load", "/reverse_proxy/upstreams"} {
		r := f.do("HEAD", path, nil)
		if r.status != 405 || r.body != "" || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD %s: %d %v", path, r.status, r.header)
		}
	}
	for _, method := range []string{"GET", "HEAD", "POST", "FOO"} {
		for _, path := range []string{"/metrics", "/debug/vars", "/debug/pprof/", "/debug/pprof/cmdline"} {
			if r := f.do(method, path, nil); r.status != 200 {
				t.Errorf("%s %s: %d", method, path, r.status)
			}
		}
	}
	if r := f.do("GET", "/debug/pprof/goroutine?debug=1", nil); !strings.Contains(r.body, "goroutine profile") {
		t.Errorf("no profile: %.80s", r.body)
	}
}

func TestWriteHeaders(t *testing.T) {
	f := newFixture(t, `{"x":{}}`)
	r := f.do("PUT", "/config/x/k", `{"a":1,"a":2}`)
	f.want(r, 200, "")
	for name, want := range map[string]string{
		"Sluice-Revision": "1", "Sluice-Cost": "reused=5, built=2, closed=1, ms=1.500", "Sluice-Warnings": "1",
		"Sluice-Dry-Run": "", "Etag": "", "Content-Length": "0", "Content-Type": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if n := f.logs.FilterMessage("config warning").Len(); n != 1 {
		t.Errorf("%d warnings are logged", n)
	}
	f.do("DELETE", "/config/x/k", nil, "Cache-Control: must-revalidate")
	f.do("PUT", "/config/x/k", "", "If-Match: \"/config/x 1\"")
	c := f.engine.changes()
	if c[0].Force || !c[1].Force || c[0].Verb != "PUT" || c[1].Verb != "DELETE" || c[2].IfMatch != `"/config/x 1"` || c[0].Edit.RequestPath != "/config/x/k" {
		t.Errorf("changes %+v", c)
	}
	if !strings.HasPrefix(c[0].Origin, "127.0.0.1:") {
		t.Errorf("origin %q", c[0].Origin)
	}
}

func TestDryRun(t *testing.T) {
	stopped := false
	f := newFixture(t, `{"x":{"@id":"o","a":1}}`, func(d *Deps, _ *GuardOptions) { d.Stop = func() { stopped = true } })
	f.want(f.do("PUT", "/config/x/base", "1"), 200, "")
	before := f.do("GET", "/config/", nil).body
	for _, c := range []struct{ method, path, body, kind string }{
		{"POST", "/load?dry_run=true", "{}", "application/json"},
		{"POST", "/load?dry_run=true", ":1\n", "text/caddyfile"},
		{"POST", "/config/x/b?dry_run=true", "1", "application/json"},
		{"PUT", "/config/x/b?dry_run", "1", "application/json"},
		{"PATCH", "/config/x/a?dry_run=1", "2", "application/json"},
		{"DELETE", "/config/x/a?x=y&dry_run=true", "", "application/json"},
		{"PATCH", "/id/o/a?dry_run=true", "3", "application/json"},
		{"DELETE", "/id/o?dry_run=true", "", "application/json"},
		{"POST", "/revisions/1/restore?dry_run=true", "", "application/json"},
		{"POST", "/stop?dry_run=true", "", "application/json"},
	} {
		r := f.do(c.method, c.path, c.body, "Content-Type: "+c.kind)
		f.want(r, 200, "")
		if r.header.Get("Sluice-Dry-Run") != "true" {
			t.Errorf("%s %s does not say that it was a dry run", c.method, c.path)
		}
	}
	for _, c := range f.engine.changes()[1:] {
		if !c.DryRun {
			t.Errorf("%s is not a dry run", c.Verb)
		}
	}
	f.want(f.do("PUT", "/config/nope?dry_run=true", "1"), 400, `loading new config: /nope (line 1, column 1): unknown field "nope"`)
	f.want(f.do("PUT", "/config/x/z?dry_run=yes", "1"), 400, `malformed query: dry_run is "yes"; it must be true or false`)
	if r := f.do("PUT", "/config/x/z?dry_run=%zz", "1"); r.status != 400 {
		t.Errorf("a malformed query is %d", r.status)
	}
	if after := f.do("GET", "/config/", nil).body; after != before || stopped {
		t.Errorf("the document is now %s, stopped %v", after, stopped)
	}
	f.want(f.do("PUT", "/config/x/z?dry_run=false", "1"), 200, "")
}

// TestProblemPositions checks that a problem of the document is shown at its
// line and column in the body of the request, wherever that body goes.
func TestProblemPositions(t *testing.T) {
	const doc = `{"apps":{"http":{"servers":{"s":{"routes":[{},{}]}}}}}`
	const routes = "/apps/http/servers/s/routes"
	for _, c := range []struct {
		method, path, body string
		pointer            string
		line, column       int
	}{
		{"POST", "/load", "{\n \"apps\": {},\n  \"bad\": 1}", "/bad", 3, 10},
		{"PUT", "/config/bad", " 1", "/bad", 1, 2},
		{"PATCH", "/config" + routes + "/1", "{\n\"match\":[],\"bad\":1}", routes + "/1/bad", 2, 18},
		{"POST", "/config" + routes, "{\n\"bad\":1}", routes + "/2/bad", 2, 7},
		{"POST", "/config" + routes + "/0", "{\"bad\":1}", routes + "/2/bad", 1, 8},
		{"POST", "/config" + routes + "/...", "[{},\n{\"bad\":1}]", routes + "/3/bad", 2, 8},
		{"POST", "/config" + routes + "/1/...", "[{\"bad\":1}]", routes + "/2/bad", 1, 9},
		{"PUT", "/config" + routes + "/1", "{\"bad\":1}", routes + "/1/bad", 1, 8},
		{"PATCH", "/config" + routes, "[{},\n {\"bad\":1}]", routes + "/1/bad", 2, 9},
		{"PATCH", "/config" + routes + "/...", "[{\"bad\":1}]", routes + "/0/bad", 1, 9},
		{"PUT", "/config/apps/http/servers/t/bad/deep", "7", "/apps/http/servers/t/bad", 0, 0},
		{"POST", "/config" + routes, `{"@id":true}`, routes + "/2", 1, 1},
	} {
		f := newFixture(t, doc)
		r := f.do(c.method, c.path, c.body)
		ps := r.problems(t)
		if r.status != 400 || len(ps) != 1 || ps[0].Pointer != c.pointer || ps[0].Line != c.line || ps[0].Column != c.column {
			t.Errorf("%s %s: %d %s, want %s at %d:%d", c.method, c.path, r.status, r.body, c.pointer, c.line, c.column)
		}
	}
}

func TestManyProblems(t *testing.T) {
	f := newFixture(t, "{}")
	var b strings.Builder
	for i := range 250 {
		fmt.Fprintf(&b, ",\"bad%03d\":1", i)
	}
	r := f.do("POST", "/load", "{"+b.String()[1:]+"}")
	ps := r.problems(t)
	if len(ps) != maxProblems+1 || ps[maxProblems].Message != "and 150 more problems" || ps[0].Line != 1 {
		t.Errorf("%d problems, last %+v", len(ps), ps[len(ps)-1])
	}
}

func TestLongNames(t *testing.T) {
	f := newFixture(t, "{}")
	name := strings.Repeat("n", 1<<20)
	r := f.do("POST", "/load", `{"`+name+`": 1}`)
	if ps := r.problems(t); r.status != 400 || len(r.body) > 5*maxText || len(ps) != 1 || ps[0].Line != 1 {
		t.Errorf("%d with %d bytes", r.status, len(r.body))
	}
}

func TestErrorsOfTheEngine(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		retry  string
	}{
		{server.ErrOverload, 503, "1"},
		{server.ErrClosed, 503, "1"},
		{&server.NotStored{Err: storage.ErrFull}, 507, ""},
		{&config.Error{Status: 412, Msg: "x"}, 412, ""},
		{fmt.Errorf("wrapped: %w", &config.Error{Status: 409, Msg: "x"}), 409, ""},
		{errors.New("strange"), 500, ""},
		{context.Canceled, statusGone, ""},
		{context.DeadlineExceeded, 504, ""}, // ours; the client may well be there
		{fmt.Errorf("reading keys: %w", context.DeadlineExceeded), 504, ""},
	} {
		f := newFixture(t, "{}")
		f.engine.fail = c.err
		r := f.do("POST", "/load", "{}")
		if r.status != c.status || r.header.Get("Retry-After") != c.retry || !strings.HasPrefix(r.body, `{"error":"loading config: `) {
			t.Errorf("%v: %d %q %s", c.err, r.status, r.header.Get("Retry-After"), r.body)
		}
	}
}

func TestPanicIsAnError(t *testing.T) {
	f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Ready = func() (bool, []string) { panic("oops") } })
	f.want(f.do("GET", "/readyz", nil), 500, "internal error; the log says more")
	f.want(f.do("GET", "/config/", nil), 200, "{}")
}

func TestLimits(t *testing.T) {
	small := func(d *Deps, _ *GuardOptions) {
		d.Limits = Limits{MaxBody: 100_000, BufferedBodies: 250_000, Parsing: 1000}
	}
	f := newFixture(t, `{"x":1}`, small)
	fits := `"` + strings.Repeat("a", 99_998) + `"`
	over := `"` + strings.Repeat("a", 99_999) + `"`
	const msg = "reading request body: it is longer than the limit of 100000 bytes"
	for _, c := range []struct{ method, path string }{
		{"PATCH", "/config/x"}, {"POST", "/config/x"}, {"PUT", "/config/x/y"}, {"PATCH", "/id/x"}, {"POST", "/load"}, {"POST", "/adapt"},
	} {
		if c.path == "/id/x" {
			continue
		}
		f.want(f.do(c.method, c.path, over), 413, msg)
		f.want(f.do(c.method, c.path, io.MultiReader(strings.NewReader(over))), 413, msg) // chunked
		f.want(f.do(c.method, c.path, over, "Expect: 100-continue"), 413, msg)
	}
	f.want(f.do("PATCH", "/config/x", fits), 200, "")
	f.want(f.do("PATCH", "/config/x", io.MultiReader(strings.NewReader(fits))), 200, "")
	deep := strings.Repeat("[", 90_000)
	for _, path := range []string{"/load", "/config/x", "/adapt"} {
		if r := f.do("POST", path, deep); r.status != 400 || len(r.problems(t)) != 1 {
			t.Errorf("POST %s of a deep value: %d %s", path, r.status, r.body)
		}
	}
	if used := f.api.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
	if !f.api.parsing.TryAcquire(1000) {
		t.Error("room for parsing was not given back")
	}
}

// TestBufferedBodies fills the room for bodies with requests that do not end.
func TestBufferedBodies(t *testing.T) {
	f := newFixture(t, `{"x":1}`, func(d *Deps, _ *GuardOptions) {
		d.Limits = Limits{MaxBody: 1 << 20, BufferedBodies: 3 * firstBuffer}
	})
	var writers []*io.PipeWriter
	var wg sync.WaitGroup
	statuses := make(chan int, 3)
	for range 3 {
		pr, pw := io.Pipe()
		writers = append(writers, pw)
		wg.Go(func() {
			r, err := f.try("PATCH", "/config/x", pr)
			if err != nil {
				t.Error(err)
			}
			statuses <- r.status
		})
		if _, err := pw.Write([]byte("12")); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for f.api.bodies.used.Load() != 3*firstBuffer {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are counted", f.api.bodies.used.Load())
		}
		<-time.After(time.Millisecond)
	}
	r := f.do("PATCH", "/config/x", "3")
	f.want(r, 503, "too much data is being sent at once; try again in a moment")
	if r.header.Get("Retry-After") != "1" {
		t.Errorf("no Retry-After: %v", r.header)
	}
	f.want(f.do("GET", "/config/x", nil), 200, "1") // reads go on
	for _, pw := range writers {
		_ = pw.Close()
	}
	wg.Wait()
	for range writers {
		if s := <-statuses; s != 200 {
			t.Errorf("status %d", s)
		}
	}
	f.want(f.do("PATCH", "/config/x", "4"), 200, "")
}

// TestReadsDoNotWait reads while the applier is held.
func TestReadsDoNotWait(t *testing.T) {
	f := newFixture(t, `{"x":{"@id":"o"}}`)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.engine.hold = func() { once.Do(func() { close(held); <-release }) }
	done := make(chan result, 1)
	go func() {
		r, err := f.try("PUT", "/config/x/k", "1")
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-held
	f.want(f.do("GET", "/config/", nil), 200, `{"x":{"@id":"o"}}`)
	f.want(f.do("GET", "/id/o", nil), 200, `{"@id":"o"}`)
	f.want(f.do("GET", "/revisions", nil), 200, `[]`)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/schema", "/reverse_proxy/upstreams"} {
		if r := f.do("GET", path, nil); r.status != 200 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	close(release)
	f.want(<-done, 200, "")
	f.want(f.do("GET", "/config/x/k", nil), 200, "1")
}

// TestLargeValue takes the way on which the answer is not kept in memory.
func TestLargeValue(t *testing.T) {
	f := newFixture(t, "{}")
	large := `{"x":[` + strings.TrimSuffix(strings.Repeat(`"<0123456789>",`, 30_000), ",") + `]}`
	f.want(f.do("POST", "/load", large), 200, "")
	r := f.do("GET", "/config/", nil)
	doc, _ := f.engine.Document()
	want := string(doc.Root().AppendJSON(nil)) + "\n"
	if r.body != want || r.header.Get("Etag") != config.BodyEtag("/config/", []byte(want)) || len(want) < wholeAnswer {
		t.Errorf("%d bytes with %s, want %d", len(r.body), r.header.Get("Etag"), len(want))
	}
	f.want(f.do("PATCH", "/config/x/0", "1", "If-Match: "+r.header.Get("Etag")), 200, "")
	f.want(f.do("PATCH", "/config/x/0", "1", "If-Match: "+r.header.Get("Etag")), 412, "If-Match header did not match current config hash")
}

func TestRevisions(t *testing.T) {
	f := newFixture(t, "{}")
	f.want(f.do("POST", "/load", `{"x":{"keep":[1,2]}}`), 200, "")
	f.want(f.do("PUT", "/config/x/new", `"<v>"`), 200, "")
	f.want(f.do("DELETE", "/config/x/keep/0", nil), 200, "")
	var list []revision
	if err := json.Unmarshal([]byte(f.do("GET", "/revisions", nil).body), &list); err != nil || len(list) != 3 || list[0].Number != 3 || list[2].Path != "" || list[1].Path != "/x/new" || len(list[0].Digest) != 16 {
		t.Fatalf("%+v %v", list, err)
	}
	for query, want := range map[string]string{"?limit=1": "[3]", "?before=3": "[2 1]", "?before=2&limit=5": "[1]"} {
		list = nil
		if err := json.Unmarshal([]byte(f.do("GET", "/revisions"+query, nil).body), &list); err != nil {
			t.Fatal(err)
		}
		var numbers []uint64
		for _, r := range list {
			numbers = append(numbers, r.Number)
		}
		if got := fmt.Sprint(numbers); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
	var full fullRevision
	if err := json.Unmarshal([]byte(f.do("GET", "/revisions/1", nil).body), &full); err != nil || string(full.Document) != `{"x":{"keep":[1,2]}}` || full.Number != 1 {
		t.Errorf("%+v %v", full, err)
	}
	f.want(f.do("GET", "/revisions/1..3", nil), 200,
		`{"from":1,"to":3,"changes":[{"op":"remove","pointer":"/x/keep/0","old":1},{"op":"add","pointer":"/x/new","new":"\u003cv\u003e"}]}`)
	f.want(f.do("GET", "/revisions/2..2", nil), 200, `{"from":2,"to":2,"changes":[]}`)
	for path, want := range map[string]string{
		"/revisions/9":    "there is no revision 9",
		"/revisions/1..9": "there is no revision 9",
		"/revisions/0":    "there is no revision 0",
	} {
		f.want(f.do("GET", path, nil), 404, want)
	}
	for _, path := range []string{"/revisions/x", "/revisions/1..", "/revisions/-1", "/revisions?limit=0", "/revisions?limit=1001", "/revisions?before=x"} {
		if r := f.do("GET", path, nil); r.status != 400 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	tag := f.do("GET", "/config/", nil).header.Get("Etag")
	f.want(f.do("POST", "/revisions/1/restore", "", "If-Match: \"/config/x 00\""), 412, "restoring revision 1: If-Match header did not match current config hash")
	f.want(f.do("POST", "/revisions/1/restore", "", "If-Match: "+tag), 200, "")
	f.want(f.do("GET", "/config/", nil), 200, `{"x":{"keep":[1,2]}}`)
	f.want(f.do("POST", "/revisions/9/restore", ""), 404, "there is no revision 9")
	if c := f.engine.changes(); c[len(c)-1].Verb != storage.VerbRestore {
		t.Errorf("verb %s", c[len(c)-1].Verb)
	}
	none := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Store = nil })
	none.want(none.do("GET", "/revisions", nil), 404, "revisions are not available: this process runs without a store")
}

func TestState(t *testing.T) {
	ready := true
	f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) {
		d.Ready = func() (bool, []string) { return ready, []string{"a", "b"} }
		d.Upstreams = upstream.NewPool(nil)
		h := d.Upstreams.Acquire("10.0.0.1:80")
		h.Begin(0)
		h.Begin(0)
		h.Fail(time.Hour)
	})
	f.want(f.do("GET", "/healthz", nil), 200, `{"status":"ok","version":"v0"}`)
	f.want(f.do("GET", "/readyz", nil), 200, `{"status":"ready"}`)
	ready = false
	r := f.do("GET", "/readyz", nil)
	f.want(r, 503, "not ready: a")
	if ps := r.problems(t); len(ps) != 2 || ps[1].Message != "b" {
		t.Errorf("problems %v", ps)
	}
	f.want(f.do("GET", "/reverse_proxy/upstreams", nil), 200, `[{"address":"10.0.0.1:80","num_requests":2,"fails":1}]`)
	r = f.do("GET", "/schema", nil)
	f.want(r, 200, `{"type":"object"}`)
	if r.header.Get("Content-Type") != "application/schema+json" {
		t.Errorf("type %s", r.header.Get("Content-Type"))
	}
	for path, want := range map[string]string{
		"/pki/ca/local":               "no certificate authority configured with id: local",
		"/pki/ca/x/certificates":      "no certificate authority configured with id: x",
		"/pki/ca/":                    "resource not found: /pki/ca/",
		"/pki/ca/x/":                  "resource not found: /pki/ca/x/",
		"/pki/ca/x/certificates/more": "resource not found: /pki/ca/x/certificates/more",
		"/pki/cb/x":                   "resource not found: /pki/cb/x",
	} {
		f.want(f.do("GET", path, nil), 404, want)
	}
}

func TestMetrics(t *testing.T) {
	f := newFixture(t, `{"x":{"@id":"o"}}`)
	f.do("GET", "/config/x", nil)
	f.do("GET", "/id/o", nil)
	f.do("GET", "/id/nobody", nil)
	f.do("GET", "/config/x/y/z", nil)
	f.do("FOO", "/config/x", nil)
	f.do("GET", "/nope", nil)
	f.do("GET", "/load", nil, "Host: evil.test")
	r := f.do("GET", "/metrics", nil)
	if r.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8; escaping=underscores" {
		t.Errorf("type %s", r.header.Get("Content-Type"))
	}
	for _, want := range []string{
		`sluice_admin_http_requests_total{code="200",handler="admin",method="GET",path="/config/"} 1`,
		`sluice_admin_http_requests_total{code="200",handler="admin",method="GET",path="/id/"} 1`,
		`sluice_admin_http_requests_total{code="404",handler="admin",method="GET",path="/id/"} 1`,
		`sluice_admin_http_requests_total{code="400",handler="admin",method="GET",path="/config/"} 1`,
		`sluice_admin_http_requests_total{code="405",handler="admin",method="OTHER",path="/config/"} 1`,
		`sluice_admin_http_requests_total{code="404",handler="admin",method="GET",path="_other"} 1`,
		`sluice_admin_http_requests_total{code="403",handler="admin",method="GET",path="/load"} 1`,
		`sluice_admin_http_request_errors_total{handler="admin",method="GET",path="/id/"} 1`,
		`sluice_admin_http_request_errors_total{handler="admin",method="GET",path="/config/"} 1`,
	} {
		if !strings.Contains(r.body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// TestClients lets 50 clients read and write, some with a condition, some by
// @id while others move that object: every write that was accepted must be in
// the document, in the place that was meant.
func TestClients(t *testing.T) {
	const clients, rounds = 50, 40
	f := newFixture(t, `{"x":{"n":0,"free":{},"list":[{"@id":"o","hits":[]}]}}`)
	var added, hits, inserted atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range rounds {
				switch (c + i) % 4 {
				case 0: // read, add one, write back on condition
					r, err := f.try("GET", "/config/x/n", nil)
					if err != nil {
						t.Error(err)
						return
					}
					n, _ := strconv.Atoi(strings.TrimSpace(r.body))
					w, err := f.try("PATCH", "/config/x/n", strconv.Itoa(n+1), "If-Match: "+r.header.Get("Etag"))
					if err != nil || (w.status != 200 && w.status != 412) {
						t.Errorf("%v %v", w, err)
					} else if w.status == 200 {
						added.Add(1)
					}
				case 1: // insert in front of the object
					w, err := f.try("PUT", "/config/x/list/0", "{}")
					if err != nil || w.status != 200 {
						t.Errorf("%v %v", w, err)
					}
					inserted.Add(1)
				case 2: // append to the object, wherever it is
					w, err := f.try("POST", "/id/o/hits", "1")
					if err != nil || w.status != 200 {
						t.Errorf("%v %v", w, err)
					}
					hits.Add(1)
				default:
					w, err := f.try("PUT", fmt.Sprintf("/config/x/free/%d-%d", c, i), "true")
					if err != nil || w.status != 200 {
						t.Errorf("%v %v", w, err)
					}
				}
			}
		})
	}
	wg.Wait()
	doc, _ := f.engine.Document()
	x := doc.Root().Get("x")
	if got := int64(x.Get("n").Number()); got != added.Load() || got == 0 {
		t.Errorf("n is %d after %d increments", got, added.Load())
	}
	if got := x.Get("free").Len(); got != clients*rounds/4 {
		t.Errorf("%d free keys, want %d", got, clients*rounds/4)
	}
	list := x.Get("list")
	if got := int64(list.Len() - 1); got != inserted.Load() {
		t.Errorf("%d insertions, want %d", got, inserted.Load())
	}
	o := list.Index(list.Len() - 1)
	if got := int64(o.Get("hits").Len()); o.Get("@id").Str() != "o" || got != hits.Load() {
		t.Errorf("%d hits, want %d", got, hits.Load())
	}
	for i, e := range list.Elements() {
		if i < list.Len()-1 && e.Len() > 0 {
			t.Fatalf("an edit by @id went to element %d: %s", i, e.AppendJSON(nil))
		}
	}
}

func TestMovedObject(t *testing.T) {
	const doc = `{"x":{"other":0,"a b":{"@id":"space"},"list":[{"@id":"o"}]}}`
	listTag := config.BodyEtag("/config/x/list", []byte(`[{"@id":"o"}]`+"\n"))
	otherTag := config.BodyEtag("/config/x/other", []byte("0\n"))
	for _, c := range []struct {
		name, path, tag string
		status          int
		want            string
	}{
		{"unguarded", "/id/o/k", "", 200, `{"other":0,"a b":{"@id":"space"},"list":[{},{"@id":"o","k":1}]}`},
		{"guarded by what holds it", "/id/o/k", listTag, 412, `{"other":0,"a b":{"@id":"space"},"list":[{},{"@id":"o"}]}`},
		{"guarded by something else", "/id/o/k", otherTag, 200, `{"other":0,"a b":{"@id":"space"},"list":[{},{"@id":"o","k":1}]}`},
		{"path that no header can name", "/id/space/k", "", 200, `{"other":0,"a b":{"@id":"space","k":1},"list":[{},{"@id":"o"}]}`},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			f := newFixture(t, doc)
			held, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			f.engine.hold = func() { once.Do(func() { close(held); <-release }) }
			var wg sync.WaitGroup
			wg.Go(func() { f.want(f.do("PUT", "/config/x/list/0", "{}"), 200, "") })
			<-held
			wg.Go(func() {
				var header []string
				if c.tag != "" {
					header = append(header, "If-Match: "+c.tag)
				}
				if r := f.do("PUT", c.path, "1", header...); r.status != c.status {
					t.Errorf("%d %s", r.status, r.body)
				}
			})
			// The second change is on its way when its target moves, or comes
			// after that; both must do.
			for range 100 {
				f.do("GET", "/config/x/other", nil)
			}
			close(release)
			wg.Wait()
			want, _, err := config.Parse([]byte(c.want), config.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			doc, _ := f.engine.Document()
			if got := doc.Root().Get("x"); !config.Equal(got, want) {
				t.Errorf("now %s, want %s", got.AppendJSON(nil), c.want)
			}
		})
	}
}

func TestIDErrors(t *testing.T) {
	f := newFixture(t, `{"x":{"@id":"o","k":1,"list":[{"@id":7}]}}`)
	f.want(f.do("GET", "/id/7", nil), 200, `{"@id":7}`)
	f.want(f.do("GET", "/id/o/list/0/@id/", nil), 200, "7")
	f.want(f.do("PUT", "/id/o/k", "2"), 409, "[/config/x/k] key already exists: k")
	f.want(f.do("PATCH", "/id/o/none", "2"), 404, "[/config/x/none] key does not exist: none")
	f.want(f.do("DELETE", "/id/nobody", nil), 404, "unknown object ID 'nobody'")
	f.want(f.do("POST", "/id/", "1"), 400, "request path is missing object ID")
	f.want(f.do("PATCH", "/id/o/k", "2", "If-Match: *"), 400, "malformed If-Match header; expect quoted string")
	f.want(f.do("PATCH", "/id/7/a", `1`, "Content-Type: text/plain"), 400, "unacceptable content-type: text/plain; 'application/json' required")
	f.want(f.do("DELETE", "/id/7", nil), 200, "")
	f.want(f.do("GET", "/config/x/list", nil), 200, "[]")
}

func TestMalformedBodies(t *testing.T) {
	f := newFixture(t, `{"x":{"list":[1]}}`)
	before := f.do("GET", "/config/", nil).body
	bodies := [][]byte{[]byte("{"), []byte("nul"), []byte("[1,]"), []byte("{\"a\" 1}"), []byte("\xef\xbb\xbf{}"), []byte("1 2"), []byte(" \n"),
		[]byte("1e999"), []byte("\"\x01\""), []byte("// c\n1"), bytes.Repeat([]byte("["), 2000), []byte("{\"x\":"), []byte("tru e")}
	for _, b := range bodies {
		for _, w := range []struct{ method, path string }{
			{"POST", "/load"}, {"POST", "/config/x/list"}, {"PUT", "/config/x/new"}, {"PATCH", "/config/x/list"},
		} {
			r := f.do(w.method, w.path, b)
			ps := r.problems(t)
			if r.status != 400 || len(ps) != 1 || ps[0].Line == 0 {
				t.Errorf("%s %s %q: %d %s", w.method, w.path, b[:min(len(b), 20)], r.status, r.body)
			}
		}
	}
	if after := f.do("GET", "/config/", nil).body; after != before {
		t.Errorf("the document is now %s", after)
	}
}
