package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func each(ds ...int) []time.Duration {
	var out []time.Duration
	for _, d := range ds {
		out = append(out, time.Duration(d)*time.Microsecond)
	}
	return out
}

// What is added is the difference of the medians of all rounds; the range is
// that of the rounds by themselves.
func TestPrintLatency(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out}
	targets := []*target{{name: direct}, {name: "sluice"}, {name: "caddy"}, {name: "nginx"}}
	took := map[string][][]time.Duration{
		direct:   {each(10, 10, 10), each(20, 10, 20)},
		"sluice": {each(50, 50, 50), each(50, 50, 50)},
		"caddy":  {each(60, 60, 60), each(60, 60, 60)},
		"nginx":  {each(20, 20, 20), each(20, 20, 20)},
	}
	b.printLatency("sse", targets, took, map[string]float64{"caddy": 1.1, "nginx": 2.5})
	for _, want := range []string{
		"sse        direct   median    10.0 us  p99    20.0 us  of       6\n",
		"sse        sluice   median    50.0 us  p99    50.0 us  of       6  added    40.0 us\n",
		"sse        sluice/caddy x0.8 (rounds 0.75 to 0.80)  limit x1.1: kept\n",
		"sse        sluice/nginx x4 (rounds 4.00 to 4.00)  limit x2.5: MISSED\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not printed: %s", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
	out.Reset()
	took["nginx"] = took[direct]
	b.printLatency("sse", targets, took, nil)
	if !strings.Contains(out.String(), "nginx adds nothing") || strings.Contains(out.String(), "sluice/nginx") || strings.Contains(out.String(), "limit") {
		t.Errorf("printed %s", out.String())
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		figure, limit float64
		want          string
	}{{1.1, 1.1, "  limit x1.1: kept"}, {1.11, 1.1, "  limit x1.1: MISSED"}, {7, 0, ""}} {
		if got := verdict(c.figure, c.limit, "x%g"); got != c.want {
			t.Errorf("%v: %q, want %q", c, got, c.want)
		}
	}
}

// late is a server of one answer, which goes through it later by the delay.
func late(t *testing.T, upstream string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", upstream)
			if err != nil {
				_ = front.Close()
				continue
			}
			go func() { _, _ = io.Copy(back, front); _ = back.Close() }()
			go func() {
				defer front.Close()
				buf := make([]byte, 4096)
				for {
					n, err := back.Read(buf)
					if err != nil {
						return
					}
					<-time.After(delay)
					if _, err := front.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// Each kind of traffic sees a delay on the way, and not much else.
func TestLatencyIsSeen(t *testing.T) {
	plain, err := startStreamer()
	if err != nil {
		t.Fatal(err)
	}
	defer plain.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rpc := rpcServer()
	defer rpc.Stop()
	go func() { _ = rpc.Serve(l) }()
	b := &bench{options: options{streamPeriod: 100 * time.Millisecond}, ctx: t.Context()}
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		to := &target{plain: plain.addr, rpc: l.Addr().String()}
		if delay > 0 {
			to.plain, to.rpc = late(t, to.plain, delay), late(t, to.rpc, delay)
		}
		if to.calls, err = dialCalls(to.rpc); err != nil {
			t.Fatal(err)
		}
		defer to.calls.Close()
		for _, k := range streamKinds {
			times, err := k.run(b, to)
			if err != nil || len(times) == 0 {
				t.Fatalf("%s: %d times, %v", k.name, len(times), err)
			}
			if least := slices.Min(times); least < delay || (delay == 0 && least > 5*time.Millisecond) {
				t.Errorf("%s: at least %v with a delay of %v", k.name, least, delay)
			}
		}
	}
}

// An upstream that changes messages is an error, not a figure.
func TestWrongEchoes(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n", strings.Repeat("y", 2*messageSize))
		_, _ = io.Copy(io.Discard, c)
	}))
	defer s.Close()
	b := &bench{options: options{streamPeriod: 10 * time.Millisecond}, ctx: t.Context()}
	if _, err := b.echoLatency(&target{plain: s.Listener.Addr().String()}); err == nil || !strings.Contains(err.Error(), "the echo is") {
		t.Errorf("got %v", err)
	}
	all, err := openSockets(s.Listener.Addr().String(), 3)
	closeSockets(all)
	if err == nil {
		t.Error("WebSockets with wrong echoes are taken for good ones")
	}
}

func TestOpenSocketsOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if all, err := openSockets(l.Addr().String(), 20); err == nil || len(all) > 0 {
		t.Errorf("%d opened, %v", len(all), err)
	}
}

func TestMemStat(t *testing.T) {
	const profile = "heap profile: 1: 2\n# runtime.MemStats\n# HeapAlloc = 2048\n# Stack = 5120 / 6144\n# Odd = x\n"
	for name, want := range map[string]float64{"HeapAlloc": 2, "Stack": 5} {
		if got, err := memStat([]byte(profile), name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"Heap", "Odd"} {
		if got, err := memStat([]byte(profile), name); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRawCodec(t *testing.T) {
	var c rawCodec
	in, out := []byte("abc"), []byte("longer than that")
	text, err := c.Marshal(&in)
	if err != nil || c.Unmarshal(text, &out) != nil || string(out) != "abc" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := c.Marshal("abc"); err == nil {
		t.Error("a string is a message")
	}
	if err := c.Unmarshal(nil, "abc"); err == nil {
		t.Error("a string takes a message")
	}
}

func TestChildren(t *testing.T) {
	for _, args := range [][]string{nil, {"-case", "streams", "-quick"}, {childProxy}, {"-bin", "a", "b"}} {
		if _, is := child(args, io.Discard); is {
			t.Errorf("%v is a child", args)
		}
	}
	for _, name := range []string{childUpstream, childProxy} {
		var out strings.Builder
		if status, is := child([]string{name, "nowhere", "nowhere"}, &out); status != 1 || !is || !strings.Contains(out.String(), "nowhere") {
			t.Errorf("%s: %d %v %q", name, status, is, out.String())
		}
	}
}
