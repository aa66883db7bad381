package dynamic

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/upstream"
)

// fake is a DNS in memory.
type fake struct {
	mu      sync.Mutex
	records map[string]string // name -> "target:port[/priority/weight] ..." or addresses; absent = no such name
	err     error
	delay   time.Duration
	asked   []string
}

func (f *fake) set(name, records string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.records == nil {
		f.records = map[string]string{}
	}
	f.records[name] = records
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) slow(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

// lookups is how many there were.
func (f *fake) lookups() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func (f *fake) answer(ctx context.Context, name string) (string, error) {
	f.mu.Lock()
	f.asked = append(f.asked, name)
	delay := f.delay
	f.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.records[name]
	switch {
	case f.err != nil:
		return "", f.err
	case !ok:
		return "", &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return text, nil
}

func (f *fake) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "" || proto != "" {
		name = "_" + service + "._" + proto + "." + name
	}
	text, err := f.answer(ctx, name)
	if err != nil {
		return "", nil, err
	}
	var list []*net.SRV
	for _, r := range strings.Fields(text) {
		parts := strings.Split(r, "/")
		host, port, _ := strings.Cut(parts[0], ":")
		rec := &net.SRV{Target: host, Port: uint16(number(port))}
		if len(parts) == 3 {
			rec.Priority, rec.Weight = uint16(number(parts[1])), uint16(number(parts[2]))
		}
		if host == "bad" {
			err = errors.New("a record is malformed")
			continue
		}
		list = append(list, rec)
	}
	return name, list, err
}

func (f *fake) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	text, err := f.answer(ctx, network+" "+host)
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, a := range strings.Fields(text) {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, nil
}

func number(s string) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// world is a process.
type world struct {
	t       testing.TB
	dns     *fake
	pool    *upstream.Pool
	cache   *Cache
	builder module.Builder
	log     *zap.Logger
	logs    *observer.ObservedLogs
}

// newWorld is one that asks a DNS in memory, or with real set the servers that a config names.
func newWorld(t testing.TB, real bool) *world {
	t.Helper()
	w := &world{t: t, dns: &fake{}, pool: upstream.NewPool(nil)}
	var o Options
	if !real {
		o.Resolver = func(upstream.ResolverOptions) Resolver { return w.dns }
	}
	w.cache = NewCache(w.pool, o)
	core, logs := observer.New(zapcore.DebugLevel)
	w.log, w.logs = zap.New(core), logs
	type holder struct {
		Source module.Ref[Source] `json:"source" module:"http.reverse_proxy.upstreams" inline:"source"`
	}
	table, err := module.NewTable(append(Specs(), module.New("holder", "Holds a source.", nil, func(_ *module.Env, c *holder) (Source, error) {
		return c.Source.Value(), nil
	})), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, w.cache)
	w.builder = module.Builder{Table: table, Sources: module.Sources{
		ReadFile: func(string) ([]byte, error) { return nil, errors.New("no files here") }, Globals: vars.Map{}, Services: services,
	}}
	return w
}

// source builds a source and prepares it; end closes it.
func (w *world) source(text string) (s Source, end func()) {
	w.t.Helper()
	n, _, err := config.Parse([]byte(`{"source":`+text+`}`), config.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	res := w.builder.Build(nil, "holder", n, module.Options{})
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
		r.Start()
	}
	return res.Root.Value().(Source), func() {
		for _, r := range owned {
			r.Close()
		}
	}
}

// ask asks a source; pairs are placeholders.
func (w *world) ask(s Source, pairs ...string) (*List, error) {
	scope := vars.Map{}
	for i := 0; i < len(pairs); i += 2 {
		scope[pairs[i]] = pairs[i+1]
	}
	return s.Upstreams(Query{Context: context.Background(), Scope: scope, Log: w.log})
}

// again asks a source for a retry.
func (w *world) again(s Source) (*List, error) {
	return s.Upstreams(Query{Context: context.Background(), Scope: vars.Map{}, Log: w.log, Again: true})
}

// want checks what a source answers with: dial texts, or an error with a text.
func (w *world) want(list *List, err error, dials, failure string) {
	w.t.Helper()
	var got, why string
	if list != nil {
		got = strings.Join(list.Dials, " ")
	}
	if err != nil {
		why = err.Error()
	}
	if got != dials || (failure == "") != (why == "") || !strings.Contains(why, failure) {
		w.t.Errorf("got %q and error %q, want %q and %q", got, why, dials, failure)
	}
}
