package reverseproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
)

// rawGet sends a GET over its own connection and returns everything that comes back until it is closed.
func (f *front) rawGet(fields string) string {
	f.t.Helper()
	_, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + fields + "\r\n")
	text, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// lines returns the lines of a head that begin with one of the names.
func linesOf(text string, names ...string) []string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	var list []string
	for _, line := range strings.Split(head, "\r\n")[1:] {
		for _, name := range names {
			if strings.HasPrefix(line, name+":") {
				list = append(list, line)
			}
		}
	}
	slices.Sort(list)
	return list
}

func TestResponseHeaders(t *testing.T) {
	up := answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Tag\r\nX-Tag: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\n"+
		"Alt-Svc: x\r\nUpgrade: x\r\nServer: up\r\nVia: 1.1 inner\r\nX-Both: up\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: yesterday\r\n\r\nok")
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up)).front(func(f *front) {
		f.before = func(w http.ResponseWriter, _ *http.Request, _ *handlers.Exchange) {
			w.Header().Set("X-Both", "early")
			w.Header().Set("Via", "9 early")
		}
	})
	text := f.rawGet("")
	want := []string{"Connection: close", "Date: yesterday", "Server: up", "Set-Cookie: a", "Set-Cookie: b", "Via: 1.1 inner", "Via: 1.1 sluice", "Via: 9 early", "X-Both: early", "X-Both: up"}
	if got := linesOf(text, "Connection", "X-Tag", "Keep-Alive", "Proxy-Authenticate", "Alt-Svc", "Upgrade", "Server", "Via", "X-Both", "Set-Cookie", "Date"); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if !(strings.Index(text, "9 early") < strings.Index(text, "1.1 sluice") && strings.Index(text, "1.1 sluice") < strings.Index(text, "1.1 inner")) {
		t.Errorf("order of Via: %q", linesOf(text, "Via"))
	}
	if strings.Index(text, "X-Both: early") > strings.Index(text, "X-Both: up") {
		t.Error("the earlier handler's value does not come first")
	}
}

func TestErrorsKeepTheServersOwnHeader(t *testing.T) {
	res := proxy(t, `{"upstreams":[{"dial":%q}]}`, dead(t)).get("/")
	if got := res.Header.Get("Server"); got != "front" {
		t.Errorf("Server: %q", got)
	}
	res = proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.0 200 OK\r\n\r\nok")).get("/")
	if res.Header["Server"] != nil || res.Header.Get("Via") != "1.0 sluice" || res.body != "ok" {
		t.Errorf("%v %q", res.Header, res.body)
	}
}

