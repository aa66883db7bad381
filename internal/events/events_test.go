package events

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var bg = context.Background()

// book is what handlers were told, in order.
type book struct {
	mu    sync.Mutex
	lines []string
}

func (b *book) handler(name string, err error) Handler {
	return HandlerFunc(func(_ context.Context, e *Event) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lines = append(b.lines, name)
		return err
	})
}

func (b *book) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines
	b.lines = nil
	return l
}

// TestOrder: those who named the event come first; among each, those who named
// its module, then its parents, then those who want all.
func TestOrder(t *testing.T) {
	var told book
	sub := func(name, events, modules string) Subscription {
		split := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(strings.ReplaceAll(s, "*", ""), ",")
		}
		return Subscription{Events: split(events), Modules: split(modules), Handlers: []Handler{told.handler(name, nil), told.handler(name+"'", nil)}}
	}
	bus := NewBus(Options{})
	bus.Use(NewSubscriptions([]Subscription{
		sub("everything", "", ""),
		sub("all-of-ab", "", "a.b"),
		sub("x-of-any", "x", ""),
		sub("x-of-a", "x", "a"),
		sub("x-of-abc", "x", "a.b.c"),
		sub("x-of-abc-too", "y,x", "q,a.b.c"),
		sub("y-of-abc", "y", "a.b.c"),
		sub("x-of-ab-prefix", "x", "a.bb,b,a.b.c.d"),
		sub("twice", "x,x,*", "a,a.b,*"),
	}))
	twice := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, n, n+"'")
		}
		return out
	}
	for _, c := range []struct {
		origin, name string
		want         []string
	}{
		{"a.b.c", "x", twice("x-of-abc", "x-of-abc-too", "twice", "x-of-a", "x-of-any", "all-of-ab", "everything")},
		{"a.b", "x", twice("twice", "x-of-a", "x-of-any", "all-of-ab", "everything")},
		{"a", "x", twice("x-of-a", "twice", "x-of-any", "everything")},
		{"a.b.c", "y", twice("x-of-abc-too", "y-of-abc", "all-of-ab", "twice", "everything")},
		{"a.b.c.d.e", "z", twice("all-of-ab", "twice", "everything")},
		{"ab", "z", twice("everything", "twice")},
		{"", "started", twice("everything", "twice")},
		{"", "x", twice("x-of-any", "twice", "everything")},
	} {
		if err := bus.Emit(bg, c.origin, c.name, nil); err != nil {
			t.Error(err)
		}
		if got := told.take(); !slices.Equal(got, c.want) {
			t.Errorf("%s of %q:\n got %q\nwant %q", c.name, c.origin, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	var told book
	var reported []string
	bus := NewBus(Options{OnError: func(e *Event, err error) { reported = append(reported, e.Name+": "+err.Error()) }})
	bus.Use(NewSubscriptions([]Subscription{
		{Events: []string{"e"}, Handlers: []Handler{told.handler("1", errors.New("broken")), told.handler("2", nil)}},
		{Events: []string{"e"}, Modules: []string{"m"}, Handlers: []Handler{told.handler("0", nil)}},
		{Events: []string{"stop"}, Handlers: []Handler{told.handler("stop", fmt.Errorf("not today: %w", ErrAborted)), told.handler("never", nil)}},
		{Handlers: []Handler{told.handler("all", nil)}},
	}))
	if err := bus.Emit(bg, "m", "e", nil); err != nil {
		t.Errorf("an error that is no abort: %v", err)
	}
	if got := told.take(); !slices.Equal(got, []string{"0", "1", "2", "all"}) || !slices.Equal(reported, []string{"e: broken"}) {
		t.Errorf("told %q, reported %q", got, reported)
	}
	err := bus.Emit(bg, "m", "stop", nil)
	if !errors.Is(err, ErrAborted) || !strings.Contains(err.Error(), "stop") || !strings.Contains(err.Error(), "not today") {
		t.Errorf("an abort: %v", err)
	}
	if got := told.take(); !slices.Equal(got, []string{"stop"}) || len(reported) != 1 {
		t.Errorf("told %q after the abort, reported %q", got, reported)
	}
	ctx, cancel := context.WithCancelCause(bg)
	cancel(errors.New("no time"))
	if err := bus.Emit(ctx, "m", "e", nil); err != nil || len(told.take()) > 0 || len(reported) != 2 || !strings.Contains(reported[1], "no time") {
		t.Errorf("after the context: %v, reported %q", err, reported)
	}
}

// TestUse: subscriptions count from Use on, until others take their place or they
// leave.
func TestUse(t *testing.T) {
	var none *Bus
	if err := none.Emit(bg, "m", "e", nil); err != nil || none.Wanted("m", "e") {
		t.Error("a nil bus has subscribers")
	}
	var told book
	bus := NewBus(Options{})
	first := NewSubscriptions([]Subscription{{Events: []string{"e"}, Modules: []string{"m"}, Handlers: []Handler{told.handler("first", nil)}}})
	second := NewSubscriptions([]Subscription{{Handlers: []Handler{told.handler("second", nil)}}})
	emit := func(want ...string) {
		t.Helper()
		if wanted := bus.Wanted("m.n", "e"); wanted != (len(want) > 0) {
			t.Errorf("Wanted: %v", wanted)
		}
		if err := bus.Emit(bg, "m.n", "e", nil); err != nil {
			t.Error(err)
		}
		if got := told.take(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	emit()
	bus.Use(first)
	emit("first")
	if bus.Wanted("m", "f") || bus.Wanted("mm", "e") || bus.Wanted("", "e") {
		t.Error("something is wanted that nobody subscribed")
	}
	bus.Use(second)
	bus.Leave(first)
	emit("second")
	bus.Leave(second)
	emit()
	bus.Use(NewSubscriptions(nil))
	emit()
	bus.Use(second)
	bus.Use(nil)
	emit()
}

// TestUnwanted: an event that nobody wants costs no memory.
func TestUnwanted(t *testing.T) {
	bus := NewBus(Options{})
	bus.Use(NewSubscriptions([]Subscription{{Events: []string{"other"}, Handlers: []Handler{HandlerFunc(nil)}}}))
	if n := testing.AllocsPerRun(100, func() { _ = bus.Emit(bg, "http.handlers.reverse_proxy", "healthy", nil) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLoop: handlers that emit events end, and the error says why.
func TestLoop(t *testing.T) {
	calls := 0
	var reported []string
	bus := NewBus(Options{OnError: func(e *Event, err error) { reported = append(reported, err.Error()) }})
	bus.Use(NewSubscriptions([]Subscription{{Handlers: []Handler{HandlerFunc(func(ctx context.Context, e *Event) error {
		calls++
		return bus.Emit(ctx, e.Origin, e.Name, nil)
	})}}}))
	for range 2 {
		if err := bus.Emit(bg, "m", "e", nil); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 2*maxDepth || len(reported) != 2 || !strings.Contains(reported[0], "one another's handlers") {
		t.Errorf("%d calls, reported %q", calls, reported)
	}
}

func TestConcurrentUse(t *testing.T) {
	var told book
	bus := NewBus(Options{})
	var all sync.WaitGroup
	for i := range 4 {
		s := NewSubscriptions([]Subscription{{Events: []string{"e"}, Handlers: []Handler{told.handler("h", nil)}}})
		bus.Use(s)
		all.Go(func() {
			for range 200 {
				if err := bus.Emit(bg, "m", "e", nil); err != nil {
					t.Error(err)
				}
				if i == 0 {
					bus.Use(s)
				}
			}
		})
	}
	all.Wait()
	if n := len(told.take()); n != 800 {
		t.Errorf("%d events were delivered, want 800", n)
	}
}

func TestLookup(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)
	var e *Event
	bus := NewBus(Options{Now: func() time.Time { return now }, NewID: func() string { return "id-1" }})
	bus.Use(NewSubscriptions([]Subscription{{Handlers: []Handler{HandlerFunc(func(_ context.Context, got *Event) error { e = got; return nil })}}}))
	data := map[string]any{"identifier": "example.com", "renewal": true, "dotted.key": 7}
	if err := bus.Emit(bg, "tls", "cert_obtained", data); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"event": e, "event.id": "id-1", "event.name": "cert_obtained", "event.time": now, "event.time_unix": now.UnixMilli(),
		"event.module": "tls", "event.data.identifier": "example.com", "event.data.renewal": true, "event.data.dotted.key": 7, "event.data.none": nil,
	} {
		if got, ok := e.Lookup(name); !ok || got != want {
			t.Errorf("{%s} is %v, %v, want %v", name, got, ok, want)
		}
	}
	if got, ok := e.Lookup("event.data"); !ok || !maps.Equal(got.(map[string]any), data) {
		t.Errorf("{event.data} is %v", got)
	}
	for _, name := range []string{"", "even", "event.", "event.x", "events.id", "event.data."[:10], "http.request.host"} {
		if got, ok := e.Lookup(name); ok && name != "event.data" {
			t.Errorf("{%s} is known: %v", name, got)
		}
	}
	if e.String() != "cert_obtained (id-1)" {
		t.Error(e)
	}
}

func TestCloudEvent(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 5000, time.UTC)
	for _, c := range []struct {
		event Event
		want  string
	}{
		{Event{ID: "1", Time: at, Name: "started"}, `{"id":"1","source":"sluice","specversion":"1.0","type":"started","time":"2026-11-20T12:00:00.000005Z"}`},
		{Event{ID: "2", Time: at, Name: "healthy", Origin: "http.handlers.reverse_proxy", Data: map[string]any{"host": "a:1"}},
			`{"id":"2","source":"http.handlers.reverse_proxy","specversion":"1.0","type":"healthy","time":"2026-11-20T12:00:00.000005Z","datacontenttype":"application/json","data":{"host":"a:1"}}`},
		{Event{ID: "3", Time: at, Name: "cert_failed", Origin: "tls", Data: map[string]any{"error": errors.New("no \"luck\""), "remaining": time.Second, "odd": func() {} == nil, "worse": complex(1, 2), "none": nil}},
			`{"id":"3","source":"tls","specversion":"1.0","type":"cert_failed","time":"2026-11-20T12:00:00.000005Z","datacontenttype":"application/json","data":{"error":"no \"luck\"","none":null,"odd":false,"remaining":1000000000,"worse":"(1+2i)"}}`},
	} {
		got, err := json.Marshal(c.event.CloudEvent())
		if err != nil || string(got) != c.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
	}
	hello := Event{Data: map[string]any{"client_hello": &tls.ClientHelloInfo{ServerName: "x"}}}
	if got := hello.CloudEvent(); !strings.Contains(string(got.Data), `"ServerName":"x"`) {
		t.Errorf("%s", got.Data)
	}
}

func TestNewID(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 100 {
		id := newID()
		if !uuid.MatchString(id) || seen[id] {
			t.Fatalf("%q is no new UUID", id)
		}
		seen[id] = true
	}
}

func TestOfTheProcess(t *testing.T) {
	b := NewBus(Options{})
	var got []string
	b.Use(NewSubscriptions([]Subscription{{Handlers: []Handler{HandlerFunc(func(_ context.Context, e *Event) error {
		got = append(got, fmt.Sprint(e.Origin, "/", e.Name, " ", e.Data["host"]))
		return ErrAborted // which changes nothing
	})}}}))
	b.Teller(Started)()
	b.Health("10.0.0.1:80", false)
	b.Health("localhost", true)
	b.Teller(Stopping)()
	if text := strings.Join(got, ", "); text != "/started <nil>, http.handlers.reverse_proxy/unhealthy 10.0.0.1:80, http.handlers.reverse_proxy/healthy localhost, /stopping <nil>" {
		t.Error(text)
	}
}
