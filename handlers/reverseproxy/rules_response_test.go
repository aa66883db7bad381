package reverseproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sluiceproxy/sluice/handlers"
)

// RESP-2: the number of informational responses is not limited.
func TestManyInformationalResponses(t *testing.T) {
	const n = 100
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", n)+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	if text := f.rawGet(""); strings.Count(text, "HTTP/1.1 103 ") != n || !strings.HasSuffix(text, "\r\n\r\nok") {
		t.Errorf("%d hints, and %q", strings.Count(text, "HTTP/1.1 103 "), text[max(0, len(text)-200):])
	}
}

// RESP-14 and RESP-15: what the server adds to a response, and what it leaves to the upstream.
func TestFieldsOfTheServer(t *testing.T) {
	for _, tt := range []struct{ head, server, kind, date string }{
		{"", "", "text/plain; charset=utf-8", "*"},
		{"Server: up\r\nContent-Type: text/x\r\nDate: then\r\n", "up", "text/x", "then"},
	} {
		res := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"+tt.head+"\r\nok")).get("/")
		date := res.Header.Get("Date")
		if res.Header.Get("Server") != tt.server || res.Header.Get("Content-Type") != tt.kind || date != tt.date && (tt.date != "*" || date == "") {
			t.Errorf("%q: %v", tt.head, res.Header)
		}
	}
}

// overH2C is a client and a front that speak HTTP/2 with each other.
func (g *generation) overH2C(adjust func(*front)) (*front, *http.Client) {
	both, only2 := new(http.Protocols), new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	only2.SetUnencryptedHTTP2(true)
	f := g.front(func(f *front) {
		f.Config.Protocols = both
		if adjust != nil {
			adjust(f)
		}
	})
	transport := &http.Transport{Protocols: only2, DisableCompression: true}
	g.w.t.Cleanup(transport.CloseIdleConnections)
	return f, &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// RESP-17: what breaks off after the header resets the stream and nothing else, and is no failure to judge by.
func TestIncompleteResponseOverHTTP2(t *testing.T) {
	seen := make(chan bool)
	var conns atomic.Int64
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil && conns.Add(1) == 1 {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
			<-seen
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	known := make(chan bool, 2)
	w := newWorld(t)
	f, client := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"flush_interval":-1,"load_balancing":{"retries":3},
		"health_checks":{"passive":{"fail_duration":"1h","max_fails":5}}}`, up)).overH2C(func(f *front) {
		f.after = func(x *handlers.Exchange, _ error) {
			_, ok := x.Lookup(scopePrefix + "upstream.duration")
			known <- ok
		}
	})
	res, err := client.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	expect(t, res.Body, "12345")
	close(seen)
	if rest, err := io.ReadAll(res.Body); err == nil || !strings.Contains(err.Error(), "stream") {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	if <-known {
		t.Error("the duration of a response that broke off is known")
	}
	again, err := client.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	expect(t, again.Body, "ok")
	if l := w.pool.List(); conns.Load() != 2 || l[0].Fails != 0 {
		t.Errorf("%d requests, hosts %+v", conns.Load(), l)
	}
}

// RESP-16: a response with trailers is flushed, so that they have a place, even if it has a length.
func TestTrailersAfterABodyOfKnownLength(t *testing.T) {
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	w := newWorld(t)
	up := w.build(nil, `{}`).front(func(f *front) {
		f.Config.Protocols = both
		f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "ok")
			w.Header().Set("X-Sum", "42")
		})
	})
	f, client := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c"]}}`, up.Listener.Addr().String())).overH2C(nil)
	res, err := client.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); string(text) != "ok" || err != nil || res.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q, %v, trailers %v", text, err, res.Trailer)
	}
}

// UP-5: a request that is cancelled takes its tunnel along.
func TestCancelledRequestEndsItsTunnel(t *testing.T) {
	up, _, ended := upgrader(t, switching+"\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up)).front(func(f *front) {
		f.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	})
	c, r, _ := f.upgraded("")
	io.WriteString(c, "x")
	expect(t, r, "x")
	cancel()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		c.Close()
		t.Fatal("the tunnel goes on")
	}
	if text, err := io.ReadAll(r); len(text) != 0 || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// UP-8: traffic does not put off the end of a tunnel's time, and the end is logged.
func TestStreamTimeoutDespiteTraffic(t *testing.T) {
	up, _, ended := upgrader(t, switching+"\r\n")
	f := proxy(t, `{"upstreams":[{"dial":%q}],"stream_timeout":"100ms"}`, up)
	c, r, _ := f.upgraded("")
	go func() {
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			<-time.After(time.Millisecond)
		}
	}()
	text, _ := io.ReadAll(r)
	if len(text) == 0 || strings.Trim(string(text), "x") != "" {
		t.Errorf("the tunnel gave %q", text)
	}
	<-ended
	if n := f.logs.FilterMessage("stream timed out").Len(); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// LOG-1: the lines of a request and their fields.
