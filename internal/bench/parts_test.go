package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

func TestHistogram(t *testing.T) {
	for _, v := range []uint64{0, 1, 31, 32, 33, 63, 64, 1000, 123_456, 1 << 40} {
		s := slot(v)
		if top(s) < v || (s > 0 && top(s-1) >= v) {
			t.Errorf("%d is in slot %d, which ends at %d after %d", v, s, top(s), top(s-1))
		}
		if over := float64(top(s)) / float64(max(v, 1)); over > 1.07 {
			t.Errorf("%d is counted as up to %d", v, top(s))
		}
	}
	var a, b histogram
	for i := range 1000 {
		a.add(time.Duration(i) * time.Microsecond)
		b.add(time.Second)
	}
	if got := a.quantile(0.5); got < 490*time.Microsecond || got > 540*time.Microsecond {
		t.Errorf("median %v", got)
	}
	a.merge(&b)
	if got := a.quantile(0.99); got < time.Second || got > 1100*time.Millisecond || a.n != 2000 {
		t.Errorf("99%% of %d: %v", a.n, got)
	}
}

func TestReadWrk(t *testing.T) {
	const good = "  Latency Distribution\n     50%  394.00us\n     99%    2.54ms\n  151302 requests in 4.00s, 30.16MB read\nRequests/sec:  37825.51\n"
	for _, c := range []struct {
		name, out, bad string
		want           load
	}{
		{name: "good", out: good, want: load{151302, 37825.51, 2540 * time.Microsecond}},
		{name: "slow", out: strings.Replace(good, "2.54ms", "1.50s", 1), want: load{151302, 37825.51, 1500 * time.Millisecond}},
		{name: "time-outs are seen in p99", out: good + "  Socket errors: connect 0, read 0, write 0, timeout 3\n", want: load{151302, 37825.51, 2540 * time.Microsecond}},
		{name: "errors", out: good + "  Non-2xx or 3xx responses: 7\n", bad: "Non-2xx"},
		{name: "broken", out: good + "  Socket errors: connect 0, read 12, write 0, timeout 0\n", bad: "read 12"},
		{name: "none", out: strings.Replace(good, "151302 requests", "0 requests", 1), bad: "no answer"},
		{name: "refused", out: "unable to connect to 127.0.0.1:1 Connection refused\n", bad: "refused"},
	} {
		got, err := readWrk(c.out)
		if got != c.want || (err == nil) != (c.bad == "") || (err != nil && !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// answers serves each connection with the given bytes for each request.
func answers(t *testing.T, text string, closes bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					for line := ""; line != "\r\n"; {
						if line, err = r.ReadString('\n'); err != nil {
							return
						}
					}
					if _, err := io.WriteString(c, text); err != nil || closes {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestClient(t *testing.T) {
	for _, c := range []struct {
		name, text string
		closes     bool
		ok         bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, true},
		{"chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", false, true},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nok", true, true},
		{"announced end", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", true, true},
		{"old", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true, true},
		{"status", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false, false},
		{"other body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false, false},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", true, false},
		{"cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true, false},
		{"cut header", "HTTP/1.1 200 OK\r\nContent-Le", true, false},
		{"nothing", "", true, false},
		{"not HTTP", "SSH-2.0-OpenSSH_9.6 and so on\r\n", true, false},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", false, false},
	} {
		cl := newClient(answers(t, c.text, c.closes), 5*time.Second)
		for range 2 { // the second time over the same connection, or a new one
			if err := cl.expect(get("/", "x"), "ok"); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		cl.close()
	}
}

// The traffic sees nothing lost where nothing is, and all of it once the server
// goes away.
func TestTrafficCountsLosses(t *testing.T) {
	s, err := startStreamer()
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(s.addr)
	if err := tr.open(2); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return tr.sent("keep-alive") > 10 && tr.sent("fresh") > 10 && tr.sent("download") > 1 })
	for _, x := range tr.tallies {
		tr.mu.Lock()
		if x.lost > 0 {
			t.Errorf("%s: %d lost: %v", x.kind, x.lost, x.why)
		}
		tr.mu.Unlock()
	}
	s.close()
	await(t, func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, x := range tr.tallies {
			if x.lost == 0 {
				return false
			}
		}
		return true
	})
	tr.stop()
	b := &bench{out: io.Discard}
	if n := tr.print(b, "test"); n < 8 {
		t.Errorf("%d lost", n)
	}
	for _, kind := range []string{"websocket", "sse"} {
		if x := tr.tally(kind); x.lost != 2 || x.sent != 2 || x.why == nil {
			t.Errorf("%s: %+v", kind, x)
		}
	}
}

func (t *traffic) sent(kind string) int {
	x := t.tally(kind)
	t.mu.Lock()
	defer t.mu.Unlock()
	return x.sent
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestMeasuresOfAProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip(runtime.GOOS)
	}
	before, err := machine.CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // spins, so that time is used
		now, err := machine.CPUTime(os.Getpid())
		return err == nil && now >= before+50*time.Millisecond
	})
	if mb, err := machine.ResidentMB(os.Getpid()); err != nil || mb < 1 || mb > 4096 {
		t.Errorf("resident %v MB, %v", mb, err)
	}
	if _, err := machine.CPUTime(1 << 30); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}

func TestDocumentsHaveAllRoutes(t *testing.T) {
	for _, by := range []string{"hosts", "paths"} {
		routes := manyRoutes(10, by, "a", "b")["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)["routes"].(list)
		if len(routes) != 10 || routes[0].(object)["@id"] != "first" || routes[9].(object)["@id"] != "last" || routes[6].(object)["@id"] != "r5" {
			t.Errorf("%s: %d routes: %s", by, len(routes), encode(routes))
		}
	}
}

func TestTypicalSlowest(t *testing.T) {
	var times []time.Duration
	for i := range 10*aRow + 7 {
		d := time.Millisecond
		switch {
		case i%aRow == 17:
			d = 3 * time.Millisecond // once in each row
		case i == 5*aRow:
			d = time.Second // once
		}
		times = append(times, d)
	}
	if got := typicalSlowest(times); got != 3*time.Millisecond {
		t.Errorf("got %v", got)
	}
}
