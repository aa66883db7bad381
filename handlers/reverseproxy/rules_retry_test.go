package reverseproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/copyresponse"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/match/expression"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// withMatchers is a world with the real matchers.
func withMatchers(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	specs := slices.Concat(Specs(), trust.Specs(), route.Specs(), copyresponse.Specs(), testHandlers(), match.Specs(), []module.Spec{expression.Spec()})
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.builder.Table = table
	return w
}

// attempts makes the handler take its upstreams in turn, the first one first, and counts how often it is asked.
func (f *front) attempts() *atomic.Int64 {
	n := new(atomic.Int64)
	f.handler.Load().policy = policyFunc(func(c *selection.Choice) int {
		i := int(n.Add(1) - 1)
		if len(c.Upstreams) == 0 {
			return -1
		}
		return i % len(c.Upstreams)
	})
	return n
}

// answers is a backend that gives these statuses, one after the other; 0 closes the connection.
func answers(t *testing.T, list ...int) string {
	var n atomic.Int64
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		status := list[int(n.Add(1)-1)%len(list)]
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, status)
	})
}

// LB-11, LB-12, LB-14, LB-15 and LB-16 with the matchers that a config has.
func TestRetryMatchExpressions(t *testing.T) {
	const (
		page     = `[{"expression":"{http.reverse_proxy.status_code} in [502, 503]"},{"method":["PUT"],"path":["/idempotent/*"]}]`
		either   = `[{"expression":"{http.reverse_proxy.is_transport_error} || {http.reverse_proxy.status_code} in [502]"}]`
		either2  = `[{"expression":"{http.reverse_proxy.status_code} in [502] || {http.reverse_proxy.is_transport_error}"},{"method":["POST"]}]`
		blind    = `[{"expression":"method('PUT')"}]`
		onTheWay = `[{"expression":"{http.reverse_proxy.is_transport_error} == true"}]`
	)
	for _, tt := range []struct {
		name, match, method, path string
		statuses                  []int
		attempts                  int64
		status                    int
	}{
		{"a response that is listed", page, "GET", "/", []int{503, 200}, 2, 200},
		{"another one", page, "GET", "/", []int{500}, 1, 500},
		{"a good one", page, "PUT", "/idempotent/x", []int{200}, 1, 200},
		{"no response, and the other set", page, "PUT", "/idempotent/x", []int{0, 200}, 2, 200},
		{"no response, and no set", page, "GET", "/", []int{0}, 1, 502},
		{"after a listed response none", page, "GET", "/", []int{503, 0}, 2, 502},
		{"transport error or status: transport error", either, "POST", "/", []int{0, 200}, 2, 200},
		{"transport error or status: status", either, "POST", "/", []int{502, 200}, 2, 200},
		{"transport error or status: neither", either, "POST", "/", []int{500}, 1, 500},
		{"the other way round: transport error", either2, "POST", "/", []int{0, 200}, 2, 200},
		{"the other way round: status", either2, "POST", "/", []int{502, 200}, 2, 200},
		{"the other way round: neither", either2, "GET", "/", []int{500}, 1, 500},
		{"blind to responses", blind, "PUT", "/", []int{200}, 3, 200},
		{"blind to responses, other method", blind, "GET", "/", []int{200}, 1, 200},
		{"transport errors only", onTheWay, "POST", "/", []int{0, 0, 200}, 3, 200},
		{"transport errors only, a response", onTheWay, "POST", "/", []int{503}, 1, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := withMatchers(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"load_balancing":{"retries":2,"retry_match":%s}}`,
				answers(t, tt.statuses...), tt.match)).front(nil)
			n := f.attempts()
			f.do(tt.method, tt.path, "").want(t, tt.status, "*")
			if n.Load() != tt.attempts {
				t.Errorf("%d attempts, want %d", n.Load(), tt.attempts)
			}
			if l := f.logs.FilterLevelExact(zap.ErrorLevel).All(); len(l) > 0 {
				t.Errorf("logged: %v %v", l[0].Message, l[0].ContextMap())
			}
		})
	}
}

// S29: one path is tried again, another one is not.
func TestRetryMatchPathAndStatus(t *testing.T) {
	good, bad := answers(t, 200), answers(t, 502)
	f := withMatchers(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1,"selection_policy":{"policy":"round_robin"},
		"retry_match":[{"expression":"path('/r*') && {http.reverse_proxy.status_code} in [502,503]"}]}}`, good, bad)).front(nil)
	for range 4 {
		f.get("/r/x").want(t, 200, "200")
	}
	if got := f.get("/other").StatusCode + f.get("/other").StatusCode; got != 702 {
		t.Errorf("two requests that are not tried again have statuses of sum %d", got)
	}
}

