package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// unusable fields belong to modules of which there are none so far. A
// subscription without handlers, which would be such modules, is refused.
var unusable = []string{
	"caddy.filesystems/filesystems/name",
	"events/subscriptions/events",
	"events/subscriptions/modules",
	"events/subscriptions/handlers",
}

// change is the value at a path of the document.
type change struct{ path, value string }

// instead is what cannot be in the document because it has something else in its
// place: the module stek.standard another source of the keys that all share, and
// ask the permission that it is another word for. TestEverything puts them there
// when all else is done.
var instead = map[string]change{
	"tls.stek.standard":            {"/apps/tls/session_tickets/key_source", `{"provider": "standard"}`},
	"tls/automation/on_demand/ask": {"/apps/tls/automation/on_demand", `{"ask": "http://127.0.0.1:1/allowed"}`},
}

func everythingTable(t *testing.T) *module.Table {
	t.Helper()
	tb, err := module.NewTable(append(standard.Specs(), endpoint.Spec()), standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

// everything is testdata/everything.json with the values of this test.
func everything(t *testing.T, vars map[string]string) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/everything.json")
	if err != nil {
		t.Fatal(err)
	}
	s := &story{vars: vars}
	var doc map[string]any
	if err := json.Unmarshal([]byte(s.expand(string(text))), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// coverage is which modules and fields a document uses. A name is a module's ID,
// then the fields from the outside in, with a slash in front of each.
type coverage struct {
	table   *module.Table
	schemas map[string]map[string]any
	used    map[string]bool
	errors  []string
}

func newCoverage(t *testing.T) *coverage {
	t.Helper()
	c := &coverage{table: everythingTable(t), schemas: map[string]map[string]any{}, used: map[string]bool{}}
	for _, id := range c.table.IDs() {
		s, _ := c.table.Schema(id)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		c.schemas[id] = m
	}
	return c
}

// slotOf is the slot that a schema is.
func slotOf(s map[string]any) (namespace, inline, fixed string, ok bool) {
	x, ok := s["x-module"].(map[string]any)
	if !ok {
		return "", "", "", false
	}
	text := func(k string) string { v, _ := x[k].(string); return v }
	return text("namespace"), text("inline"), text("fixed"), true
}

// module visits a value that is a module's config.
func (c *coverage) module(id string, v any) {
	s, ok := c.schemas[id]
	if !ok {
		c.errors = append(c.errors, "no module "+id)
		return
	}
	c.used[id] = true
	c.value(id, "", s, v)
}

// value visits a value of schema s; key is under which it stands in a map.
func (c *coverage) value(name, key string, s map[string]any, v any) {
	if namespace, inline, fixed, ok := slotOf(s); ok {
		c.slot(namespace, inline, fixed, key, v)
		return
	}
	for _, alternative := range list(s["anyOf"]) {
		c.value(name, key, alternative.(map[string]any), v)
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		rest, _ := s["additionalProperties"].(map[string]any)
		for k, child := range v {
			if p, ok := properties[k].(map[string]any); ok {
				c.used[name+"/"+k] = true
				c.value(name+"/"+k, k, p, child)
			} else if rest != nil && k != "@id" {
				c.value(name, k, rest, child)
			}
		}
	case []any:
		if items, ok := s["items"].(map[string]any); ok {
			for _, e := range v {
				c.value(name, key, items, e)
			}
		}
	}
}

func (c *coverage) slot(namespace, inline, fixed, key string, v any) {
	object, _ := v.(map[string]any)
	switch {
	case fixed != "":
		c.module(fixed, v)
	case inline != "":
		own := maps.Clone(object)
		name, _ := own[inline].(string)
		delete(own, inline)
		c.module(namespace+"."+name, own)
	default:
		c.module(strings.TrimPrefix(namespace+"."+key, "."), v)
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// want lists all modules and fields.
func (c *coverage) want() []string {
	var names []string
	var fields func(name string, s map[string]any)
	fields = func(name string, s map[string]any) {
		for _, alternative := range list(s["anyOf"]) {
			fields(name, alternative.(map[string]any))
		}
		for _, k := range []string{"items", "additionalProperties"} {
			if child, ok := s[k].(map[string]any); ok {
				fields(name, child)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for k, p := range properties {
			p := p.(map[string]any)
			if _, never := p["not"]; never || c.empty(p) {
				continue
			}
			names = append(names, name+"/"+k)
			fields(name+"/"+k, p)
		}
	}
	for id, s := range c.schemas {
		names = append(names, id)
		fields(id, s)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// empty reports whether s is a slot for which there is no module.
func (c *coverage) empty(s map[string]any) bool {
	namespace, _, fixed, ok := slotOf(s)
	if !ok || fixed != "" || namespace == "" {
		return false
	}
	for id := range c.schemas {
		if rest, ok := strings.CutPrefix(id, namespace+"."); ok && !strings.Contains(rest, ".") {
			return false
		}
	}
	return true
}

// A field or module that is added to the program has to be added to
// testdata/everything.json too.
func TestEverythingIsComplete(t *testing.T) {
	c := newCoverage(t)
	c.module("sluice.config", everything(t, nil))
	for _, e := range c.errors {
		t.Error(e)
	}
	want := c.want()
	if len(want) < 400 {
		t.Errorf("only %d modules and fields are known", len(want))
	}
	exempt := slices.Concat(unusable, slices.Collect(maps.Keys(instead)))
	for _, name := range want {
		if !c.used[name] && !slices.Contains(exempt, name) {
			t.Errorf("%s is not in testdata/everything.json", name)
		}
	}
	for _, name := range exempt {
		switch {
		case !slices.Contains(want, name):
			t.Errorf("there is no %s", name)
		case c.used[name]:
			t.Errorf("%s is in testdata/everything.json: it needs no exemption", name)
		}
	}
}

// everythingServer is a server with everything in its document.
type everythingServer struct {
	*home
	vars map[string]string
	http *http.Client
	pki  *everythingPKI
}

// TestEverything: a document with every module and field loads, comes back as it
// was, works, and is there again after a restart and after a change.
func TestEverything(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 9)
	s := &everythingServer{home: newHome(t, ports[0]), http: &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	s.vars = map[string]string{"DIR": s.dir, "ADMINADDR": s.admin, "UP1": upstream(t, "one")}
	for i, port := range ports[1:] {
		s.vars[fmt.Sprintf("P%d", i+1)] = fmt.Sprint(port)
	}
	s.env = append(s.env, "EVERYTHING_TOKEN=a-token-from-the-environment", "EVERYTHING_LEVEL=INFO", "EVERYTHING_EMAIL=ops@example.com",
		"EVERYTHING_MAC=zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", "EVERYTHING_TSIG=cWnu6Ju9zOki4f7Q+da2KKGo0KOXbCf6Pej6hW3geC4=")
	s.write(t, "token", "a-rather-long-token\n")
	s.write(t, "www/hello.txt", "hello\n")
	s.certify(t)
	doc := everything(t, s.vars)
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "sluice.json", string(text))

	run := launch(t, s.home, s.command(filepath.Join(tools, "sluice"), "run", "--config", "sluice.json"))
	s.same(t, doc)
	s.works(t)
	run.signal(syscall.SIGKILL)
	<-run.done

	run = launch(t, s.home, s.command(filepath.Join(tools, "sluice"), "run"))
	s.same(t, doc)
	s.works(t)

	// A change far inside leaves all the rest as it was.
	s.change(t, doc, change{"/apps/http/servers/all/routes/0/handle/1/n", "3.5"}, "/id/first/handle/1/n")
	for _, name := range slices.Sorted(maps.Keys(instead)) {
		s.change(t, doc, instead[name], "/config"+instead[name].path)
	}
	s.worksSecurely(t)
	run.signal(syscall.SIGTERM)
	if err := run.end(t); err != nil {
		t.Errorf("%v\n%s", err, run.log)
	}
}

// change replaces a value through the API and in doc, which are then the same.
func (s *everythingServer) change(t *testing.T, doc map[string]any, c change, path string) {
	t.Helper()
	if status, body := s.admin1(t, "PATCH", path, c.value); status != http.StatusOK {
		t.Fatalf("PATCH %s: %d %s", path, status, body)
	}
	var value any
	if err := json.Unmarshal([]byte(c.value), &value); err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(c.path[1:], "/")
	var at any = doc
	for i, step := range steps {
		switch within := at.(type) {
		case map[string]any:
			if i == len(steps)-1 {
				within[step] = value
			}
			at = within[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil {
				t.Fatal(err)
			}
			at = within[n]
		}
	}
	s.same(t, doc)
}

// admin1 asks the API with what the document demands of its clients.
func (s *everythingServer) admin1(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "http://console.test")
	r.Header.Set("Authorization", "Bearer a-token-from-the-environment")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return s.do(t, r)
}

func (s *everythingServer) do(t *testing.T, r *http.Request) (int, []byte) {
	t.Helper()
	resp, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

// same compares the running document with what it should be.
func (s *everythingServer) same(t *testing.T, doc map[string]any) {
	t.Helper()
	status, text := s.admin1(t, "GET", "/config/", "")
	if status != http.StatusOK {
		t.Fatalf("GET /config/: %d %s", status, text)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, doc) {
		want, _ := json.Marshal(doc)
		t.Fatalf("/config/ is\n%s\nand not\n%s", text, want)
	}
}

// works uses some of it.
func (s *everythingServer) works(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		path, host string
		status     int
		body       string
	}{
		{"/", "x.test", 200, "rest home"},
		{"/docs/x", "x.test", 200, "rest docs"},
		{"/matched/7?q=1", "a.test", 203, "7 /hello.txt"},
		{"/matched/7?q=1", "b.test", 200, "rest matched"},
		{"/fail", "x.test", 418, "418 asked for it"},
		{"/private", "x.test", 401, "401 not authenticated"},
		{"/rewrite//a/c.x?q=1&debug=1&r=zzz", "x.test", 200, "/b/c?query=1&r=z&s=1&t=2"},
		{"/tpl/x", "x.test", 200, "host=x.test"},
		{"/files/hello.txt", "x.test", 200, "hello\n"},
		{"/copies", "x.test", 500, ""},
		{"/limited", "x.test", 200, "rest misc"},
		{"/proxy/c", "x.test", 200, "one GET /c?s=1&t=2 host=x.test"},
		{"/secure/c", "x.test", 200, "up.test for ann"},
		{"/acme/local/directory", "x.test", 200, `{"newNonce":"https://ca.test:8443/acme/local/new-nonce",`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:"+s.vars["P2"]+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if status, body := s.do(t, r); status != c.status || !strings.HasPrefix(string(body), c.body) {
			t.Errorf("%s of %s: %d %s, want %d %s", c.path, c.host, status, body, c.status, c.body)
		}
	}
	s.worksSecurely(t)
}
