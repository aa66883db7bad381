package reverseproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// versions runs a test for each pair of versions of HTTP: the client's, and the upstream's. up serves the upstream; more is
// added to the handler's config and settings to its transport's.
func versions(t *testing.T, up http.HandlerFunc, more, settings string, test func(t *testing.T, f *front, client *http.Client)) {
	for _, tt := range []struct {
		name         string
		h2           bool
		onH2, onQUIC bool
	}{
		{"1 to 1", false, false, false}, {"1 to 2", false, true, false}, {"1 to 3", false, false, true},
		{"2 to 1", true, false, false}, {"2 to 2", true, true, false}, {"2 to 3", true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, spoken, transport := "", `"1.1"`, settings
			if tt.onQUIC {
				address, spoken, transport = backend3(t, up).addr, `"3"`, settings+`,"tls":{"insecure_skip_verify":true}`
			} else {
				s := httptest.NewUnstartedServer(up)
				s.Config.Protocols = protocols(!tt.onH2, tt.onH2)
				s.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
				s.Start()
				t.Cleanup(s.Close)
				address = s.Listener.Addr().String()
			}
			if tt.onH2 {
				spoken = `"h2c"`
			}
			f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]%s,"transport":{"protocol":"http","versions":[%s]%s}}`,
				address, more, spoken, transport)).frontH2C()
			rt := &http.Transport{Protocols: protocols(!tt.h2, tt.h2), DisableCompression: true, ExpectContinueTimeout: time.Hour}
			t.Cleanup(rt.CloseIdleConnections)
			test(t, f, &http.Client{Transport: rt, Timeout: 20 * time.Second})
		})
	}
}

// RESP-1: several informational responses, each with its own fields, between all versions.
func TestInformationalResponsesBetweenVersions(t *testing.T) {
	up := func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			w.Header().Set("Link", fmt.Sprintf("</%d>", i))
			w.WriteHeader(103)
		}
		w.Header().Del("Link")
		w.WriteHeader(102)
		w.Header().Set("X-Last", "1")
		io.WriteString(w, "ok")
	}
	versions(t, up, "", "", func(t *testing.T, f *front, client *http.Client) {
		var got []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(code, h["Link"], h["X-Last"]))
			return nil
		}}
		r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", f.URL, nil)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if string(text) != "ok" || err != nil || res.Header["Link"] != nil || res.Header.Get("X-Last") != "1" {
			t.Errorf("%v %q %v", res.Header, text, err)
		}
		if want := []string{"103 [</0>] []", "103 [</1>] []", "103 [</2>] []", "102 [] []"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// asked is a body that notes whether anybody wants it.
type asked struct {
	io.Reader
	read atomic.Bool
}

func (a *asked) Read(p []byte) (int, error) {
	a.read.Store(true)
	return a.Reader.Read(p)
}

// REQ-14: with a time to wait it is the upstream that decides whether the client is asked for the body. Of a client of
// HTTP/2 net/http keeps the Expect to itself, so that it is asked as soon as the body is sent on.
func TestExpectContinueBetweenVersions(t *testing.T) {
	up := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(401)
			io.WriteString(w, "who are you?")
			return
		}
		if r.ProtoMajor == 3 && r.Header["Expect"] != nil { // quic-go leaves it to the handler
			w.WriteHeader(http.StatusContinue)
		}
		text, err := io.ReadAll(r.Body)
		fmt.Fprint(w, string(text), err)
	}
	versions(t, up, "", `,"expect_continue_timeout":"1h"`, func(t *testing.T, f *front, client *http.Client) {
		post := func(path string) (status int, text string, wanted bool) {
			body := &asked{Reader: strings.NewReader("body")}
			r, _ := http.NewRequestWithContext(t.Context(), "POST", f.URL+path, io.NopCloser(body))
			r.ContentLength = 4
			r.Header.Set("Expect", "100-continue")
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			all, _ := io.ReadAll(res.Body)
			return res.StatusCode, string(all), body.read.Load()
		}
		for range 2 {
			if status, text, wanted := post("/refused"); status != 401 || text != "who are you?" || wanted && !strings.HasPrefix(t.Name(), "TestExpectContinueBetweenVersions/2") {
				t.Errorf("refused: %d %q, and the client was asked for the body: %v", status, text, wanted)
			}
			if status, text, wanted := post("/taken"); status != 200 || text != "body<nil>" || !wanted {
				t.Errorf("taken: %d %q, and the client was asked for the body: %v", status, text, wanted)
			}
		}
	})
}

// What an HTTP/1.1 client sees on the wire of a refusal: no 100, and a connection that is not used again, for a body may
// follow or not. So it is with upstreams that would like to have the body to keep their connection, and with those that close.
func TestExpectContinueRefusedOnTheWire(t *testing.T) {
	for _, status := range []string{"401 Unauthorized", "417 Expectation Failed", "200 OK"} {
		for _, framing := range []string{"Content-Length: 2\r\n\r\nno", "Content-Length: 0\r\n\r\n", "Connection: close\r\n\r\nno", "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"} {
			sent := make(chan string, 1)
			up := raw(t, func(c net.Conn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, "HTTP/1.1 "+status+"\r\n"+framing)
				if !strings.Contains(framing, "close") {
					rest, _ := io.ReadAll(r)
					sent <- string(rest)
				}
			})
			f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","expect_continue_timeout":"1h"}}`, up)
			c, r := f.dial("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
			if line, err := r.Peek(len("HTTP/1.1 200")); err != nil || string(line) != "HTTP/1.1 "+status[:3] {
				t.Errorf("%s with %q: %q, %v", status, framing, line, err)
				continue
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			if want := framing[strings.Index(framing, "\r\n\r\n")+4:]; strings.Contains(want, "no") != (string(text) == "no") || err != nil || !res.Close {
				t.Errorf("%s with %q: %q, %v, closes %v", status, framing, text, err, res.Close)
			}
			c.Close()
			if !strings.Contains(framing, "close") {
				if rest := <-sent; rest != "" {
					t.Errorf("%s with %q: the upstream got %q", status, framing, rest)
				}
			}
		}
	}
}

