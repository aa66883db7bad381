package standard

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/acmeserver"
	"github.com/sluiceproxy/sluice/handlers/authentication"
	"github.com/sluiceproxy/sluice/handlers/mirror"
	"github.com/sluiceproxy/sluice/handlers/ratelimit"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/events"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/internal/telemetry"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/configloader"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/automation"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"github.com/sluiceproxy/sluice/upstream"
)

func table(t testing.TB) *module.Table {
	t.Helper()
	tb, err := module.NewTable(Specs(), Refused())
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func builder(t testing.TB, tb *module.Table) *module.Builder {
	t.Helper()
	services := module.Services{}
	sw := logs.NewSwitch(logs.Process{})
	module.Provide(services, sw)
	module.Provide(services, &server.Process{Logs: sw})
	module.Provide(services, upstream.NewPool(nil))
	registry, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	module.Provide(services, registry)
	module.Provide(services, telemetry.New(telemetry.Config{}))
	module.Provide(services, authentication.NewGate(0))
	module.Provide(services, ratelimit.NewZones(registry))
	module.Provide(services, mirror.NewCopies(registry))
	module.Provide(services, dynamic.NewCache(upstream.NewPool(nil), dynamic.Options{}))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	b := &module.Builder{Table: tb, Workers: 2, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Services: services}}
	provideCertificates(t, b)
	return b
}

