package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/logs/filtermod"
)

// memory is a terminal or a file to write to.
type memory struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	broken bool
}

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return 0, errors.New("disk full")
	}
	return m.buf.Write(p)
}

func (m *memory) setBroken(b bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = b
}

func (m *memory) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.buf.String()
	m.buf.Reset()
	return s
}

type clock struct{}

var noon = time.Date(2026, 8, 1, 12, 0, 0, 250_000_000, time.UTC)

func (clock) Now() time.Time                         { return noon }
func (clock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// world is a process with logs.
type world struct {
	t              *testing.T
	stdout, stderr *memory
	sw             *logs.Switch
	env            map[string]string
	extra          []module.Spec // set before the first load
	table          *module.Table
	warnings       []string
}

func newWorld(t *testing.T, change ...func(*logs.Process)) *world {
	w := &world{t: t, stdout: &memory{}, stderr: &memory{}, env: map[string]string{}}
	p := logs.Process{Stdout: w.stdout, Stderr: w.stderr, Clock: clock{}}
	for _, f := range change {
		f(&p)
	}
	w.sw = logs.NewSwitch(p)
	return w
}

// tableOf is the table of this folder's modules, and some more. Making one takes
// longer than most tests.
func tableOf(extra []module.Spec) (*module.Table, error) {
	if len(extra) == 0 {
		return ownTable()
	}
	return newTable(extra)
}

var ownTable = sync.OnceValues(func() (*module.Table, error) { return newTable(nil) })

func newTable(extra []module.Spec) (*module.Table, error) {
	return module.NewTable(slices.Concat(logs.Specs(), filtermod.Specs(), extra), map[string]string{"caddy.logging.cores.mock": "it is for tests"})
}

func (w *world) build(doc string) module.Result {
	w.t.Helper()
	if w.table == nil {
		var err error
		if w.table, err = tableOf(w.extra); err != nil {
			w.t.Fatal(err)
		}
	}
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	b := &module.Builder{Table: w.table, Sources: module.Sources{
		ReadFile: func(string) ([]byte, error) { return nil, nil },
		Globals:  &vars.Global{Getenv: func(n string) string { return w.env[n] }},
		Services: module.Services{},
	}}
	module.Provide(b.Sources.Services, w.sw)
	res := b.Build(nil, logs.ID, node, module.Options{})
	for _, p := range res.Warnings {
		w.warnings = append(w.warnings, p.String())
	}
	return res
}

// load builds and prepares a Set; the returned function closes it.
func (w *world) load(doc string) (*logs.Set, func()) {
	w.t.Helper()
	res := w.build(doc)
	if len(res.Problems) > 0 {
		w.t.Fatal(res.Problems)
	}
	var owned []module.Resource
	for _, b := range res.New {
		owned = append(owned, b.Owned()...)
	}
	for _, r := range owned {
		if err := r.Prepare(); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, r := range owned {
		r.Start()
	}
	return res.Root.Value().(*logs.Set), func() {
		for _, r := range owned {
			r.Close()
		}
	}
}

func (w *world) use(doc string) *logs.Set {
	w.t.Helper()
	s, _ := w.load(doc)
	w.sw.Use(s)
	return s
}

// out and err are what was written since the last call.
func (w *world) out() string { w.sync(); return w.stdout.take() }
func (w *world) err() string { w.sync(); return w.stderr.take() }
func (w *world) sync() {
	w.t.Helper()
	if err := w.sw.Sync(); err != nil {
		w.t.Fatal(err)
	}
}

// equal compares and shows both.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// messages lists "logger:message" of JSON lines.
func messages(t *testing.T, text string) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		var e struct{ Logger, Msg string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, e.Logger+":"+e.Msg)
	}
	return strings.Join(out, " ")
}
