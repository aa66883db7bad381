package server_test

import (
	"context"
	"io"
	"iter"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/events"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	eventsapp "github.com/sluiceproxy/sluice/server/events"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
)

// swapWorld is an engine with the app events and the wiring of its own events.
type swapWorld struct {
	*world
	bus *events.Bus

	mu    sync.Mutex
	notes []string
	names iter.Seq2[string, []string]
}

func (w *swapWorld) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.Join(w.notes, " ")
	w.notes = nil
	return text
}

// certificates has none, and remembers the names.
type certificates struct{ w *swapWorld }

func (c certificates) Config(string) *certmagic.Config                         { return nil }
func (c certificates) Manage(added, removed []string)                          {}
func (c certificates) ManageAlways(added, removed []string)                    {}
func (c certificates) SetPorts(int, int)                                       {}
func (c certificates) AnswerChallenge(http.ResponseWriter, *http.Request) bool { return false }
func (c certificates) Serves(names iter.Seq2[string, []string])                { c.w.names = names }

func newSwapWorld(t *testing.T) *swapWorld {
	t.Helper()
	w := &swapWorld{world: &world{t: t, journal: &journal{}, hold: make(chan struct{})}, bus: events.NewBus(events.Options{})}
	note := module.New(eventsapp.Namespace+".note", "Notes.", nil, func(_ *module.Env, c *struct {
		As string `json:"as"`
	}) (events.Handler, error) {
		return events.HandlerFunc(func(_ context.Context, e *events.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notes = append(w.notes, c.As+":"+e.Name)
			return nil
		}), nil
	})
	table, err := module.NewTable(slices.Concat(w.specs(), eventsapp.Specs(), handshake.Specs(), []module.Spec{note}), nil)
	if err != nil {
		t.Fatal(err)
	}
	tickets, err := handshake.NewTickets(handshake.TicketsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tickets.Close)
	sw := logs.NewSwitch(logs.Process{})
	services := module.Services{}
	module.Provide(services, sw)
	module.Provide(services, w.bus)
	module.Provide(services, tickets)
	tells := func(event string) func() { return func() { _ = w.bus.Emit(context.Background(), "", event, nil) } }
	w.Engine, err = server.New(server.Options{
		Table: table, Services: services, ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Journal: w.journal,
		Sockets: listen.NewManager(listen.Options{}), Logs: sw, Certificates: certificates{w}, Tickets: tickets,
		Started: tells("started"), Stopping: tells("stopping"),
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
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// What a document had ends at the swap, though a request still holds it.
func TestSubscriptionsEndAtTheSwap(t *testing.T) {
	w := newSwapWorld(t)
	port := freePort(t)
	subscribed := func(as string) string {
		return `,"events":{"subscriptions":[{"handlers":[{"handler":"note","as":"` + as + `"}]}]}`
	}
	held := func(apps string) string {
		s := site(port, `{"handle":[{"handler":"held"}]}`)
		return strings.TrimSuffix(s, "}}") + apps + "}}"
	}
	w.mustLoad(held(subscribed("a")))
	if got := w.take(); got != "a:started" {
		t.Errorf("at the start: %q", got)
	}
	resp, err := http.Get("http://127.0.0.1:" + strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	w.mustLoad(held(subscribed("b")))
	if got := w.take(); got != "a:stopping b:started" {
		t.Errorf("from one to another: %q", got)
	}
	w.mustApply(w.change(config.Delete, "/apps/events", ""))
	if got := w.take(); got != "b:stopping" {
		t.Errorf("without: %q", got)
	}
	_ = w.bus.Emit(context.Background(), "tls", "cert_obtained", nil)
	if got := w.take(); got != "" {
		t.Errorf("told although the document has no subscriptions any more: %q", got)
	}
	w.mustLoad(held(subscribed("c")))
	w.take()
	if _, err := w.load(`{"apps":{"nonsense":{}}}`); err == nil {
		t.Fatal("accepted")
	}
	if got := w.take(); got != "" {
		t.Errorf("of a document that was refused: %q", got)
	}
	close(w.hold)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	if err := w.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if got := w.take(); got != "c:stopping" {
		t.Errorf("at the end: %q", got)
	}
}

// The names that servers have with TLS, and what is spoken there.
func TestServedNames(t *testing.T) {
	w := newSwapWorld(t)
	ports := porttest.FreeBoth(t, 3)
	route := func(hosts string) string {
		return `"routes":[{"match":[{"host":[` + hosts + `]}],"handle":[{"handler":"say"}]}]`
	}
	w.mustLoad(`{"apps":{"http":{"http_port":` + strconv.Itoa(ports[0]) + `,"https_port":` + strconv.Itoa(ports[1]) + `,"servers":{
		"plain":{"listen":["127.0.0.1:` + strconv.Itoa(ports[0]) + `"],` + route(`"plain.test"`) + `},
		"all":{"listen":["127.0.0.1:` + strconv.Itoa(ports[1]) + `"],` + route(`"A.test","*.b.test","skipped.test"`) + `,"automatic_https":{"skip":["skipped.test"]}},
		"some":{"listen":["127.0.0.1:` + strconv.Itoa(ports[2]) + `"],"protocols":["h1","h2c"],` + route(`"a.test"`) + `}}}}}`)
	var got []string
	for name, alpn := range w.names {
		got = append(got, name+"="+strings.Join(alpn, ","))
	}
	slices.Sort(got)
	if text := strings.Join(got, " "); text != "*.b.test=h3,h2,http/1.1 a.test=h3,h2,http/1.1 a.test=http/1.1" {
		t.Error(text)
	}
}