// LB-5: the method that counts, and the fields that matchers see, are those of the outgoing copy.
func TestRetriesJudgeTheCopy(t *testing.T) {
	for _, tt := range []struct {
		method, config string
		attempts       int64
	}{
		{"POST", `"rewrite":{"method":"GET"},"load_balancing":{"retries":2}`, 3},
		{"GET", `"rewrite":{"method":"POST"},"load_balancing":{"retries":2}`, 1},
		{"POST", `"headers":{"request":{"set":{"X-Op":["1"]}}},"load_balancing":{"retries":2,"retry_match":[{"header":{"X-Op":["1"]}}]}`, 3},
		{"POST", `"rewrite":{"uri":"/b"},"load_balancing":{"retries":2,"retry_match":[{"path":["/b"]}]}`, 3},
		{"POST", `"rewrite":{"uri":"/b"},"load_balancing":{"retries":2,"retry_match":[{"path":["/a"]}]}`, 1},
	} {
		f := withMatchers(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],%s}`, answers(t, 0), tt.config)).front(nil)
		n := f.attempts()
		f.do(tt.method, "/a", "").want(t, 502, "")
		if n.Load() != tt.attempts {
			t.Errorf("%s, %s: %d attempts, want %d", tt.method, tt.config, n.Load(), tt.attempts)
		}
	}
}

// LB-8: a matcher that fails means no, and is reported.
func TestRetryMatcherThatFails(t *testing.T) {
	f := proxy(t, `{"upstreams":[{"dial":%q}],"load_balancing":{"retries":2,"retry_match":[{"method":["error"]}]}}`, answers(t, 0))
	n := f.attempts()
	f.get("/").want(t, 502, "")
	if l := f.logs.FilterMessage("error matching request for retry").FilterLevelExact(zap.ErrorLevel).Len(); l != 1 || n.Load() != 1 {
		t.Errorf("%d lines, %d attempts", l, n.Load())
	}
}

// LIFE-2.3: an address that cannot be meant is final, and nothing against the upstream.
func TestAddressThatCannotBeMeantIsFinal(t *testing.T) {
	w := newWorld(t)
	f := w.build(nil, `{"upstreams":[{"dial":"{http.request.header.X-Dial}"}],"load_balancing":{"retries":3},
		"health_checks":{"passive":{"fail_duration":"1h","max_fails":5}}}`).front(nil)
	n := f.attempts()
	f.get("/", "X-Dial", "10.20.0.1:80-81").want(t, 502, "")
	if l := w.pool.List(); n.Load() != 1 || l[0].Fails != 0 || l[0].NumRequests != 0 {
		t.Errorf("%d attempts, hosts %+v", n.Load(), l)
	}
	n.Store(0)
	f.get("/", "X-Dial", dead(t)).want(t, 502, "")
	if l := w.pool.List(); n.Load() != 4 || l[0].Fails != 4 {
		t.Errorf("refused: %d attempts, hosts %+v", n.Load(), l)
	}
}

// LIFE-3: a response that is tried again is no failure, but its status may be one.
func TestTriedAgainAndUnhealthy(t *testing.T) {
	for statuses, want := range map[string]int64{`[]`: 0, `[5]`: 3} {
		w := withMatchers(t)
		f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"load_balancing":{"retries":2,"retry_match":[{"expression":"{http.reverse_proxy.status_code} == 503"}]},
			"health_checks":{"passive":{"fail_duration":"1h","max_fails":9,"unhealthy_status":%s}}}`, answers(t, 503), statuses)).front(nil)
		f.get("/").want(t, 503, "")
		if got := w.pool.List()[0].Fails; got != want {
			t.Errorf("unhealthy_status %s: %d failures, want %d", statuses, got, want)
		}
	}
}

