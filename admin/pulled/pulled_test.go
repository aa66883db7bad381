package pulled

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/configloader"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// host is a process with a document and no more.
type host struct {
	t        *testing.T
	mu       sync.Mutex
	doc      *config.Doc
	number   uint64
	changes  []server.Change
	reads    int
	held     int // documents that were read and not released
	kept     []string
	rejected error         // what Apply answers
	slow     time.Duration // how long Apply takes
	applied  func(root *config.Node)
	refuses  func(root *config.Node) bool
	failed   []error
	setting  func(admin *config.Node) (Setting, bool)
	starting bool
	partial  bool
}

func newHost(t *testing.T, text string) *host {
	h := &host{t: t}
	h.put(text)
	return h
}

func (h *host) put(text string) {
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	doc, err := config.NewDoc(n)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doc = doc
}

func (h *host) Limit() int64 { return 1000 }

// Read takes JSON, and anything else as the text of a document.
func (h *host) Read(_ context.Context, contentType string, text []byte) (*Document, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	d := &Document{Language: JSON, Pure: true, Release: h.release, Locate: func(ps schema.Problems) schema.Problems {
		for i := range ps {
			ps[i].Line = 7
		}
		return ps
	}}
	switch contentType {
	case "text/words":
		d.Language, d.Root = "words", config.NewObject(map[string]*config.Node{"words": config.NewString(string(text))})
	case "text/impure":
		d.Language, d.Pure, d.Root = "impure", false, config.NewObject(nil)
	default:
		var err error
		if d.Root, _, err = config.Parse(text, config.Limits{}); err != nil {
			return nil, err
		}
	}
	h.held++
	return d, nil
}

func (h *host) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held--
}

// change changes how the host behaves.
func (h *host) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *host) Document() (*config.Doc, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.doc, h.number
}

func (h *host) Apply(ctx context.Context, c server.Change) (server.Report, error) {
	h.mu.Lock()
	slow := h.slow
	h.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	if ctx.Err() != nil {
		return server.Report{}, context.Cause(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.DryRun {
		h.changes = append(h.changes, c)
	}
	if h.rejected != nil {
		return server.Report{}, h.rejected
	}
	if err := c.Place(h.doc); err != nil {
		return server.Report{}, err
	}
	next, err := h.doc.Apply(c.Edit)
	if err != nil {
		return server.Report{}, err
	}
	if h.refuses != nil && h.refuses(next.Root()) {
		return server.Report{}, &server.Rejected{Problems: schema.Problems{{Pointer: "/bad", Message: "it is bad"}}}
	}
	if c.DryRun {
		return server.Report{Revision: h.number}, nil
	}
	changed := next != h.doc
	if changed {
		h.doc, h.number = next, h.number+1
	}
	if h.applied != nil {
		h.applied(next.Root())
	}
	return server.Report{Revision: h.number, Changed: changed}, nil
}

func (h *host) KeepText(language string, text []byte, _ *config.Node, _ server.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = append(h.kept, language+":"+string(text))
}

func (h *host) Failed(_ server.Change, err error) { h.failed = append(h.failed, err) }

func (h *host) Setting(admin *config.Node) (Setting, bool) { return h.setting(admin) }

func (h *host) Up() bool { return !h.starting }

func (h *host) Whole() bool { return !h.partial }

func (h *host) text() string {
	doc, _ := h.Document()
	return string(doc.Root().AppendJSON(nil))
}

func (h *host) made() []server.Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.changes)
}

func (h *host) readings() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads
}

func (h *host) texts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.kept)
}

// source is a loader of a test.
type source struct {
	mu    sync.Mutex
	kind  string
	body  string
	err   error
	takes time.Duration
	at    []time.Duration // when it was asked
	begin time.Time
	id    configloader.Identity
	needs bool // an identity
}

func (s *source) set(body string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.err, s.takes = body, err, 0
}

func (s *source) Load(ctx context.Context, c configloader.Call) (configloader.Text, error) {
	s.mu.Lock()
	s.at, s.id = append(s.at, time.Since(s.begin)), c.Identity
	takes := s.takes
	s.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return configloader.Text{}, context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return configloader.Text{ContentType: s.kind, Body: []byte(s.body)}, s.err
}

func (s *source) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

func (s *source) Source() string      { return "http://source.test/x" }
func (s *source) NeedsIdentity() bool { return s.needs }

// rig is all of a test. It lives in a bubble.
type rig struct {
	*Puller
	host   *host
	source *source
	logs   *observer.ObservedLogs
}

func newRig(t *testing.T, document, body string) *rig {
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{Puller: New(zap.New(core), nil), host: newHost(t, document), source: &source{body: body, begin: time.Now()}, logs: logs}
	r.Connect(r.host)
	t.Cleanup(func() {
		r.Close()
		if r.host.held != 0 {
			t.Errorf("%d documents were not released", r.host.held)
		}
	})
	return r
}

