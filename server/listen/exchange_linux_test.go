package listen

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// echoLine answers one line with the key of the socket that serves.
func echoLine(s *Socket, c net.Conn) {
	go func() {
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil {
			fmt.Fprintf(c, "%s %s", s.Key(), line)
		}
	}()
}

func ask(addr string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(c, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func wants(t testing.TB, owner string, addrs ...string) (list []Want) {
	t.Helper()
	for _, a := range addrs {
		parsed, err := netaddr.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Want{Addr: parsed, Owner: owner, KeepAlive: KeepAlive(0, 0, 0)})
	}
	return list
}

func apply(t testing.TB, m *Manager, serve Serve, list []Want) *Plan {
	t.Helper()
	p, err := m.Plan(context.Background(), list)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.Commit(serve, nil)
	return p
}

func manager(t testing.TB) *Manager {
	m := NewManager(Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("closing the manager: %v", err)
		}
	})
	return m
}

// freePort returns the first of n ports that nobody uses, below those that the
// system gives to others.
func freePort(t testing.TB, n int) int {
	t.Helper()
search:
	for range 200 {
		port := 10000 + rand.IntN(20000)
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf(":%d", port+i))
			if err != nil {
				continue search
			}
			l.Close()
		}
		return port
	}
	t.Fatal("no free ports")
	return 0
}

// load connects to the addresses without pause until stopped.
type load struct {
	stop   atomic.Bool
	wg     sync.WaitGroup
	sent   atomic.Int64
	failed atomic.Int64
	first  atomic.Pointer[string]
}

func startLoad(addrs ...string) *load {
	l := &load{}
	for _, a := range addrs {
		for range 3 {
			l.wg.Go(func() {
				for !l.stop.Load() {
					_, err := ask(a)
					l.sent.Add(1)
					if err != nil {
						l.failed.Add(1)
						text := err.Error()
						l.first.CompareAndSwap(nil, &text)
					}
				}
			})
		}
	}
	return l
}

func (l *load) progress(t testing.TB, n int64) {
	t.Helper()
	want := l.sent.Load() + n
	eventually(t, "requests are answered", func() bool { return l.sent.Load() >= want })
}

func (l *load) end(t testing.TB) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d connections were dropped, the first: %s", n, l.sent.Load(), *l.first.Load())
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func fds(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(list)
}

// TestExchange swaps each pair of overlapping listeners in both directions
// while clients connect to the addresses that both serve.
func TestExchange(t *testing.T) {
	const p = "%[1]d"
	kinds := []struct {
		name, addr string
		v4, v6     bool // serves 127.0.0.1, ::1
	}{
		{"any", ":" + p, true, true},
		{"any4", "tcp4/:" + p, true, false},
		{"any6", "tcp6/[::]:" + p, false, true},
		{"one4", "127.0.0.1:" + p, true, false},
		{"one6", "[::1]:" + p, false, true},
		{"range", ":" + p + "-%[2]d", true, true},
		{"range4", "127.0.0.1:" + p + "-%[2]d", true, false},
		{"name", "localhost:" + p, true, false},
	}
	for i, a := range kinds {
		for _, b := range kinds[i+1:] {
			t.Run(a.name+"-"+b.name, func(t *testing.T) {
				m := manager(t)
				port := freePort(t, 2)
				first := wants(t, "a", fmt.Sprintf(a.addr, port, port+1))
				second := wants(t, "b", fmt.Sprintf(b.addr, port, port+1))
				apply(t, m, echoLine, first)
				var addrs []string
				if a.v4 && b.v4 {
					addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
				}
				if a.v6 && b.v6 {
					addrs = append(addrs, fmt.Sprintf("[::1]:%d", port))
				}
				l := startLoad(addrs...)
				for range 8 {
					apply(t, m, echoLine, second)
					if len(addrs) > 0 {
						l.progress(t, 20)
					}
					apply(t, m, echoLine, first)
					if len(addrs) > 0 {
						l.progress(t, 20)
					}
				}
				l.end(t)
			})
		}
	}
}
