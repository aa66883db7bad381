package reverseproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/upstream"
)

// closer accepts, counts, reads the head and the given number of bytes, and closes without an answer.
func closer(t *testing.T, n *atomic.Int64, bodyBytes int) string {
	return raw(t, func(_ net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			io.CopyN(io.Discard, r, int64(bodyBytes))
			n.Add(1)
		}
	})
}

func echo(t *testing.T) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "echo %s %v", body, err)
	})
}

// S2, S3.
func TestDialFailuresAreRetriedForEveryMethod(t *testing.T) {
	good := echo(t)
	proxy(t, `{"upstreams":[{"dial":%q}]}`, dead(t)).do("POST", "/", "x").want(t, 502, "")
	f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"selection_policy":{"policy":"round_robin"},"retries":1}}`, good, dead(t))
	for range 4 {
		f.do("POST", "/", "x").want(t, 200, "echo x <nil>")
	}
}

// S4, S5.
func TestWhatIsRetriedAfterABrokenRoundTrip(t *testing.T) {
	tests := []struct {
		balancing, method string
		refused           bool
		attempts          int64
	}{
		{`"retries":2`, "GET", false, 3},
		{`"retries":2`, "HEAD", false, 1},
		{`"retries":2`, "POST", false, 1},
		{`"retries":2`, "OPTIONS", false, 1},
		{`"retries":3,"retry_match":[{"method":["POST"]}]`, "GET", false, 1},
		{`"retries":3,"retry_match":[{"method":["POST"]}]`, "POST", false, 4},
		{`"retries":3,"retry_match":[{"method":["PUT"]},{"path":["/x*"],"method":["POST"]}]`, "POST", false, 4},
		{`"retries":3,"retry_match":[{"path":["/y*"],"method":["POST"]}]`, "POST", false, 1},
		{`"retries":3,"retry_match":[{"method":["error"]},{"method":["POST"]}]`, "POST", false, 1},
		{`"retries":3,"retry_match":[{"expression":["http.reverse_proxy.is_transport_error=true"]}]`, "POST", false, 4},
		{`"retries":3,"retry_match":[{"method":["POST"]}]`, "GET", true, 4},
		{`"try_duration":0`, "GET", true, 1},
	}
	for i, tt := range tests {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			var closed, asked atomic.Int64
			addr := closer(t, &closed, 0)
			if tt.refused {
				addr = dead(t)
			}
			f := proxy(t, `{"upstreams":[{"dial":%q}],"load_balancing":{%s}}`, addr, tt.balancing)
			policy := f.handler.Load().policy
			f.handler.Load().policy = policyFunc(func(c *selection.Choice) int { asked.Add(1); return policy.Select(c) })
			f.do(tt.method, "/x/1", "").want(t, 502, "")
			if asked.Load() != tt.attempts || (!tt.refused && closed.Load() != tt.attempts) {
				t.Errorf("%d attempts, %d seen, want %d", asked.Load(), closed.Load(), tt.attempts)
			}
		})
	}
}

func TestBodyAcrossAttempts(t *testing.T) {
	tests := []struct {
		buffers    int
		firstDials bool
		want       string
		status     int
	}{
		{0, true, "", 502},
		{5, true, "", 502},
		{10, true, "", 502},
		{11, true, "echo 0123456789 <nil>", 200},
		{100, true, "echo 0123456789 <nil>", 200},
		{-1, true, "echo 0123456789 <nil>", 200},
		{0, false, "echo 0123456789 <nil>", 200},
		{5, false, "echo 0123456789 <nil>", 200},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.buffers, tt.firstDials), func(t *testing.T) {
			var closed atomic.Int64
			firstUp := dead(t)
			if tt.firstDials {
				firstUp = closer(t, &closed, 10)
			}
			f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"request_buffers":%d,
				"load_balancing":{"retries":1,"retry_match":[{"method":["POST"]}]}}`, firstUp, echo(t), tt.buffers)
			f.handler.Load().policy = inTurn(new(atomic.Int64))
			f.do("POST", "/", "0123456789").want(t, tt.status, tt.want)
		})
	}
}