func TestLogLines(t *testing.T) {
	type want struct {
		message string
		level   zapcore.Level
		fields  string
	}
	check := func(t *testing.T, f *front, list ...want) {
		t.Helper()
		for _, l := range list {
			eventually(t, l.message, func() bool { return f.logs.FilterMessage(l.message).Len() > 0 })
			e := f.logs.FilterMessage(l.message).All()[0]
			var names []string
			for _, field := range e.Context {
				names = append(names, field.Key)
			}
			if got := strings.Join(names, " "); got != l.fields || e.Level != l.level {
				t.Errorf("%s: %s, fields %q, want %s, %q", l.message, e.Level, got, l.level, l.fields)
			}
		}
	}
	const debug, warn = zap.DebugLevel, zap.WarnLevel
	good := proxy(t, `{"upstreams":[{"dial":%q}],"handle_response":[{"match":{"status_code":[500]},"status_code":"202"},{"status_code":"201"}]}`, answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	good.get("/").want(t, 201, "ok")
	check(t, good, want{"selected upstream", debug, "dial total_upstreams"},
		want{"upstream roundtrip", debug, "upstream duration request headers status"}, want{"handling response", debug, "handler status routes"})
	if n := good.logs.FilterMessage("handling response").All()[0].ContextMap()["handler"]; n != int64(1) {
		t.Errorf("the entry has the number %v", n)
	}
	refused := proxy(t, `{"upstreams":[{"dial":%q}]}`, dead(t))
	refused.get("/")
	check(t, refused, want{"upstream roundtrip", debug, "upstream duration request error"})
	cut := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"))
	cut.rawGet("")
	check(t, cut, want{"aborting with incomplete response", warn, "upstream error"})
	up, _, _ := upgrader(t, switching+"\r\n")
	tunnel := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
	c, _, _ := tunnel.upgraded("")
	c.Close()
	check(t, tunnel, want{"upgrading connection", debug, "protocol"}, want{"connection closed", debug, ""})
	w := newWorld(t)
	w.resolve(&addresses{list: []string{"127.0.0.1"}})
	found := w.build(nil, `{"dynamic_upstreams":{"source":"a","name":"app","port":"1"}}`).front(nil)
	found.get("/")
	check(t, found, want{"provisioned dynamic upstreams", debug, "count"})
}

// LOG-3: credentials are in the log only if the server says so.
func TestLoggedCredentials(t *testing.T) {
	h := http.Header{"Authorization": {"s3cret"}, "Cookie": {"s3cret"}, "Set-Cookie": {"s3cret"}, "Proxy-Authorization": {"s3cret"}, "X-Open": {"a", "b"}}
	for _, shown := range []bool{false, true} {
		e := zapcore.NewMapObjectEncoder()
		if err := (loggedHeader{h, shown}).MarshalLogObject(e); err != nil {
			t.Fatal(err)
		}
		for name := range h {
			want := "[s3cret]"
			if name == "X-Open" {
				want = "[a b]"
			} else if !shown {
				want = "[REDACTED]"
			}
			if got := fmt.Sprint(e.Fields[name]); got != want {
				t.Errorf("shown %v: %s is %s, want %s", shown, name, got, want)
			}
		}
	}
}

// FLUSH-5: a body of many parts arrives as it was sent, through each way of flushing.
func TestBodiesOfManyParts(t *testing.T) {
	parts := []string{strings.Repeat("a", copySize), "b", strings.Repeat("c", copySize-1), strings.Repeat("d", copySize+1), ""}
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, p := range parts {
			io.WriteString(w, p)
			w.(http.Flusher).Flush()
		}
	})
	for _, interval := range []string{"0", "-1", `"1ms"`} {
		proxy(t, `{"upstreams":[{"dial":%q}],"flush_interval":%s}`, up, interval).get("/").want(t, 200, strings.Join(parts, ""))
	}
}

// DYN-5: what a source gives is not changed by requests.
func TestSourcesListsAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.resolve(&addresses{list: []string{"127.0.0.1", "127.0.0.2"}})
	g := w.build(nil, `{"dynamic_upstreams":{"source":"a","name":"app","port":"1"},"load_balancing":{"retries":3,"selection_policy":{"policy":"first"}}}`)
	f := g.front(nil)
	f.get("/")
	first := g.dynamic.source.Known()
	dials := slices.Clone(first.Dials)
	for range 10 {
		f.get("/")
	}
	if again := g.dynamic.source.Known(); again != first || !slices.Equal(again.Dials, dials) {
		t.Errorf("%v became %v", dials, again.Dials)
	}
	w.close(g)
}