// REQ-14: an upstream that says nothing gets the body when the time is up.
func TestExpectContinueOfASilentUpstream(t *testing.T) {
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		body := make([]byte, 4)
		io.ReadFull(r, body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%s", body)
	})
	f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","expect_continue_timeout":"20ms"}}`, up)
	c, r := f.dial("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if head, err := readHead(r); err != nil || head[0] != "HTTP/1.1 100 Continue" {
		t.Fatalf("%q, %v", head, err)
	}
	io.WriteString(c, "body")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(text) != "body" {
		t.Errorf("%d %q", res.StatusCode, text)
	}
}

// REQ-19, quirk 16, RESP-16: trailers both ways between all versions.
func TestTrailersBetweenVersions(t *testing.T) {
	up := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("announced") {
			w.Header().Set("Trailer", "X-Seen")
		}
		io.Copy(w, r.Body)
		if r.URL.Query().Has("late") {
			w.(http.Flusher).Flush() // else net/http gives a length, which leaves no room for trailers
		}
		seen := fmt.Sprintf("%q %q", r.Trailer["X-Sum"], r.Trailer["X-Two"])
		if r.URL.Query().Has("announced") {
			w.Header().Set("X-Seen", seen)
		}
		if r.URL.Query().Has("late") {
			w.Header().Set(http.TrailerPrefix+"X-Late", seen)
			w.Header().Add(http.TrailerPrefix+"X-Late", "again")
		}
	}
	versions(t, up, "", "", func(t *testing.T, f *front, client *http.Client) {
		for _, query := range []string{"", "announced", "late", "announced&late"} {
			body, feed := io.Pipe()
			r, _ := http.NewRequestWithContext(t.Context(), "POST", f.URL+"/?"+query, body)
			r.Trailer = http.Header{"X-Sum": nil, "X-Two": nil}
			go func() {
				io.WriteString(feed, "body")
				r.Trailer["X-Sum"], r.Trailer["X-Two"] = []string{"42"}, []string{"a", "b"} // known after the body only
				feed.Close()
			}()
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			const seen = `["42"] ["a" "b"]`
			want := http.Header{}
			if strings.Contains(query, "announced") {
				want["X-Seen"] = []string{seen}
			}
			if strings.Contains(query, "late") {
				want["X-Late"] = []string{seen, "again"}
			}
			if string(text) != "body" || err != nil || fmt.Sprint(res.Trailer) != fmt.Sprint(want) && len(res.Trailer)+len(want) > 0 {
				t.Errorf("?%s: %q, %v, trailers %v, want %v", query, text, err, res.Trailer, want)
			}
		}
	})
}