func TestBufferedUploadThatBreaksFails(t *testing.T) {
	var seen atomic.Int64
	up := backend(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	for _, limit := range []string{"-1", "100"} {
		ended := make(chan int, 1)
		f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"request_buffers":%s}`, up, limit)).front(func(f *front) {
			f.after = func(x *handlers.Exchange, err error) {
				if err != nil {
					ended <- handlers.StatusOf(err)
				} else {
					ended <- x.Response.Status()
				}
			}
		})
		c, _ := f.dial("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhalf")
		c.(*net.TCPConn).CloseWrite()
		if status := <-ended; status != 502 && status != 499 {
			t.Errorf("ended with %d", status)
		}
	}
	if seen.Load() != 0 {
		t.Error("the upstream got a shortened upload")
	}
}

// S31: the body is left for an error route when nothing was sent.
func TestBodySurvivesForErrorRoutes(t *testing.T) {
	w := newWorld(t)
	second := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, echo(t)))
	firstHandler := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, dead(t)))
	f := firstHandler.front(nil)
	f.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		x := &handlers.Exchange{Server: f, Response: handlers.NewResponseWriter(rw), Globals: vars.Map{}}
		r = x.Begin(r, nil)
		if err := firstHandler.ServeHTTP(x.Response, r, handlers.Next{}); err == nil {
			t.Error("no error")
		}
		if err := second.ServeHTTP(x.Response, r, handlers.Next{}); err != nil {
			t.Error(err)
		}
	})
	f.do("POST", "/", "payload").want(t, 200, "echo payload <nil>")
}

// S13, S14, S29 and LB-13.
func TestResponsesThatAreTriedAgain(t *testing.T) {
	statuses := func(t *testing.T, n *atomic.Int64, list ...int) string {
		return backend(t, func(w http.ResponseWriter, _ *http.Request) {
			i := int(n.Add(1) - 1)
			if i == 0 {
				w.Header().Set("X-Again", "1")
			}
			w.WriteHeader(list[i%len(list)])
			io.WriteString(w, "page "+strconv.Itoa(i))
		})
	}
	const match = `"retry_match":[{"expression":["http.reverse_proxy.status_code=503","http.reverse_proxy.header.X-Again=1"],"path":["/r*"]},{"method":["PUT"]}]`
	tests := []struct {
		name, method, path, balancing string
		statuses                      []int
		attempts                      int64
		status                        int
		body                          string
	}{
		{"wanted on the second attempt", "GET", "/r", `"retries":2,` + match, []int{503, 200}, 2, 200, "page 1"},
		{"by header, which does not stay", "GET", "/r", `"retries":5,` + match, []int{200, 200}, 2, 200, "page 1"},
		{"budget exhausted", "GET", "/r", `"retries":1,` + match, []int{503, 503}, 2, 503, ""},
		{"other path", "GET", "/other", `"retries":1,` + match, []int{503}, 1, 503, "page 0"},
		{"sets without expression do not judge responses", "PUT", "/x", `"retries":1,` + match, []int{503}, 1, 503, "page 0"},
		{"no budget at all", "GET", "/r", match, []int{503}, 1, 503, "page 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int64
			w := newWorld(t)
			f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"load_balancing":{%s}}`, statuses(t, &n, tt.statuses...), tt.balancing)).front(nil)
			f.do(tt.method, tt.path, "").want(t, tt.status, tt.body)
			if n.Load() != tt.attempts {
				t.Errorf("%d attempts, want %d", n.Load(), tt.attempts)
			}
			if l := w.pool.List(); l[0].Fails != 0 || l[0].NumRequests != 0 {
				t.Errorf("counted %+v", l)
			}
		})
	}
}

// quirk 4: what a transport error is judged by must not be the response before it.
func TestStaleResponseIsNotSeenAfterATransportError(t *testing.T) {
	var n atomic.Int64
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil && n.Add(1) == 1 {
			io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
	})
	f := proxy(t, `{"upstreams":[{"dial":%q}],"load_balancing":{"retries":5,"retry_match":[{"expression":["http.reverse_proxy.status_code=503"]}]}}`, up)
	f.get("/").want(t, 502, "")
	if n.Load() != 2 {
		t.Errorf("%d attempts, want 2", n.Load())
	}
}