// LIFE-4: what is known after a request that failed.
func TestPlaceholdersAfterAFailure(t *testing.T) {
	got := map[string]any{}
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"load_balancing":{"retries":2}}`, dead(t))).front(func(f *front) {
		f.after = func(x *handlers.Exchange, _ error) {
			for _, name := range []string{"retries", "duration", "duration_ms", "upstream.hostport", "upstream.duration", "status_code", "is_transport_error"} {
				if v, known := x.Lookup(scopePrefix + name); known {
					got[name] = v
				}
			}
		}
	})
	f.get("/").want(t, 502, "")
	if d, _ := got["duration"].(time.Duration); got["retries"] != 2 || d <= 0 || got["upstream.hostport"] == nil {
		t.Errorf("known: %v", got)
	}
	for _, name := range []string{"upstream.duration", "status_code", "is_transport_error"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is %v", name, v)
		}
	}
}

// reluctant answers one request on each connection and closes it when the next one comes.
func reluctant(t *testing.T) (address string, conns, refused *atomic.Int64) {
	conns, refused = new(atomic.Int64), new(atomic.Int64)
	return raw(t, func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if i > 0 {
				refused.Add(1)
				return
			}
			body, _ := io.ReadAll(req.Body)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}), conns, refused
}

// LB-10 and HT-1 (caddyserver/caddy #6452): a connection that the upstream closes when it is used again costs no client
// anything if its request can be sent again: what has no effect, what names itself idempotent, and what the config says.
func TestReusedConnectionThatCloses(t *testing.T) {
	for _, tt := range []struct {
		name, method, body, more string
		fields                   []string
		status                   int
	}{
		{"GET", "GET", "", "", nil, 200},
		{"HEAD", "HEAD", "", "", nil, 200},
		{"POST", "POST", "", "", nil, 502},
		{"POST that names itself idempotent", "POST", "", "", []string{"Idempotency-Key", "1"}, 200},
		{"POST with a body", "POST", "body", "", nil, 502},
		{"POST with a body, by the config", "POST", "body", `,"request_buffers":100,"load_balancing":{"retries":1,"retry_match":[{"method":["POST"]}]}`, nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up, conns, refused := reluctant(t)
			w := newWorld(t)
			f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]%s}`, up, tt.more)).front(nil)
			f.get("/").want(t, 200, "")
			body := tt.body
			if tt.status != 200 || tt.method == "HEAD" {
				body = ""
			}
			f.do(tt.method, "/", tt.body, tt.fields...).want(t, tt.status, body)
			if refused.Load() != 1 || (tt.status == 200) != (conns.Load() == 2) {
				t.Errorf("%d connections, %d requests refused", conns.Load(), refused.Load())
			}
		})
	}
}

// caddyserver/caddy #6267: which failures retry_match can tell apart: TLS, timeouts and statuses, each for its own requests.
func TestFinerRetryConditions(t *testing.T) {
	plain := answers(t, 200)
	silent := raw(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	secure, _ := secureBackend(t, trusttest.New(t).Issue("a"))
	for _, tt := range []struct {
		name, first, match string
		status             int
	}{
		{"TLS handshake, opted in", plain, `{"expression":"{http.reverse_proxy.is_transport_error} == true"}`, 200},
		{"TLS handshake, by another method", plain, `{"expression":"{http.reverse_proxy.is_transport_error} == true && method('GET')"}`, 502},
		{"TLS handshake, statuses only", plain, `{"expression":"{http.reverse_proxy.status_code} in [502,504]"}`, 502},
		{"timeout, opted in", silent, `{"expression":"{http.reverse_proxy.is_transport_error} == true && path('/x')"}`, 200},
		{"timeout, not opted in", silent, `{"path":["/y"]}`, 504},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := withMatchers(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1,"retry_match":[%s]},
				"transport":{"protocol":"http","tls":{"insecure_skip_verify":true,"handshake_timeout":"50ms"}}}`, tt.first, secure, tt.match)).front(nil)
			n := f.attempts()
			f.do("POST", "/x", "").want(t, tt.status, "*")
			if want := int64(1 + tt.status/200%2); tt.status == 200 && n.Load() != 2 || tt.status != 200 && n.Load() != 1 {
				t.Errorf("%d attempts, want %d", n.Load(), want)
			}
		})
	}
}

// caddyserver/caddy #6259: a body that was read by one attempt is sent again if it was buffered, and the error says what to
// do if it was not.
func TestRetriedUploads(t *testing.T) {
	var n atomic.Int64
	for buffers, want := range map[int]int{0: 502, 100: 200} {
		f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"request_buffers":%s,"load_balancing":{"retries":1,"retry_match":[{"method":["POST"]}]}}`,
			closer(t, &n, 4), echo(t), strconv.Itoa(buffers))
		f.attempts()
		res := f.do("POST", "/", "body")
		res.want(t, want, "*")
		if text := res.Header.Get("X-Error"); want != 200 && !strings.Contains(text, errBodyGone.Error()) {
			t.Errorf("the error is %q", text)
		}
	}
	if !strings.Contains(errBodyGone.Error(), "cannot be sent again") || errors.Is(errBodyGone, io.EOF) {
		t.Error("the error does not say what is wrong")
	}
}

// caddyserver/caddy #5838: while all upstreams are full, requests wait their turn and none gets more than the limit.
func TestRequestsWaitForAFullUpstream(t *testing.T) {
	const clients = 20
	var running, most atomic.Int64
	up := backend(t, func(_ http.ResponseWriter, _ *http.Request) {
		now := running.Add(1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		<-time.After(time.Millisecond)
		running.Add(-1)
	})
	f := proxy(t, `{"upstreams":[{"dial":%q,"max_requests":1}],"load_balancing":{"try_duration":"20s","try_interval":"1ms"}}`, up)
	results := make(chan result, clients)
	for range clients {
		go func() { results <- f.do("POST", "/", "x") }()
	}
	for range clients {
		(<-results).want(t, 200, "")
	}
	if most.Load() != 1 {
		t.Errorf("%d requests ran at once", most.Load())
	}
}
