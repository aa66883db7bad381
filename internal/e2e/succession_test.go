package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

// engineHere is an engine in this process, so that the race detector sees it.
type engineHere struct {
	*server.Engine
	t    *testing.T
	pool *upstream.Pool
	port int
	dial upstream.DialFunc
}

func newEngineHere(t *testing.T) *engineHere {
	t.Helper()
	table, err := module.NewTable(append(standard.Specs(), adminSpecs()...), standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	e := &engineHere{t: t, pool: upstream.NewPool(nil), port: porttest.Free(t, 1)[0]}
	services := module.Services{}
	module.Provide(services, e.pool)
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{
		Dial: func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
			return e.dial(ctx, d, network, address)
		},
	}))
	logSwitch := logs.NewSwitch(logs.Process{})
	module.Provide(services, logSwitch)
	e.Engine, err = server.New(server.Options{Journal: noJournal{}, Table: table, Services: services, ReadFile: os.ReadFile,
		Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: logSwitch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

type noJournal struct{}

func (noJournal) Commit(context.Context, uint64, []server.Entry, func() []byte) error { return nil }

// adminSpecs is a module for the admin endpoint that does nothing.
func adminSpecs() []module.Spec {
	return []module.Spec{module.New("sluice.admin", "Nothing.", nil, func(*module.Env, *struct{}) (any, error) { return nil, nil })}
}

func (e *engineHere) load(text string) {
	e.t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.Apply(e.t.Context(), server.Change{Edit: config.Edit{Whole: true, Value: node}, Verb: "load"}); err != nil {
		e.t.Fatal(err)
	}
}

// routes loads the routes of a site.
func (e *engineHere) routes(list ...string) {
	e.t.Helper()
	e.load(e.document(list...))
}

func (e *engineHere) document(list ...string) string {
	return fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},"routes":[%s]}}}}}`, e.port, strings.Join(list, ","))
}

// waitingRoute is a route of a host to an upstream that is waited for.
func waitingRoute(host, up string) string {
	return fmt.Sprintf(`{"match":[{"host":[%q]}],"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":%q}],"headers":{"request":{"set":{"X-Meant":[%q]}}},`+
		`"load_balancing":{"try_duration":"30s","try_interval":"1ms"}}]}`, host, up, host)
}

// caddyserver/caddy #4442: requests wait for upstreams that are not there while edits go on. Each gets to the upstream that
// its own site has at last, and none to that of a site which has taken the place of its own.
func TestWaitingRequestsFollowEdits(t *testing.T) {
	e := newEngineHere(t)
	var oldB atomic.Pointer[string] // where the upstream down-b is by now
	e.dial = func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "down") {
			to := oldB.Load()
			if to == nil || address != "down-b:1" {
				return nil, fmt.Errorf("dial %s: connection refused", address)
			}
			address = *to
		}
		return d.DialContext(ctx, network, address)
	}
	up := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s: %s %s %s", name, r.Host, r.Header["X-Meant"], body)
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	upA, upC, upD, upB := up("a"), up("c"), up("d"), up("old b")
	const a, b, c = "a.test", "b.test", "c.test"
	down := func(host string, i int) string { return waitingRoute(host, fmt.Sprintf("down-%d:1", i)) }
	now := []string{down(a, 0), down(b, 1), down(c, 2)}
	e.routes(now...)
	const each = 8
	ask := e.ask(a, each)
	ask = append(ask, e.ask(b, each)...)
	ask = append(ask, e.ask(c, each)...)

	for i := 3; i < 200; i++ {
		switch i % 7 {
		case 0, 1, 2:
			now[i%7] = down([]string{a, b, c}[i%7], i)
		case 3: // two that are apart
			now[0], now[2] = down(a, i), down(c, i)
		case 4: // another route before them, and away again
			e.routes(append([]string{`{"match":[{"path":["/none"]}]}`}, now...)...)
		case 5: // one that is refused
			node, _, _ := config.Parse([]byte(strings.Replace(e.document(now...), "try_interval", "try_nothing", 1)), config.Limits{})
			if _, err := e.Apply(t.Context(), server.Change{Edit: config.Edit{Whole: true, Value: node}, Verb: "load"}); err == nil {
				t.Fatal("nothing is wrong with a field that does not exist")
			}
		}
		e.routes(now...)
	}
	now[0] = waitingRoute(a, upA)
	e.routes(now...)
	now[2] = waitingRoute(c, upC)
	e.routes(now...)
	now[1] = waitingRoute(b, "down-b:1")
	e.routes(now...)
	for _, x := range slices.Concat(ask[:each], ask[2*each:]) {
		x.want(t, fmt.Sprintf("200 %c: %s [%s] body", x.host[0], x.host, x.host))
	}
	now[1] = waitingRoute("d.test", upD)
	e.routes(now...)
	for _, x := range e.ask("d.test", 2) {
		x.want(t, "200 d: d.test [d.test] body")
	}
	oldB.Store(&upB) // only now, when whoever could go astray would have
	for _, x := range ask[each : 2*each] {
		x.want(t, "200 old b: b.test [b.test] body")
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		list := e.pool.List()
		if len(list) == 3 && e.Draining() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d generations and %v are left", e.Draining(), list)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// asked is a request that may take long.
type asked struct {
	host string
	got  chan string
}

func (x asked) want(t *testing.T, text string) {
	t.Helper()
	select {
	case got := <-x.got:
		if got != text {
			t.Errorf("%s: %q, want %q", x.host, got, text)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: no answer", x.host)
	}
}

// ask sends requests for a host, GET and POST in turn, and waits until they are on their way.
func (e *engineHere) ask(host string, n int) (list []asked) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 40 * time.Second}
	var wrote sync.WaitGroup
	for i := range n {
		x := asked{host, make(chan string, 1)}
		list = append(list, x)
		wrote.Add(1)
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { wrote.Done() }}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(e.t.Context(), trace), []string{"GET", "POST"}[i%2],
			fmt.Sprintf("http://127.0.0.1:%d/", e.port), strings.NewReader("body"))
		if err != nil {
			e.t.Fatal(err)
		}
		r.Host = host
		go func() {
			res, err := client.Do(r)
			if err != nil {
				x.got <- err.Error()
				return
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			x.got <- fmt.Sprint(res.StatusCode, " ", string(text))
		}()
	}
	wrote.Wait()
	return list
}
