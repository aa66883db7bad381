package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/bolt"
	"github.com/sluiceproxy/sluice/upstream"
	"go.uber.org/zap"
)

// The benchmarks of this file take a PATCH and a load apart: each measures one
// step, with the modules that ship. BenchmarkPatch is all steps of a PATCH but
// HTTP. Those of a request stand beside the packages that serve it: server,
// handlers/route, handlers/reverseproxy, server/wire.

func realTable(tb testing.TB) *module.Table {
	tb.Helper()
	t, err := module.NewTable(append(standard.Specs(), endpoint.Spec()), standard.Refused())
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// services are what the modules find in a process.
func services() (module.Services, *logs.Switch) {
	sw := logs.NewSwitch(logs.Process{})
	s := module.Services{}
	module.Provide(s, sw)
	module.Provide(s, &server.Process{Logs: sw})
	module.Provide(s, endpoint.NewSockets(endpoint.SocketsOptions{Log: zap.NewNop()}))
	module.Provide(s, upstream.NewPool(nil))
	module.Provide(s, upstream.NewTransports(upstream.TransportsConfig{}))
	return s, sw
}

func realBuilder(tb testing.TB, workers int) *module.Builder {
	tb.Helper()
	s, _ := services()
	return &module.Builder{Table: realTable(tb), Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Services: s}, Workers: workers}
}

// stepsText is a document that listens nowhere.
func stepsText(n int, by string) []byte {
	d := manyRoutes(n, by, "127.0.0.1:1", "127.0.0.1:1")
	d["admin"] = object{"disabled": true}
	delete(d["apps"].(object)["http"].(object)["servers"].(object)["s"].(object), "listen")
	return encode(d)
}

func parsed(tb testing.TB, text []byte) *config.Node {
	tb.Helper()
	n, _, err := config.Parse(text, config.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func stepsDoc(tb testing.TB, n int, by string) *config.Doc {
	tb.Helper()
	doc, err := config.NewDoc(parsed(tb, stepsText(n, by)))
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// editOf is the PATCH that the case reload makes, number k.
func editOf(tb testing.TB, doc *config.Doc, k int) config.Edit {
	path, ok := doc.PathOf("r5")
	if !ok {
		tb.Fatal("the document has no r5")
	}
	value := config.NewArray([]*config.Node{config.NewString("v" + strconv.Itoa(k))})
	return config.Edit{Verb: config.Patch, Path: append(path, "handle", "0", "response", "set", "X-App"), Value: value}
}

func applied(tb testing.TB, doc *config.Doc, k int) *config.Doc {
	next, err := doc.Apply(editOf(tb, doc, k))
	if err != nil {
		tb.Fatal(err)
	}
	return next
}

func built(tb testing.TB, b *module.Builder, prev *module.Built, doc *config.Doc) module.Result {
	r := b.Build(prev, server.RootID, doc.Root(), module.Options{})
	if len(r.Problems) > 0 {
		tb.Fatal(r.Problems)
	}
	return r
}

// eachSize runs a benchmark for the numbers of routes that the goals name.
func eachSize(b *testing.B, run func(b *testing.B, n int, by string)) {
	for _, n := range []int{10_000, 100_000} {
		for _, by := range []string{"hosts", "paths"} {
			b.Run(fmt.Sprintf("%d-%s", n, by), func(b *testing.B) {
				b.ReportAllocs()
				run(b, n, by)
			})
		}
	}
}

func BenchmarkParseBody(b *testing.B) {
	for _, c := range []struct {
		name string
		text []byte
	}{{"value", []byte(`["v17"]`)}, {"route", encode(middleRoute(5, "hosts"))}, {"document-10000", stepsText(10_000, "hosts")}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.text)))
			for b.Loop() {
				parsed(b, c.text)
			}
		})
	}
}

func BenchmarkDocApply(b *testing.B) {
	eachSize(b, func(b *testing.B, n int, by string) {
		doc := stepsDoc(b, n, by)
		for k := 0; b.Loop(); k++ {
			doc = applied(b, doc, k)
		}
	})
}

// BenchmarkBuildEdit is the compilation of one edit among many routes.
func BenchmarkBuildEdit(b *testing.B) {
	eachSize(b, func(b *testing.B, n int, by string) {
		builder := realBuilder(b, 2)
		docs := [2]*config.Doc{}
		docs[0] = stepsDoc(b, n, by)
		docs[1] = applied(b, docs[0], 0)
		tree := built(b, builder, nil, docs[0]).Root
		made := 0
		for k := 1; b.Loop(); k++ {
			r := built(b, builder, tree, docs[k%2])
			tree, made = r.Root, len(r.New)
		}
		b.ReportMetric(float64(made), "modules")
	})
}