// provideCertificates makes what the process has for TLS, in a folder of the
// test and without the trust stores of the system.
func provideCertificates(t testing.TB, b *module.Builder) {
	t.Helper()
	services, log := b.Sources.Services, zap.NewNop()
	stores := certstore.NewStores(t.TempDir())
	storage := certstore.NewSwitch(stores.Default())
	authorities := pki.NewAuthorities(pki.Options{Storage: storage, Globals: b.Sources.Globals, Logger: func(string) *zap.Logger { return log }})
	t.Cleanup(authorities.Close)
	tickets, err := handshake.NewTickets(handshake.TicketsOptions{OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tickets.Close)
	bus := events.NewBus(events.Options{OnError: func(_ *events.Event, err error) { t.Error(err) }})
	module.Provide(services, stores)
	module.Provide(services, storage)
	module.Provide(services, authorities)
	module.Provide(services, tickets)
	module.Provide(services, issuance.NewChallenges(log))
	module.Provide(services, bus)
	issuer := func(name string) issuance.Issuer {
		res := b.Build(nil, issuance.Namespace+"."+name, config.NewObject(nil), module.Options{})
		if len(res.Problems) > 0 {
			t.Fatal(res.Problems)
		}
		return res.Root.Value().(issuance.Issuer)
	}
	manager := automation.New(automation.Options{Storage: storage, Log: log, Events: bus, Public: []issuance.Issuer{issuer("acme")}, Internal: issuer("internal")})
	t.Cleanup(manager.Close)
	module.Provide(services, manager)
	module.Provide(services, acmeserver.NewDatabases(acmeserver.Options{Dir: t.TempDir()}))
}

// secrets is the variables of the environment that examples name.
var secrets = map[string]string{
	"TSIG_KEY":    "cWnu6Ju9zOki4f7Q+da2KKGo0KOXbCf6Pej6hW3geC4=",
	"ZEROSSL_KEY": "an-access-key",
}

// TestEveryExampleCompiles runs each module's examples: they decode, validate
// and compile without a warning.
func TestEveryExampleCompiles(t *testing.T) {
	for name, value := range secrets {
		t.Setenv(name, value)
	}
	tb := table(t)
	b := builder(t, tb)
	keys := inlineKeys(tb)
	without := 0
	for _, id := range tb.IDs() {
		spec, _ := tb.Spec(id)
		if len(spec.Examples) == 0 {
			without++
		}
		for _, ex := range spec.Examples {
			n, _, err := config.Parse([]byte(ex.JSON), config.Limits{})
			if err != nil {
				t.Errorf("%s: example %q: %v", id, ex.Title, err)
				continue
			}
			res := b.Build(nil, id, stripName(n, id, keys), module.Options{})
			if problems := append(res.Problems, res.Warnings...); len(problems) > 0 {
				t.Errorf("%s: example %q: %v", id, ex.Title, problems)
			}
		}
	}
	if without > len(tb.IDs())/2 {
		t.Errorf("%d of %d modules have no example", without, len(tb.IDs()))
	}
}

// inlineKeys lists, for each namespace, the keys under which slots for its
// modules have the name.
func inlineKeys(tb *module.Table) map[string][]string {
	keys := map[string][]string{}
	var visit func(v any)
	visit = func(v any) {
		if list, ok := v.([]any); ok {
			for _, e := range list {
				visit(e)
			}
			return
		}
		m := asMap(v)
		if slot := asMap(m["x-module"]); slot != nil {
			namespace, _ := slot["namespace"].(string)
			if inline, _ := slot["inline"].(string); inline != "" && !slices.Contains(keys[namespace], inline) {
				keys[namespace] = append(keys[namespace], inline)
			}
		}
		for _, e := range m {
			visit(e)
		}
	}
	for _, id := range tb.IDs() {
		s, _ := tb.Schema(id)
		visit(map[string]any(s))
	}
	keys[configloader.Namespace] = []string{configloader.InlineKey} // the slot is in the admin object, on a higher floor
	return keys
}

// stripName removes the inline key, under which the example names its module.
func stripName(n *config.Node, id string, keys map[string][]string) *config.Node {
	if n.Kind() != config.Object {
		return n
	}
	dot := max(strings.LastIndexByte(id, '.'), 0)
	namespace, name := id[:dot], strings.TrimPrefix(id[dot:], ".")
	members := map[string]*config.Node{}
	for k, v := range n.Members() {
		if v.Kind() == config.String && v.Str() == name && slices.Contains(keys[namespace], k) {
			continue
		}
		members[k] = v
	}
	return config.NewObject(members)
}

// TestSchemaAndDecoderAgree feeds random values to every module: its schema
// accepts them if and only if its decoder does.
func TestSchemaAndDecoderAgree(t *testing.T) {
	tb := table(t)
	r := rand.New(rand.NewPCG(3, 4))
	accepted, refused := 0, 0
	for _, id := range tb.IDs() {
		s, _ := tb.Schema(id)
		for range 400 {
			v := random(r, map[string]any(s), 0)
			n, err := config.FromGo(v)
			if err != nil {
				t.Fatal(err)
			}
			decoder, validator := tb.Inspect(id, n)
			if (len(decoder) == 0) != (len(validator) == 0) {
				text, _ := json.Marshal(v)
				t.Errorf("%s: %s\ndecoder: %v\nschema: %v", id, text, decoder, validator)
				break
			}
			if len(decoder) == 0 {
				accepted++
			} else {
				refused++
			}
		}
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	if accepted < 1000 || refused < 1000 {
		t.Errorf("%d accepted and %d refused: too few of one kind to say anything", accepted, refused)
	}
}

var words = []any{nil, true, false, 0.0, 1.0, -3.0, 1.5, 70000.0, 1e12, "", "a", "10s", "5x", "1d12h", "{x}", []any{}, map[string]any{}, []any{"a", nil}, []any{1.0}, map[string]any{"a": "b"}}

// random makes a value that mostly follows the schema.
func random(r *rand.Rand, s map[string]any, depth int) any {
	if r.IntN(12) == 0 || depth > 5 {
		return words[r.IntN(len(words))]
	}
	if enum, ok := s["enum"].([]any); ok && r.IntN(3) > 0 {
		return enum[r.IntN(len(enum))]
	}
	if any, ok := s["anyOf"].([]any); ok {
		return random(r, any[r.IntN(len(any))].(map[string]interface{}), depth)
	}
	kind := s["type"]
	if kinds, ok := kind.([]any); ok {
		kind = kinds[r.IntN(len(kinds))]
	}
	switch kind {
	case "object":
		return randomObject(r, s, depth)
	case "array":
		items, _ := s["items"].(map[string]any)
		if items == nil {
			if named, ok := s["items"].(schema.Schema); ok {
				items = named
			}
		}
		var out = []any{}
		for range r.IntN(3) {
			out = append(out, random(r, items, depth+1))
		}
		return out
	case "string":
		return []any{"", "a", "10s", "x y"}[r.IntN(4)]
	case "integer":
		return []any{0.0, 1.0, 200.0, -1.0}[r.IntN(4)]
	case "number":
		return []any{0.5, 2.0}[r.IntN(2)]
	case "boolean":
		return r.IntN(2) == 0
	}
	return words[r.IntN(len(words))]
}

func randomObject(r *rand.Rand, s map[string]any, depth int) any {
	out := map[string]any{}
	props, _ := s["properties"].(map[string]any)
	for name, p := range props {
		if r.IntN(4) == 0 {
			if r.IntN(10) == 0 {
				name = strings.ToUpper(name)
			}
			out[name] = random(r, asMap(p), depth+1)
		}
	}
	if rest := asMap(s["additionalProperties"]); rest != nil {
		for _, name := range []string{"x", "y"}[:r.IntN(3)] {
			out[name] = random(r, rest, depth+1)
		}
	}
	if r.IntN(15) == 0 {
		out["bogus"] = 1.0
	}
	return out
}

func asMap(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case schema.Schema:
		return v
	}
	return nil
}
