package ratelimit

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// world is a process with its zones.
type world struct {
	t       testing.TB
	zones   *Zones
	builder *module.Builder
}

func newWorld(t testing.TB, zones *Zones) *world {
	t.Helper()
	table, err := module.NewTable(append(match.Specs(), Spec()), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, zones)
	return &world{t, zones, &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Services: services, Globals: vars.Map{}}}}
}

// generation is a handler that is in use.
type generation struct {
	*handler
	built module.Result
	site  *handlertest.Site
}

func (w *world) compile(prev *generation, text string) module.Result {
	w.t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		w.t.Fatalf("%s: %v", text, err)
	}
	var root *module.Built
	if prev != nil {
		root = prev.built.Root
		node = config.Reuse(root.Node(), node)
	}
	return w.builder.Build(root, "http.handlers.rate_limit", node, module.Options{})
}

// load puts a config to use, instead of the one before.
func (w *world) load(prev *generation, text string) *generation {
	w.t.Helper()
	res := w.compile(prev, text)
	if len(res.Problems) > 0 {
		w.t.Fatalf("%s: %v", text, res.Problems)
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			r.Start()
		}
	}
	if prev != nil {
		release(res.Gone)
	}
	h := res.Root.Value().(*handler)
	return &generation{h, res, serve(w.t, h)}
}

func release(gone []*module.Built) {
	for _, b := range gone {
		for _, r := range b.Owned() {
			r.Close()
		}
	}
}

// serve runs the handler before one that answers "ok".
func serve(t testing.TB, all ...handlers.Handler) *handlertest.Site {
	t.Helper()
	var list string
	specs := []module.Spec{handlertest.FuncSpec("ok", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		_, err := io.WriteString(w, "ok")
		return err
	}), handlertest.FuncSpec("failed", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		x := handlers.Of(r)
		w.WriteHeader(handlers.StatusOf(x.Err()))
		_, err := io.WriteString(w, vars.Parse("{http.error.message}: {http.rate_limit.exceeded.name}").Expand(x, vars.All, ""))
		return err
	})}
	for i, h := range all {
		name := string(rune('a' + i))
		list += `{"handler": "` + name + `"}, `
		specs = append(specs, handlertest.FuncSpec(name, h.ServeHTTP))
	}
	return handlertest.New(t, `{"routes": [{"handle": [`+list+`{"handler": "ok"}]}], "errors": {"routes": [{"handle": [{"handler": "failed"}]}]}}`, specs...)
}

// ask sends a request of an address.
func ask(s http.Handler, address, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = address + ":1234"
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec
}

// passes counts how many of n requests of an address pass.
func passes(s http.Handler, address string, n int) int {
	ok := 0
	for range n {
		if ask(s, address, "/").Code == http.StatusOK {
			ok++
		}
	}
	return ok
}