// BenchmarkBuildCold is the compilation of a first document.
func BenchmarkBuildCold(b *testing.B) {
	for _, by := range []string{"hosts", "paths"} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("10000-%s-workers-%d", by, workers), func(b *testing.B) {
				b.ReportAllocs()
				doc := stepsDoc(b, 10_000, by)
				for b.Loop() {
					b.StopTimer()
					builder := realBuilder(b, workers) // one that has validated nothing yet
					b.StartTimer()
					built(b, builder, nil, doc)
				}
			})
		}
	}
}

// BenchmarkValidate is the schema's share of a build: what the validator does
// for the modules of one route, as the decoder hands them over. The benchmark
// "route" is the whole build of such a route, to compare with.
func BenchmarkValidate(b *testing.B) {
	table := realTable(b)
	type value struct {
		v     *schema.Validator
		value any
	}
	var values []value
	for id, v := range map[string]any{
		"http.route":                  object{"@id": "r5", "match": list{object{"host": object{}, "path": object{}}}, "handle": list{object{}, object{}}, "terminal": true},
		"http.matchers.host":          list{"app5.example.test"},
		"http.matchers.path":          list{"/api/*", "/v1/*"},
		"http.handlers.headers":       object{"response": object{"set": object{"X-App": list{"5"}}}},
		"http.handlers.reverse_proxy": object{"upstreams": list{object{"dial": "127.0.0.1:20005"}}},
	} {
		s, ok := table.Schema(id)
		if !ok {
			b.Fatalf("no module %s", id)
		}
		validator, err := schema.Compile(id, s)
		if err != nil {
			b.Fatal(err)
		}
		delete(asObject(v), "@id")
		if ps := validator.Check(v); len(ps) > 0 {
			b.Fatalf("%s: %v", id, ps)
		}
		values = append(values, value{validator, v})
	}
	b.Run("schema", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, x := range values {
				x.v.Check(x.value)
			}
		}
	})
	b.Run("schema-remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, x := range values {
				x.v.Validate(x.value)
			}
		}
	})
	b.Run("route", func(b *testing.B) {
		b.ReportAllocs()
		builder, node := realBuilder(b, 1), parsed(b, encode(middleRoute(5, "hosts")))
		for b.Loop() {
			if r := builder.Build(nil, "http.route", node, module.Options{}); len(r.Problems) > 0 {
				b.Fatal(r.Problems)
			}
		}
	})
}

func asObject(v any) object { o, _ := v.(object); return o }

// BenchmarkCommit is one change in the store: mostly two fdatasyncs.
func BenchmarkCommit(b *testing.B) {
	b.ReportAllocs()
	store := openBolt(b)
	change := []storage.Change{{Origin: "bench", Edit: storage.Edit{Verb: "PATCH", Path: "/apps/http/servers/s/routes/6/handle/0/response/set/X-App", Body: []byte(`["v17"]`)}}}
	document := func() []byte { return []byte(`{}`) }
	for base := uint64(0); b.Loop(); base++ {
		if _, err := store.Commit(context.Background(), base, change, document); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSync is the least that a safe change can cost on this disk.
func BenchmarkSync(b *testing.B) {
	d, err := newDisk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.close()
	for b.Loop() {
		if err := d.measure(); err != nil {
			b.Fatal(err)
		}
	}
}

func openBolt(b *testing.B) storage.Store {
	b.Helper()
	replay := func([]byte, []storage.Edit) ([]byte, error) { return []byte(`{}`), nil }
	store, err := bolt.Open(filepath.Join(b.TempDir(), "store"), bolt.Options{Replay: replay, OnError: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	return store
}

// stepsJournal is an engine's journal over a store.
type stepsJournal struct{ storage.Store }

func (j stepsJournal) Commit(ctx context.Context, base uint64, entries []server.Entry, document func() []byte) error {
	changes := make([]storage.Change, len(entries))
	for i, e := range entries {
		changes[i] = storage.Change{Origin: e.Origin, Edit: storage.Edit{Verb: e.Verb, Path: e.Path, Body: e.Value.AppendJSON(nil)}}
	}
	_, err := j.Store.Commit(ctx, base, changes, document)
	return err
}

// BenchmarkPatch is one edit through the engine: applied, compiled, on disk,
// serving.
func BenchmarkPatch(b *testing.B) {
	eachSize(b, func(b *testing.B, n int, by string) {
		s, sw := services()
		e, err := server.New(server.Options{Table: realTable(b), Services: s, ReadFile: os.ReadFile, Globals: vars.NewGlobal(),
			Sockets: listen.NewManager(listen.Options{}), Logs: sw, Journal: stepsJournal{openBolt(b)}})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = e.Shutdown(context.Background()) }()
		apply := func(verb string, edit config.Edit) {
			if _, err := e.Apply(context.Background(), server.Change{Verb: verb, Edit: edit}); err != nil {
				b.Fatal(err)
			}
		}
		apply(storage.VerbLoad, config.Edit{Whole: true, Value: parsed(b, stepsText(n, by))})
		for k := 0; b.Loop(); k++ {
			apply("PATCH", editOf(b, e.Current().Doc(), k))
		}
	})
}