func TestHeaderOperationsDown(t *testing.T) {
	up := answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: a\r\nX-B: b\r\n\r\n")
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"headers":{"response":{"deferred":true,
		"set":{"X-A":["{http.reverse_proxy.header.X-A}{http.reverse_proxy.status_code}"],"X-Late":["{http.reverse_proxy.duration}"]},
		"delete":["X-B","Via","X-Early"],"add":{"X-C":["c"]}}}}`, up)).front(func(f *front) {
		f.before = func(w http.ResponseWriter, _ *http.Request, _ *handlers.Exchange) { w.Header().Set("X-Early", "1") }
	})
	res := f.get("/")
	for name, want := range map[string]string{
		"X-A": "a200", "X-B": "", "X-C": "c", "Via": "1.1 sluice", "X-Early": "1", "X-Late": "{http.reverse_proxy.duration}",
	} {
		if got := strings.Join(res.Header[name], "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestHeaderOperationsDownCanRequire(t *testing.T) {
	for _, tt := range []struct{ require, want string }{
		{`{"status_code":[2]}`, "1"}, {`{"status_code":[404]}`, ""}, {`{"headers":{"X-A":["a*"]}}`, "1"}, {`{"headers":{"X-A":null}}`, ""},
	} {
		up := answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: abc\r\n\r\n")
		f := proxy(t, `{"upstreams":[{"dial":%q}],"headers":{"response":{"set":{"X-Set":["1"]},"require":%s}}}`, up, tt.require)
		if got := f.get("/").Header.Get("X-Set"); got != tt.want {
			t.Errorf("%s: %q", tt.require, got)
		}
	}
}

// RESP-1 and quirk 20.
func TestInformationalResponses(t *testing.T) {
	up := answer(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up)).front(func(f *front) {
		f.before = func(w http.ResponseWriter, _ *http.Request, _ *handlers.Exchange) { w.Header().Set("X-Early", "1") }
	})
	type hint struct {
		code int
		link string
		hop  string
	}
	var hints []hint
	r, _ := http.NewRequest("GET", f.URL, nil)
	r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, hint{code, h.Get("Link"), h.Get("X-Hop")})
		return nil
	}}))
	res, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if want := []hint{{103, "</a>", ""}, {102, "", ""}}; !slices.Equal(hints, want) {
		t.Errorf("hints %+v, want %+v", hints, want)
	}
	if res.StatusCode != 200 || res.Header.Get("X-Early") != "1" || res.Header.Get("Link") != "" || res.Header.Get("Server") != "" {
		t.Errorf("final: %d %v", res.StatusCode, res.Header)
	}
	_, old := f.dial("GET / HTTP/1.0\r\n\r\n")
	if line, _ := old.ReadString('\n'); !strings.Contains(line, "200") {
		t.Errorf("an HTTP/1.0 client got %q", line)
	}
}

// S20, RESP-16.
func TestResponseTrailers(t *testing.T) {
	chunked := func(head, trailers string) string {
		return answer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+head+"\r\n2\r\nok\r\n0\r\n"+trailers+"\r\n")
	}
	for _, tt := range []struct{ name, head, trailers, want string }{
		{"announced", "Trailer: X-One, X-Two\r\n", "X-One: 1\r\nX-Two: 2\r\n", "X-One=1 X-Two=2"},
		{"not announced", "", "X-One: 1\r\n", "X-One=1"},
		{"both", "Trailer: X-One\r\n", "X-One: 1\r\nX-Two: 2\r\nX-Two: 3\r\n", "X-One=1 X-Two=2,3"},
		{"none", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := proxy(t, `{"upstreams":[{"dial":%q}]}`, chunked(tt.head, tt.trailers)).get("/")
			res.want(t, 200, "ok")
			var got []string
			for name, values := range res.Trailer {
				got = append(got, name+"="+strings.Join(values, ","))
			}
			slices.Sort(got)
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("trailers %q, want %q", s, tt.want)
			}
		})
	}
}

// REQ-19 and quirk 16.
func TestRequestTrailers(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", body, r.Trailer.Get("X-Sum"))
	})
	for _, buffers := range []string{"0", "3", "100"} {
		f := proxy(t, `{"upstreams":[{"dial":%q}],"request_buffers":%s}`, up, buffers)
		_, r := f.dial("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(res.Body); string(text) != "hello 42" {
			t.Errorf("buffers %s: %q", buffers, text)
		}
	}
}

func TestBodilessResponses(t *testing.T) {
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-A: 1\r\n\r\n"))
	res := f.do("HEAD", "/", "")
	if res.StatusCode != 200 || res.ContentLength != 10 || res.Header.Get("X-A") != "1" || res.err != nil {
		t.Errorf("HEAD: %d %d %v", res.StatusCode, res.ContentLength, res.err)
	}
	for _, status := range []string{"204 No Content", "304 Not Modified"} {
		f := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 "+status+"\r\nEtag: x\r\n\r\n"))
		if res := f.get("/"); res.Status != status || res.Header.Get("Etag") != "x" {
			t.Errorf("%s: %s %v", status, res.Status, res.Header)
		}
	}
}

// FLUSH-1 to FLUSH-3: what the client has while the upstream still holds back the rest.
func TestWhatIsFlushedAtOnce(t *testing.T) {
	tests := []struct {
		name, head, part, flush string
		atOnce                  bool
	}{
		{"known length", "Content-Length: 10\r\n", "01234", "0", false},
		{"known length, negative interval", "Content-Length: 10\r\n", "01234", "-1", true},
		{"known length, negative interval, no byte yet", "Content-Length: 10\r\n", "", "-1", true},
		{"known length, short interval", "Content-Length: 10\r\n", "01234", `"1ms"`, true},
		{"unknown length", "Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n", "0", true},
		{"unknown length, no byte yet", "Transfer-Encoding: chunked\r\n", "", "0", true},
		{"event stream", "Content-Length: 10\r\nContent-Type: text/event-stream;charset=utf-8\r\n", "01234", "0", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sent, stop := make(chan bool, 1), make(chan bool)
			up := raw(t, func(c net.Conn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tt.head+"\r\n"+tt.part)
				sent <- true
				<-stop
			})
			f := proxy(t, `{"upstreams":[{"dial":%q}],"flush_interval":%s}`, up, tt.flush)
			c, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-sent
			if !tt.atOnce {
				c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			}
			res, err := http.ReadResponse(r, nil)
			if (err == nil) != tt.atOnce {
				t.Errorf("header: %v", err)
			}
			if err == nil && tt.part != "" {
				part := make([]byte, 5)
				if _, err := io.ReadFull(res.Body, part); err != nil || string(part) != "01234" {
					t.Errorf("body: %q, %v", part, err)
				}
			}
			close(stop)
		})
	}
}

// flushLog is a response writer that notes what it is asked to do, and when.
type flushLog struct {
	header http.Header
	start  time.Time
	events []string
}

func (l *flushLog) note(what string) {
	l.events = append(l.events, fmt.Sprintf("%s@%d", what, time.Since(l.start).Milliseconds()))
}
func (l *flushLog) Header() http.Header         { return l.header }
func (l *flushLog) WriteHeader(int)             {}
func (l *flushLog) Write(p []byte) (int, error) { l.note("write"); return len(p), nil }
func (l *flushLog) Flush()                      { l.note("flush") }

// slowBody gives a byte at each of the given moments.
type slowBody struct {
	start time.Time
	at    []time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.at) == 0 {
		return 0, io.EOF
	}
	<-time.After(time.Until(b.start.Add(b.at[0])))
	b.at = b.at[1:]
	return 1, nil
}

// FLUSH-4.
func TestFlushInterval(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		interval time.Duration
		at       []time.Duration
		want     string
	}{
		{0, []time.Duration{10 * ms, 20 * ms}, "write@10 write@20"},
		{-1, []time.Duration{10 * ms, 20 * ms}, "flush@0 write@10 flush@10 write@20 flush@20"},
		{50 * ms, []time.Duration{10 * ms, 20 * ms, 200 * ms, 300 * ms, 310 * ms}, "write@10 write@20 flush@50 write@200 flush@250 write@300 write@310"},
		{50 * ms, []time.Duration{200 * ms, 1000 * ms}, "flush@50 write@200 flush@250 write@1000"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			w := &flushLog{header: http.Header{}, start: time.Now()}
			if err := copyBody(w, &slowBody{time.Now(), tt.at}, tt.interval, nil); err != nil {
				t.Error(err)
			}
			if got := strings.Join(w.events, " "); got != tt.want {
				t.Errorf("interval %v: %s, want %s", tt.interval, got, tt.want)
			}
		})
	}
}

// FLUSH-4 for HTTP/3, whose writer holds nothing back by itself.
func TestFlushIntervalHolds(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		at   []time.Duration
		size int
		want string
	}{
		{[]time.Duration{10 * ms, 20 * ms, 200 * ms, 300 * ms, 310 * ms}, 1, "write 2@50 flush@50 write 1@250 flush@250 write 2@310"},
		{[]time.Duration{10 * ms, 20 * ms, 30 * ms}, 2048, "write 4096@30 write 2048@30"},
		{[]time.Duration{10 * ms, 20 * ms}, 4097, "write 4097@10 write 4097@20"},
		{nil, 0, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &sizeLog{flushLog{header: http.Header{}, start: time.Now()}}
			if err := copyHolding(w, &slowParts{slowBody{time.Now(), tt.at}, tt.size}, 50*ms, nil); err != nil {
				t.Error(err)
			}
			if got := strings.Join(w.events, " "); got != tt.want {
				t.Errorf("parts of %d bytes: %s, want %s", tt.size, got, tt.want)
			}
		})
	}
}

// sizeLog notes how much is written as well.
type sizeLog struct{ flushLog }

func (l *sizeLog) Write(p []byte) (int, error) {
	l.note(fmt.Sprint("write ", len(p)))
	return len(p), nil
}

// slowParts gives parts of a size.
type slowParts struct {
	slowBody
	size int
}

func (b *slowParts) Read(p []byte) (int, error) {
	if _, err := b.slowBody.Read(p); err != nil {
		return 0, err
	}
	return b.size, nil
}

type releases int

func (r *releases) Release() { *r++ }

func TestStreamsReleaseTheirGeneration(t *testing.T) {
	for _, tt := range []struct {
		name     string
		body     io.Reader
		interval time.Duration
		want     releases
	}{
		{"one read", &onceReader{}, 0, 0},
		{"several reads", io.LimitReader(zeros{}, 100_000), 0, 1},
		{"event stream", io.LimitReader(zeros{}, 10), -1, 1},
	} {
		var r releases
		w := &flushLog{header: http.Header{}}
		if err := copyBody(w, tt.body, tt.interval, &r); err != nil || r != tt.want {
			t.Errorf("%s: released %d times, want %d (%v)", tt.name, r, tt.want, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// onceReader ends with its only read.
type onceReader struct{}

func (*onceReader) Read(p []byte) (int, error) { return 3, io.EOF }

func TestResponseBuffers(t *testing.T) {
	up := answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789")
	cut := answer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
	for _, n := range []string{"1", "10", "11", "-1"} {
		proxy(t, `{"upstreams":[{"dial":%q}],"response_buffers":%s}`, up, n).get("/").want(t, 200, "0123456789")
	}
	// quirk 17: a response that is cut off is never passed on as complete.
	for _, n := range []string{"11", "-1"} {
		proxy(t, `{"upstreams":[{"dial":%q}],"response_buffers":%s}`, cut, n).get("/").want(t, 502, "")
	}
}

// S21 and HT-13: HTTP/2 on both sides, both bodies at once.
func TestFullDuplexOverH2C(t *testing.T) {
	both := new(http.Protocols)
	both.SetUnencryptedHTTP2(true)
	both.SetHTTP1(true)
	w := newWorld(t)
	upFront := w.build(nil, `{}`).front(func(f *front) {
		f.Config.Protocols = both
		f.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Trailer", "Grpc-Status")
			rw.Header().Set("X-Te", r.Header.Get("Te"))
			rw.Header().Set("X-Proto", r.Proto)
			rw.WriteHeader(200)
			rw.(http.Flusher).Flush()
			buf := make([]byte, 100)
			for {
				n, err := r.Body.Read(buf)
				rw.Write(buf[:n])
				rw.(http.Flusher).Flush()
				if err != nil {
					break
				}
			}
			rw.Header().Set("Grpc-Status", "0")
		})
	})
	f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c","2"]}}`,
		upFront.Listener.Addr().String())).front(func(f *front) { f.Config.Protocols = both })
	only2 := new(http.Protocols)
	only2.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: only2, DisableCompression: true}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	body, feed := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "PUT", f.URL, body)
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Te", "trailers")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("X-Te") != "trailers" || res.Header.Get("X-Proto") != "HTTP/2.0" || res.Header.Get("Via") != "2.0 sluice" {
		t.Errorf("header %v", res.Header)
	}
	for _, part := range []string{"one", "two"} {
		io.WriteString(feed, part)
		got := make([]byte, 3)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != part {
			t.Fatalf("echo %q, %v", got, err)
		}
	}
	feed.Close()
	io.ReadAll(res.Body)
	if got := res.Trailer.Get("Grpc-Status"); got != "0" {
		t.Errorf("trailer %q", got)
	}
}

func TestExpectContinue(t *testing.T) {
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		head, _ := readHead(r)
		if slices.Contains(head, "Expect: 100-continue") {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body := make([]byte, 4)
		io.ReadFull(r, body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%s", body)
	})
	for _, timeout := range []string{"0", `"10s"`} {
		f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","expect_continue_timeout":%s}}`, up, timeout)
		c, r := f.dial("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		if line, _ := r.ReadString('\n'); !strings.Contains(line, "100") {
			t.Fatalf("timeout %s: %q", timeout, line)
		}
		io.WriteString(c, "body")
		var text string
		for !strings.HasSuffix(text, "body") {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatalf("timeout %s: %q, %v", timeout, text, err)
			}
			text += string(b)
		}
	}
	refuse := answer(t, "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","expect_continue_timeout":"10s"}}`, refuse)
	_, r := f.dial("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, " 417 ") {
			break
		}
	}
}
