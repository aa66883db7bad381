package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/admin/admintest"
	"github.com/sluiceproxy/sluice/schema"
)

// The scenarios of the admin API reference, against the program and against the
// description of its API: what happens is what is described.
func TestAdminScenarios(t *testing.T) {
	ports := freePorts(t, 1+admintest.Ports)
	h := newHome(t, ports[0])
	s := launch(t, h, h.command(filepath.Join(tools, "sluice"), "run"))
	d := readDescription(t)
	o := admintest.Options{
		URL:      "http://" + h.admin,
		Features: []string{"caddyfile", "store"},
		Ports:    [admintest.Ports]int(ports[1:]),
		Observe:  d.observe,
		Stopped: func(t *testing.T) {
			if err := s.end(t); err != nil {
				t.Errorf("the server ended with %v\n%s", err, s.log)
			}
		},
	}
	admintest.Run(t, o)
	if len(d.seen) < 20 {
		t.Errorf("only %d operations of the description were used", len(d.seen))
	}
}

// description is as much of an OpenAPI description as answers are held against.
type description struct {
	Paths map[string]map[string]struct {
		RequestBody *struct{}
		Responses   map[string]struct {
			Headers map[string]struct{}
			Content map[string]struct{ Schema schema.Schema }
		}
	}
	Components struct{ Schemas map[string]schema.Schema }
	seen       map[string]bool
}

func readDescription(t *testing.T) *description {
	t.Helper()
	text, err := os.ReadFile("../../api-docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	d := &description{seen: map[string]bool{}}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// find is the described path that a request's path is one of.
func (d *description) find(path string) (string, bool) {
	if _, ok := d.Paths[path]; ok {
		return path, true
	}
	best := ""
	for template := range d.Paths {
		stem, rest, ok := strings.Cut(template, "{")
		_, rest, _ = strings.Cut(rest, "}")
		if ok && strings.HasPrefix(path, stem) && strings.HasSuffix(path, rest) && len(path) > len(stem)+len(rest) && len(template) > len(best) {
			best = template
		}
	}
	return best, best != ""
}

// observe checks an exchange against what is described for all requests, and
// for this one.
func (d *description) observe(t *testing.T, r *http.Request, resp *http.Response, body []byte) {
	t.Helper()
	at := fmt.Sprintf("%s %s gave %d", r.Method, r.URL.Path, resp.StatusCode)
	template, ok := d.find(r.URL.Path)
	if !ok {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s, but no path like it is described", at)
		}
		return
	}
	op, ok := d.Paths[template][strings.ToLower(r.Method)]
	if !ok {
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s, but the method is not described", at)
		}
		return
	}
	d.seen[r.Method+" "+template] = true
	want, ok := op.Responses[strconv.Itoa(resp.StatusCode)]
	if !ok {
		t.Errorf("%s, but that status is not described for %s", at, template)
		return
	}
	for name := range resp.Header {
		if strings.HasPrefix(name, "Sluice-") || name == "Etag" {
			if _, ok := want.Headers[name]; !ok {
				t.Errorf("%s with a header %s that is not described", at, name)
			}
		}
	}
	d.checkBody(t, at, want.Content, resp.Header.Get("Content-Type"), body)
}

func (d *description) checkBody(t *testing.T, at string, content map[string]struct{ Schema schema.Schema }, contentType string, body []byte) {
	t.Helper()
	kind, _, _ := strings.Cut(contentType, ";")
	if len(content) == 0 {
		if len(body) > 0 {
			t.Errorf("%s with a body %q, but none is described", at, body)
		}
		return
	}
	if _, other := content["application/json"]; len(body) == 0 && !other {
		return // the texts that are described may be left out
	}
	media, ok := content[kind]
	if !ok {
		t.Errorf("%s with type %q, but that is not described", at, contentType)
		return
	}
	if kind != "application/json" {
		return
	}
	s := media.Schema
	if ref, _ := s["$ref"].(string); ref != "" {
		if s, ok = d.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]]; !ok {
			t.Errorf("%s is described by %s, which does not exist", at, ref)
			return
		}
	}
	v, err := schema.Compile("response", s)
	if err != nil {
		t.Error(err)
		return
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Errorf("%s with %q: %v", at, body, err)
		return
	}
	if ps := v.Validate(value); len(ps) > 0 {
		t.Errorf("%s with %s, which is not as described: %v", at, body, ps)
	}
}