func (r *rig) every(d time.Duration) Setting { return Setting{Loader: r.source, Delay: d} }

// asked is when the source was asked, in seconds.
func (r *rig) asked() string {
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	return fmt.Sprint(r.source.at)
}

func (r *rig) logged(t *testing.T, message string, times int) {
	t.Helper()
	if n := r.logs.FilterMessage(message).Len(); n != times {
		t.Errorf("%q was logged %d times, want %d; all: %v", message, n, times, r.logs.All())
	}
}

// in runs a story on a clock of its own.
func in(t *testing.T, name string, story func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, story) })
}

func wait(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func TestLoop(t *testing.T) {
	in(t, "waits, pulls, applies, and again", func(t *testing.T) {
		r := newRig(t, `{"a":1}`, `{"a":2}`)
		r.Use(r.every(10 * time.Second))
		if wait(9 * time.Second); r.asked() != "[]" {
			t.Fatal("pulled before the delay: ", r.asked())
		}
		if wait(time.Second); r.host.text() != `{"a":2}` {
			t.Fatal(r.host.text())
		}
		c := r.host.made()[0]
		if c.Origin != "pulled from http://source.test/x" || !IsOrigin(c.Origin) || c.Verb != "load" || !c.Edit.Whole || c.Force || c.Source != nil {
			t.Errorf("%+v", c)
		}
		r.source.set(`{"a":3}`, nil)
		if wait(10 * time.Second); r.host.text() != `{"a":3}` || r.asked() != "[10s 20s]" {
			t.Error(r.host.text(), r.asked())
		}
		r.logged(t, "the pulled config is in force", 2)
	})
	in(t, "an unchanged document does nothing", func(t *testing.T) {
		r := newRig(t, `{"b":2,"a":1}`, ` {"a":1.0, "b":2}`)
		r.Use(r.every(time.Second))
		wait(5 * time.Second)
		if len(r.host.made()) != 0 || r.source.times() != 5 || r.host.readings() != 1 {
			t.Errorf("%d changes, asked %s, read %d times", len(r.host.made()), r.asked(), r.host.readings())
		}
		r.host.put(`{"a":5}`) // an edit: the next pull replaces it, though the text is the same
		if wait(time.Second); len(r.host.made()) != 1 || r.host.text() != `{"a":1,"b":2}` {
			t.Errorf("%d changes, %s", len(r.host.made()), r.host.text())
		}
		if wait(5 * time.Second); len(r.host.made()) != 1 || r.host.readings() != 2 {
			t.Errorf("%d changes, read %d times", len(r.host.made()), r.host.readings())
		}
	})
	in(t, "a failure does not end it", func(t *testing.T) {
		r := newRig(t, `{"a":1}`, "")
		r.source.err = errors.New("connection refused")
		r.Use(r.every(time.Second))
		wait(time.Second)
		r.source.set(`{"a":`, nil)
		wait(time.Second)
		r.source.set(`{"admin":{"config":{"load":{"module":"http"}}}}`, nil)
		wait(time.Second)
		r.source.set("", nil)
		wait(time.Second)
		r.source.set(`{"a":2}`, nil)
		r.host.change(func() {
			r.host.rejected = &server.Rejected{Problems: schema.Problems{{Pointer: "/a", Message: "no good"}}}
		})
		wait(2 * time.Second)
		if len(r.host.made()) != 2 || r.host.text() != `{"a":1}` {
			t.Errorf("%d changes, %s", len(r.host.made()), r.host.text())
		}
		r.host.change(func() { r.host.rejected = nil })
		if wait(time.Second); r.host.text() != `{"a":2}` || r.source.times() != 7 {
			t.Error(r.host.text(), r.asked())
		}
		r.logged(t, "pulling the config; there will be another try", 3)
		r.logged(t, "the pulled config is empty; nothing is changed", 1)
		r.logged(t, "the pulled config does not load", 2)
		if refused := r.logs.FilterMessageSnippet("does not load").All()[0].ContextMap(); refused["pointer"] != "/a" || !strings.Contains(fmt.Sprint(refused["error"]), "no good") || !strings.Contains(fmt.Sprint(refused["error"]), "7") {
			t.Errorf("%v", refused)
		}
		if again := r.logs.FilterMessageSnippet("another try").All()[2].ContextMap(); !strings.Contains(fmt.Sprint(again["error"]), "again pulls one with no load_delay") {
			t.Errorf("%v", again)
		}
	})
	in(t, "a slow pull delays the next", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.source.takes = 3 * time.Second
		r.Use(r.every(time.Second))
		if wait(10 * time.Second); r.asked() != "[1s 5s 9s]" {
			t.Error(r.asked())
		}
	})
	in(t, "a tiny delay is no busy loop", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.Use(r.every(1))
		if wait(time.Second); r.source.times() > 10 {
			t.Error(r.source.times())
		}
	})
}