// A client of HTTP/1.0 knows neither chunks nor trailers nor informational responses. The end of the connection is the end.
func TestClientsOfHTTP10(t *testing.T) {
	const length = 100_000
	up := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		if r.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		w.Header().Set("Trailer", "X-Late")
		w.(http.Flusher).Flush()
		io.CopyN(w, &pattern{}, length)
		w.Header().Set("X-Late", "1")
	}
	want, _ := io.ReadAll(io.LimitReader(&pattern{}, length))
	versions(t, up, "", "", func(t *testing.T, f *front, _ *http.Client) {
		for _, request := range []string{
			"GET / HTTP/1.0\r\n\r\n", "GET /events HTTP/1.0\r\nHost: a\r\n\r\n", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok",
			"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		} {
			_, r := f.dial(request)
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			head, body, _ := strings.Cut(string(text), "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n") || strings.Contains(head, "Transfer-Encoding") || body != string(want) {
				t.Errorf("%q: %q and %d bytes", request, head, len(body))
			}
		}
	})
}

// S11 and FLUSH-6 wherever a request may be when its client leaves: the upstream learns it at once, and nobody is blamed.
func TestClientLeavesBetweenVersions(t *testing.T) {
	begun, ended := make(chan bool, 10), make(chan error, 10)
	up := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/part":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "01234")
			w.(http.Flusher).Flush()
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: x\n\n")
			w.(http.Flusher).Flush()
		case "/upload":
			io.ReadFull(r.Body, make([]byte, 5))
			begun <- true
			_, err := io.ReadAll(r.Body)
			ended <- err
			return
		}
		begun <- true
		<-r.Context().Done()
		ended <- r.Context().Err()
	}
	versions(t, up, `,"flush_interval":-1,"health_checks":{"passive":{"fail_duration":"1m"}}`, "", func(t *testing.T, f *front, client *http.Client) {
		for _, path := range []string{"/waiting", "/part", "/events", "/upload"} {
			ctx, cancel := context.WithCancel(t.Context())
			var body io.Reader
			var feed *io.PipeWriter
			if path == "/upload" {
				body, feed = io.Pipe()
				go io.WriteString(feed, "01234")
			}
			r, _ := http.NewRequestWithContext(ctx, "POST", f.URL+path, body)
			done := make(chan error, 1)
			go func() {
				res, err := client.Do(r)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				done <- err
			}()
			<-begun
			cancel()
			if feed != nil {
				feed.CloseWithError(errors.New("the client has gone"))
			}
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s: the upstream took it for complete", path)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s: the upstream was not told", path)
			}
			if err := <-done; err == nil {
				t.Errorf("%s: the client got a complete answer", path)
			}
		}
		h := f.handler.Load()
		eventually(t, "nothing is left, and nothing counted", func() bool {
			l := h.hosts.List()
			return len(l) == 1 && l[0].NumRequests == 0 && l[0].Fails == 0
		})
	})
}

// BUF-6 between versions: the trailers, the length and a stream's beginning survive a buffer of any size.
func TestResponseBuffersBetweenVersions(t *testing.T) {
	up := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", "10")
		}
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "0123456789")
		w.Header().Set("X-Sum", "42")
	}
	for _, n := range []string{"1", "10", "11", "-1"} {
		versions(t, up, `,"response_buffers":`+n, "", func(t *testing.T, f *front, client *http.Client) {
			for _, path := range []string{"/known", "/unknown"} {
				res, err := client.Get(f.URL + path)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if string(text) != "0123456789" || err != nil || path == "/unknown" && res.Trailer.Get("X-Sum") != "42" {
					t.Errorf("buffer %s, %s: %q, %v, %v", n, path, text, err, res.Trailer)
				}
			}
		})
	}
}