// timed serves one request by a handler inside a bubble, where time is virtual and the network is net.Pipe.
func timed(t *testing.T, config string, dial upstream.DialFunc, ctx context.Context) (status int, took time.Duration, selections int64) {
	t.Helper()
	w := newWorld(t)
	*w.transports = *upstream.NewTransports(upstream.TransportsConfig{Dial: dial}) //nolint:govet // not in use yet
	h := w.build(nil, config).Handler
	var n atomic.Int64
	policy := h.policy
	h.policy = policyFunc(func(c *selection.Choice) int { n.Add(1); return policy.Select(c) })
	rec := httptest.NewRecorder()
	x := &handlers.Exchange{Server: &front{logger: zap.NewNop()}, Response: handlers.NewResponseWriter(rec), Globals: vars.Map{}}
	r := x.Begin(httptest.NewRequestWithContext(ctx, "GET", "/", nil), nil)
	start := time.Now()
	err := h.ServeHTTP(x.Response, r, handlers.Next{})
	status = x.Response.Status()
	if err != nil {
		status = handlers.StatusOf(err)
	}
	return status, time.Since(start), n.Load()
}

// S6, S7 and LB-3.
func TestRetryTimes(t *testing.T) {
	refuse := func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}
	}
	tests := []struct {
		name, config string
		status       int
		took         time.Duration
		selections   int64
	}{
		{"nothing available", `{"load_balancing":{"try_duration":"600ms"}}`, 503, 750 * time.Millisecond, 4},
		{"both limits", `{"upstreams":[{"dial":"10.20.0.1:80"}],"load_balancing":{"try_duration":"1s","retries":2,"try_interval":"100ms"}}`, 502, 200 * time.Millisecond, 3},
		{"default interval", `{"upstreams":[{"dial":"10.20.0.1:80"}],"load_balancing":{"try_duration":"1s"}}`, 502, time.Second, 5},
		{"no interval", `{"upstreams":[{"dial":"10.20.0.1:80"}],"load_balancing":{"retries":3}}`, 502, 0, 4},
		{"interval without duration", `{"load_balancing":{"retries":2,"try_interval":"1s"}}`, 503, 2 * time.Second, 3},
		{"no retry", `{"load_balancing":{"try_interval":"1s"}}`, 503, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status, took, n := timed(t, tt.config, refuse, t.Context())
				if status != tt.status || took != tt.took || n != tt.selections {
					t.Errorf("status %d after %v and %d selections, want %d, %v, %d", status, took, n, tt.status, tt.took, tt.selections)
				}
			})
		})
	}
}

func TestPauseEndsWhenTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		status, took, _ := timed(t, `{"load_balancing":{"try_duration":"1h","try_interval":"10m"}}`, nil, ctx)
		if status != 499 || took != 100*time.Millisecond {
			t.Errorf("status %d after %v", status, took)
		}
	})
}

func TestDialTimeoutIsABadGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, d.Timeout)
			defer cancel()
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		}
		status, took, _ := timed(t, `{"upstreams":[{"dial":"10.20.0.1:80"}]}`, slow, t.Context())
		if status != 502 || took != 3*time.Second {
			t.Errorf("status %d after %v", status, took)
		}
	})
}

func TestSourceOfOneAttemptIsClosedToAnother(t *testing.T) {
	s := &source{body: io.NopCloser(strings.NewReader("0123456789"))}
	a := s.attempt()
	a.Close()
	if _, err := a.Read(make([]byte, 1)); err == nil {
		t.Error("an attempt that ended could read")
	}
	b := s.attempt()
	if n, err := b.Read(make([]byte, 4)); n != 4 || err != nil {
		t.Errorf("the second attempt: %d, %v", n, err)
	}
	c := s.attempt()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a third attempt got a part of the body")
	}
	c.Close()
	if n, err := b.Read(make([]byte, 4)); n != 4 || err != nil {
		t.Errorf("closing another attempt's body closed this one: %d, %v", n, err)
	}
}
