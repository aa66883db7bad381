package admin_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/admintest"
	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/storage/mem"
	"github.com/sluiceproxy/sluice/upstream"
)

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	return porttest.Free(t, n)
}

// TestScenariosOnTheEngine plays the scenarios on the real engine with every
// module that ships.
func TestScenariosOnTheEngine(t *testing.T) {
	ports := freePorts(t, admintest.Ports+1)
	host := "localhost:" + strconv.Itoa(ports[admintest.Ports])
	table, err := module.NewTable(append(standard.Specs(), endpoint.Spec()), standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	sockets := endpoint.NewSockets(endpoint.SocketsOptions{Default: host})
	services := module.Services{}
	module.Provide(services, sockets)
	pool := upstream.NewPool(nil)
	module.Provide(services, pool)
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	logSwitch := logs.NewSwitch(logs.ThisProcess())
	module.Provide(services, logSwitch)
	store := mem.New(mem.Options{})
	engine, err := server.New(server.Options{Journal: journal{store}, Table: table, Services: services, ReadFile: os.ReadFile,
		Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: logSwitch})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	language := caddyfiles{adapt.New(table, adapt.Words{Order: standard.DirectiveOrder(), Refused: standard.RefusedDirectives()})}
	api := admin.New(admin.Deps{Engine: admin.FromEngine(engine), Store: store, Table: table, Upstreams: pool,
		Adapters: map[string]admin.Adapter{"caddyfile": language}, Stop: func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := engine.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if err := sockets.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			close(stopped)
		}})
	sockets.Serve(api)
	quiet := config.Edit{Whole: true, Value: config.NewNull()}
	if _, err := engine.Apply(t.Context(), server.Change{Edit: quiet, Force: true, Verb: "load"}); err != nil {
		t.Fatal(err)
	}
	schema, err := http.Get("http://" + host + "/schema")
	if err != nil || schema.StatusCode != http.StatusOK || schema.ContentLength == 0 {
		t.Errorf("schema: %v %v", schema, err)
	}
	schema.Body.Close()
	o := admintest.Options{URL: "http://" + host, Features: []string{"caddyfile", "store"}, Stopped: func(t *testing.T) {
		<-stopped
		if conn, err := net.DialTimeout("tcp", host, time.Second); err == nil {
			conn.Close()
			t.Error("the admin endpoint still accepts")
		}
	}}
	copy(o.Ports[:], ports)
	o.Observe = func(t *testing.T, r *http.Request, resp *http.Response, _ []byte) {
		if resp.Close && r.URL.Path != "/stop" {
			t.Errorf("%s %s closes the connection", r.Method, r.URL.Path)
		}
	}
	admintest.Run(t, o)
}