func TestLanguages(t *testing.T) {
	in(t, "source and type are kept", func(t *testing.T) {
		r := newRig(t, `{}`, "hello")
		r.source.kind = "text/words"
		r.Use(r.every(time.Second))
		wait(3 * time.Second)
		if len(r.host.made()) != 1 || string(r.host.made()[0].Source) != "hello" || r.host.made()[0].SourceType != "words" {
			t.Fatalf("%+v", r.host.made())
		}
		if fmt.Sprint(r.host.texts()) != "[words:hello]" || r.host.text() != `{"words":"hello"}` {
			t.Error(r.host.texts(), r.host.text())
		}
	})
	in(t, "a text that depends on more is read each time", func(t *testing.T) {
		r := newRig(t, `{}`, "hello")
		r.source.kind = "text/impure"
		r.Use(r.every(time.Second))
		if wait(3 * time.Second); r.host.readings() != 3 || len(r.host.made()) != 0 {
			t.Error(r.host.readings(), r.host.made())
		}
	})
	in(t, "the same text in another language is another", func(t *testing.T) {
		r := newRig(t, `{}`, "{}")
		r.Use(r.every(time.Second))
		wait(time.Second)
		r.source.mu.Lock()
		r.source.kind = "text/words"
		r.source.mu.Unlock()
		if wait(time.Second); r.host.text() != `{"words":"{}"}` {
			t.Error(r.host.text())
		}
	})
}

func TestUse(t *testing.T) {
	in(t, "the same setting goes on undisturbed", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.Use(r.every(10 * time.Second))
		wait(6 * time.Second)
		r.Use(r.every(10 * time.Second))
		if wait(4 * time.Second); r.asked() != "[10s]" {
			t.Error(r.asked())
		}
		r.logged(t, "stopping dynamic config loading", 0)
	})
	in(t, "another delay begins anew", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.Use(r.every(10 * time.Second))
		wait(6 * time.Second)
		r.Use(r.every(5 * time.Second))
		if wait(10 * time.Second); r.asked() != "[11s 16s]" {
			t.Error(r.asked())
		}
		r.logged(t, "stopping dynamic config loading", 1)
	})
	for name, s := range map[string]Setting{"no setting ends it": {}, "no delay ends it": {Loader: &source{}}} {
		in(t, name, func(t *testing.T) {
			r := newRig(t, `{}`, `{}`)
			r.Use(r.every(time.Second))
			wait(time.Second)
			r.Use(s)
			if wait(time.Hour); r.asked() != "[1s]" {
				t.Error(r.asked())
			}
		})
	}
	in(t, "what was pulled for settings that are gone is dropped", func(t *testing.T) {
		r := newRig(t, `{"a":1}`, `{"a":2}`)
		r.source.takes = 3 * time.Second
		r.Use(r.every(time.Second))
		wait(2 * time.Second)
		r.Use(Setting{}) // while it pulls
		wait(time.Minute)
		if len(r.host.made()) != 0 {
			t.Errorf("%+v", r.host.made())
		}
		r.logged(t, "pulling the config; there will be another try", 0)
		r.source.set(`{"a":2}`, nil)
		r.host.change(func() { r.host.slow = 3 * time.Second })
		r.Use(r.every(time.Second))
		wait(2 * time.Second)
		r.Use(Setting{}) // while its change waits for its turn
		wait(time.Minute)
		if len(r.host.made()) != 0 || r.host.text() != `{"a":1}` {
			t.Errorf("%+v", r.host.made())
		}
		r.logged(t, "the pulled config does not load", 0)
	})
	in(t, "the settings of the pulled document count", func(t *testing.T) {
		r := newRig(t, `{"a":1}`, `{"a":2}`)
		r.host.applied = func(*config.Node) { r.Use(Setting{}) } // as the applier does
		r.Use(r.every(time.Second))
		wait(time.Minute)
		if r.source.times() != 1 || r.host.text() != `{"a":2}` {
			t.Error(r.asked(), r.host.text())
		}
		r.logged(t, "the pulled config is in force", 1)
	})
	in(t, "nothing begins after Close", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.Use(r.every(time.Second))
		r.Close()
		r.Use(Setting{})
		r.Use(r.every(time.Second))
		if wait(time.Minute); r.asked() != "[]" {
			t.Error(r.asked())
		}
	})
}