// REQ-5: a field that the upstream's Connection names stays behind, also where the connection ends.
func TestConnectionNamesFieldsAndCloses(t *testing.T) {
	for _, connection := range []string{
		"Connection: X-Foo, close", "Connection: close, X-Foo", "connection: CLOSE , x-foo ,keep-alive", "Connection: close\r\nConnection: X-Foo",
		"Connection: X-Foo\r\nConnection: close", "Connection: X-Foo",
	} {
		for _, body := range []string{"Content-Length: 2\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "\r\nok"} {
			var conns atomic.Int64
			up := raw(t, func(c net.Conn, r *bufio.Reader) {
				conns.Add(1)
				if _, err := readHead(r); err == nil {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Foo: 1\r\nX-Bar: 1\r\n"+connection+"\r\n"+body)
				}
			})
			f := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
			for i := range 3 {
				res := f.get("/")
				res.want(t, 200, "ok")
				if res.Header["X-Foo"] != nil || res.Header.Get("X-Bar") != "1" || conns.Load() != int64(i+1) {
					t.Errorf("%q with %q: %v after %d connections", connection, body, res.Header, conns.Load())
				}
			}
		}
	}
}

// pipes is a network in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- b
	return a
}

// tunnelInABubble opens a tunnel over connections in memory, and gives its ends and the handler to test.
func tunnelInABubble(t *testing.T, config string, test func(client, upstream net.Conn, h *Handler)) {
	synctest.Test(t, func(t *testing.T) {
		var upstreamEnd net.Conn
		w := newWorldOver(t, func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			upstreamEnd = b
			go func() {
				readHead(bufio.NewReaderSize(b, 16)) // reads no further than a request whose end it waits for
				io.WriteString(b, switching+"\r\n")
			}()
			return a, nil
		})
		g := w.build(nil, `{"upstreams":[{"dial":"10.0.0.1:80"}],`+config+`}`)
		f := &front{t: t, logger: zap.NewNop()}
		f.handler.Store(g.Handler)
		ln := newPipes()
		server := &http.Server{Handler: f}
		go server.Serve(ln)
		client := ln.dial()
		go io.WriteString(client, handshake)
		if head, err := readHead(bufio.NewReaderSize(client, 16)); err != nil || !strings.Contains(head[0], " 101 ") {
			t.Fatal(head, err)
		}
		test(client, upstreamEnd, g.Handler)
		client.Close()
		upstreamEnd.Close()
		server.Close()
		for _, b := range g.result.New {
			for _, r := range b.Owned() {
				r.Close()
			}
		}
		synctest.Wait()
	})
}

// ends reads a connection to its end and returns what came and when it ended.
func ends(c net.Conn, start time.Time) <-chan string {
	end := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(c)
		end <- fmt.Sprintf("%q after %v", text, time.Since(start))
	}()
	return end
}

// UP-8, S16: to the nanosecond, without a close frame, whatever goes through.
func TestStreamTimeoutIsExact(t *testing.T) {
	tunnelInABubble(t, `"stream_timeout":"2s"`, func(client, upstream net.Conn, _ *Handler) {
		start := time.Now()
		a, b := ends(client, start), ends(upstream, start)
		go func() {
			for range 3 {
				<-time.After(600 * time.Millisecond)
				io.WriteString(client, "x")
			}
		}()
		if got := <-a; got != `"" after 2s` {
			t.Errorf("the client got %s", got)
		}
		if got := <-b; got != `"xxx" after 2s` {
			t.Errorf("the upstream got %s", got)
		}
	})
}

// UP-10, S15: the close frames come when the delay after the unload is over.
func TestStreamCloseDelayIsExact(t *testing.T) {
	tunnelInABubble(t, `"stream_close_delay":"3s"`, func(client, upstream net.Conn, h *Handler) {
		<-time.After(time.Hour) // a handler that stays closes nothing
		start := time.Now()
		a, b := ends(client, start), ends(upstream, start)
		h.tunnels.unload()
		if got := <-a; got != `"\x88\x02\x03\xe9" after 3s` {
			t.Errorf("the client got %s", got)
		}
		if got := <-b; !strings.HasPrefix(got, `"\x88\x82`) || !strings.HasSuffix(got, " after 3s") {
			t.Errorf("the upstream got %s", got)
		}
	})
}
