package events_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	bus "github.com/sluiceproxy/sluice/internal/events"
	"github.com/sluiceproxy/sluice/server/events"
)

var _ vars.Scope = (*bus.Event)(nil)

// document is apps by name, as at the root of a document.
type document struct {
	Apps map[string]module.Ref[any] `json:"apps" module:"" keyed:"true"`
}

// note is a handler that writes a text down.
type note struct {
	Text string `json:"text"`
}

type world struct {
	t       *testing.T
	builder *module.Builder
	bus     *bus.Bus
	notes   []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bus: bus.NewBus(bus.Options{NewID: func() string { return "1" }})}
	table, err := module.NewTable(append(events.Specs(),
		module.New("document", "The document.", nil, func(_ *module.Env, c *document) (*document, error) { return c, nil }),
		module.New(events.Namespace+".note", "Writes a text down.", nil, func(env *module.Env, c *note) (bus.Handler, error) {
			text, globals := vars.Parse(c.Text), env.Globals()
			return bus.HandlerFunc(func(_ context.Context, e *bus.Event) error {
				w.notes = append(w.notes, text.Expand(vars.Chain(e, globals), vars.All, ""))
				return nil
			}), nil
		})), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, w.bus)
	w.builder = &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.Map{"env.X": "x"}, Services: services}}
	return w
}

func (w *world) build(prev *module.Built, doc string) module.Result {
	w.t.Helper()
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	if prev != nil {
		node = config.Reuse(prev.Node(), node)
	}
	return w.builder.Build(prev, "document", node, module.Options{})
}

// load puts a document to use, as the engine does: what is new is started, and
// then what has gone is closed.
func (w *world) load(prev *module.Built, doc string) *module.Built {
	w.t.Helper()
	res := w.build(prev, doc)
	if len(res.Problems)+len(res.Warnings) > 0 {
		w.t.Fatalf("%s: %v %v", doc, res.Problems, res.Warnings)
	}
	w.emit() // what is compiled and not started changes nothing
	for _, step := range []struct {
		of []*module.Built
		do func(module.Resource)
	}{{res.New, func(r module.Resource) {
		if err := r.Prepare(); err != nil {
			w.t.Fatal(err)
		}
		r.Start()
	}}, {res.Gone, module.Resource.Close}} {
		for _, b := range step.of {
			for _, r := range b.Owned() {
				step.do(r)
			}
		}
	}
	return res.Root
}

// emit emits one event and returns what was noted.
func (w *world) emit() []string {
	w.t.Helper()
	w.notes = nil
	if err := w.bus.Emit(context.Background(), "http.handlers.reverse_proxy", "healthy", map[string]any{"host": "a:1"}); err != nil {
		w.t.Fatal(err)
	}
	return w.notes
}

func doc(subscriptions ...string) string {
	return `{"apps":{"events":{"subscriptions":[` + strings.Join(subscriptions, ",") + `]}}}`
}

func TestApp(t *testing.T) {
	w := newWorld(t)
	wants := func(want ...string) {
		t.Helper()
		if got := w.emit(); !slices.Equal(got, want) {
			t.Errorf("noted %q, want %q", got, want)
		}
	}
	wants()
	first := doc(`{"handlers":[{"handler":"note","text":"all {env.X} {event.name} {event.module} {event.id}"},{"handler":"note","text":"{event.data.host} {event.data.none}."}]}`,
		`{"events":["healthy"],"modules":["http"],"handlers":[{"handler":"note","text":"http"}]}`,
		`{"events":["unhealthy"],"handlers":[{"handler":"note","text":"never"}]}`,
		`{"modules":["tls"],"handlers":[{"handler":"note","text":"never"}]}`,
		`{"events":[""],"modules":[""],"handlers":[{"handler":"note","text":"empty names"}]}`)
	root := w.load(nil, first)
	now := []string{"http", "all x healthy http.handlers.reverse_proxy 1", "a:1 .", "empty names"}
	wants(now...)
	app := root.Value().(*document).Apps["events"].Value().(*events.App)
	if app.Subscriptions().Len() != 5 {
		t.Errorf("%d subscriptions", app.Subscriptions().Len())
	}
	root = w.load(root, first)
	wants(now...)
	root = w.load(root, doc(`{"handlers":[{"handler":"note","text":"second"}]}`))
	wants("second")
	// A document that is refused, or only tried, changes nothing.
	if res := w.build(root, doc(`{"handlers":[{"handler":"note","text":"third"}]}`, `{}`)); len(res.Problems) == 0 {
		t.Error("a subscription without handlers")
	}
	for _, b := range w.build(root, doc(`{"handlers":[{"handler":"note","text":"fourth"}]}`)).New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
	}
	wants("second")
	w.load(root, `{"apps":{}}`)
	wants()
}

func TestProblems(t *testing.T) {
	const h = `"handlers":[{"handler":"note"}]`
	for text, want := range map[string]string{
		doc(`{}`): "/apps/events/subscriptions/0/handlers: no handlers defined",
		doc(`{`+h+`}`, `{"events":["x"],"handlers":[]}`): "/apps/events/subscriptions/1/handlers: no handlers defined",
		doc(`{"handlers":[{}]}`):                         "/apps/events/subscriptions/0/handlers/0",
		doc(`{"handlers":[{"handler":"exec"}]}`):         "/apps/events/subscriptions/0/handlers/0",
		doc(`{"event":["x"],` + h + `}`):                 "/apps/events/subscriptions/0/event",
		doc(`{"modules":["a..b"],` + h + `}`):            "warning /apps/events/subscriptions/0/modules/0",
		doc(`{"modules":["","http.",".x"],` + h + `}`):   "warning /apps/events/subscriptions/0/modules/1",
		doc(`{"events":["x","*"],` + h + `}`):            "warning /apps/events/subscriptions/0/events/1",
	} {
		res := newWorld(t).build(nil, text)
		var got []string
		for _, p := range res.Problems {
			got = append(got, fmt.Sprintf("%s: %s", p.Pointer, p.Message))
		}
		for _, p := range res.Warnings {
			got = append(got, fmt.Sprintf("warning %s: %s", p.Pointer, p.Message))
		}
		if len(got) == 0 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestExamples(t *testing.T) {
	for _, e := range events.Specs()[0].Examples {
		if res := newWorld(t).build(nil, `{"apps":{"events":`+e.JSON+`}}`); len(res.Problems)+len(res.Warnings) > 0 {
			t.Errorf("%s: %v %v", e.Title, res.Problems, res.Warnings)
		}
	}
}
