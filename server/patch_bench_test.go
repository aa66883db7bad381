package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
)

// BenchmarkPatch is one edit of a route among many, without a journal.
func BenchmarkPatch(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, kind := range []string{"hosts", "paths"} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) { benchmarkPatch(b, n, kind) })
		}
	}
}

func benchmarkPatch(b *testing.B, n int, kind string) {
	w := &world{journal: &journal{}}
	table, err := module.NewTable(w.specs(), nil)
	if err != nil {
		b.Fatal(err)
	}
	sw := logs.NewSwitch(logs.Process{})
	services := module.Services{}
	module.Provide(services, sw)
	e, err := server.New(server.Options{Table: table, Services: services, Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: sw})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Shutdown(context.Background()) }()
	var routes []string
	for i := range n {
		match := fmt.Sprintf(`{"path":["/svc%d/*"]}`, i)
		if kind == "hosts" {
			match = fmt.Sprintf(`{"host":["app%d.test"],"path":["/api/*","/v1/*"]}`, i)
		}
		routes = append(routes, fmt.Sprintf(`{"@id":"r%d","match":[%s],"handle":[{"handler":"say","body":"%d"}],"terminal":true}`, i, match, i))
	}
	doc, _, err := config.Parse([]byte(`{"apps":{"http":{"servers":{"s":{"automatic_https":{"disable":true},"routes":[`+strings.Join(routes, ",")+`]}}}}}`), config.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Apply(context.Background(), server.Change{Edit: config.Edit{Verb: config.Post, Whole: true, Value: doc}}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		path, _ := e.Current().Doc().PathOf("r5")
		c := server.Change{Edit: config.Edit{Verb: config.Patch, Path: append(path, "handle", "0", "body"), Value: config.NewString(fmt.Sprint("x", i))}}
		if _, err := e.Apply(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