func TestPull(t *testing.T) {
	in(t, "a document", func(t *testing.T) {
		r := newRig(t, `{}`, `{"a":1}`)
		d, err := r.pull(t.Context(), Setting{Loader: r.source})
		if err != nil {
			t.Fatal(err)
		}
		if c := d.change("127.0.0.1:1"); c.Origin != "pulled from http://source.test/x for 127.0.0.1:1" || c.Edit.Value != d.Root {
			t.Errorf("%+v", c)
		}
		d.Release()
	})
	in(t, "nothing", func(t *testing.T) {
		r := newRig(t, `{}`, ``)
		if d, err := r.pull(t.Context(), Setting{Loader: r.source}); d != nil || err != nil {
			t.Error(d, err)
		}
	})
	for body, want := range map[string]string{
		`[`: "unexpected end of JSON input",
		`{"admin":{"config":{"load":{},"load_delay":0}}}`: "again pulls one with no load_delay",
	} {
		in(t, body, func(t *testing.T) {
			r := newRig(t, `{}`, body)
			_, err := r.pull(t.Context(), Setting{Loader: r.source})
			if err == nil || !strings.HasPrefix(err.Error(), "loading dynamic config from http://source.test/x: ") || !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
		})
	}
	in(t, "who asked has gone", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.source.takes = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.pull(ctx, Setting{Loader: r.source}); !errors.Is(err, context.DeadlineExceeded) || time.Since(r.source.begin) != time.Second {
			t.Error(err)
		}
	})
	in(t, "the process stops", func(t *testing.T) {
		r := newRig(t, `{}`, `{}`)
		r.source.takes = time.Minute
		time.AfterFunc(time.Second, r.Stop)
		if _, err := r.pull(t.Context(), Setting{Loader: r.source}); !errors.Is(err, server.ErrClosed) || time.Since(r.source.begin) != time.Second {
			t.Error(err)
		}
	})
	in(t, "only so many at a time", func(t *testing.T) {
		r := newRig(t, `{}`, ``)
		var done sync.WaitGroup
		for range 6 {
			done.Go(func() {
				_, _ = r.pull(context.Background(), Setting{Loader: &source{takes: time.Minute, begin: time.Now()}})
			})
		}
		done.Wait()
		if took := time.Since(r.source.begin); took != 6/maxAtOnce*time.Minute {
			t.Error(took)
		}
	})
}

func TestAtOnce(t *testing.T) {
	parse := func(text string) *config.Node {
		n, _, err := config.Parse([]byte(text), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for text, want := range map[string]string{
		`null`:                               "",
		`[]`:                                 "",
		`{"admin":null}`:                     "",
		`{"admin":{"config":{"load":null}}}`: "",
		`{"admin":{"config":{"load":{"module":"http"}}}}`:                      "/admin/config/load",
		`{"Admin":{"CONFIG":{"Load":{}}}}`:                                     "/Admin/CONFIG/Load",
		`{"admin":{"config":{"load":{},"load_delay":null}}}`:                   "/admin/config/load",
		`{"admin":{"config":{"load":{},"load_delay":"0s"}}}`:                   "/admin/config/load",
		`{"admin":{"config":{"load":{},"load_delay":"1s"}}}`:                   "",
		`{"admin":{"config":{"load":{},"LOAD_DELAY":1}}}`:                      "",
		`{"admin":{"config":{"load":{},"load_delay":"soon"}}}`:                 "",
		`{"admin":{"config":{"load_delay":0}}}`:                                "",
		`{"config":{"load":{}},"apps":{"admin":{"config":{"load":{}}}}}`:       "",
		`{"admin":{"config":{"load":{"module":"http"},"load_delay":"-0.0s"}}}`: "/admin/config/load",
	} {
		pointer, ok := AtOnce(parse(text))
		if ok != (want != "") || ok && pointer != want {
			t.Errorf("%s: %s %v", text, pointer, ok)
		}
	}
	a := parse(`{"admin":{"config":{"load":{"url":"x"},"load_delay":"1s"}}}`)
	for text, same := range map[string]bool{
		`{"admin":{"listen":"x","config":{"persist":true,"load":{"url":"x"},"load_delay":"1s"}},"apps":{}}`: true,
		`{"admin":{"config":{"load":{"url":"y"},"load_delay":"1s"}}}`:                                       false,
		`{"admin":{"config":{"load":{"url":"x"},"load_delay":"2s"}}}`:                                       false,
		`{"admin":{"config":{"load":{"url":"x"}}}}`:                                                         false,
		`{}`: false,
	} {
		if sameSetting(a, parse(text)) != same {
			t.Errorf("%s: %v", text, !same)
		}
	}
	if !Wanted(a) || Wanted(parse(`{"admin":{"config":{}}}`)) || adminOf(a).Get("config") == nil {
		t.Error("wanted")
	}
}
