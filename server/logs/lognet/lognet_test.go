package lognet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// buffer is a writer for several goroutines.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.buf.String()
	b.buf.Reset()
	return s
}

// world is a log server that may not be there, and what a Conn says.
type world struct {
	stderr, complaints buffer
	server             buffer // what it has received

	mu    sync.Mutex
	down  error // what dialling returns
	dials int
	peer  net.Conn
	slow  time.Duration // how long dialling takes
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dials++
	down, slow := w.down, w.slow
	w.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if down != nil {
		return nil, down
	}
	client, server := net.Pipe()
	w.mu.Lock()
	w.peer = server
	w.mu.Unlock()
	go func() { _, _ = io.Copy(&w.server, server) }()
	return client, nil
}

func (w *world) set(down error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// crash ends the server's connection.
func (w *world) crash() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.peer.Close()
}

func (w *world) dialled() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.dials
	w.dials = 0
	return n
}

func (w *world) report(err error) { _, _ = w.complaints.Write([]byte(err.Error() + "\n")) }

func (w *world) open(s Settings) (*Conn, error) {
	s.Network, s.Address = "tcp", "logs.test:514"
	return open(s, &w.stderr, w.report, w.dial)
}

func write(t *testing.T, c *Conn, text string) {
	t.Helper()
	if n, err := c.WriteEntries([]byte(text), ends(text)); n != len(text) || err != nil {
		t.Fatalf("%d of %d bytes: %v", n, len(text), err)
	}
}

// ends is where the lines of a text end.
func ends(text string) (list []int) {
	n := 0
	for line := range strings.Lines(text) {
		n += len(line)
		list = append(list, n)
	}
	return list
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		c, err := w.open(Settings{})
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, "1\n2\n")
		synctest.Wait()
		equal(t, "server", w.server.take(), "1\n2\n")
		equal(t, "dials", w.dialled(), 1)

		w.crash() // soon after the last attempt: it has to wait
		write(t, c, "3\n")
		write(t, c, "4\n")
		equal(t, "dials", w.dialled(), 0)
		equal(t, "stderr", w.stderr.take(), "3\n4\n")
		if s := w.complaints.take(); !strings.HasPrefix(s, "sending entries to log server tcp/logs.test:514: ") || strings.Count(s, "\n") != 1 {
			t.Errorf("complaints: %s", s)
		}
		time.Sleep(redialEvery)
		write(t, c, "5\n")
		synctest.Wait()
		equal(t, "server", w.server.take(), "5\n")

		time.Sleep(redialEvery)
		w.crash()
		write(t, c, "6\n") // tried again at once
		synctest.Wait()
		equal(t, "server", w.server.take(), "6\n")
		equal(t, "stderr", w.stderr.take(), "")
		equal(t, "dials", w.dialled(), 2)

		w.crash()
		w.set(errors.New("refused"))
		time.Sleep(redialEvery)
		for range 30 { // for 30 seconds
			write(t, c, "7\n")
			time.Sleep(time.Second)
		}
		equal(t, "dials", w.dialled(), 3)
		equal(t, "stderr", w.stderr.take(), strings.Repeat("7\n", 30))
		if s := w.complaints.take(); !strings.Contains(s, "connecting to log server tcp/logs.test:514: refused") {
			t.Errorf("complaints: %s", s)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Write([]byte("8\n")); !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := c.Close(); !errors.Is(err, errClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestSoftStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{down: errors.New("refused")}
		if _, err := w.open(Settings{}); err == nil || !strings.Contains(err.Error(), "connecting to log server tcp/logs.test:514: refused") {
			t.Errorf("hard start: %v", err)
		}
		c, err := w.open(Settings{Soft: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		equal(t, "complaints", w.complaints.take(), "connecting to log server tcp/logs.test:514: refused\n")
		write(t, c, "1\n")
		equal(t, "stderr", w.stderr.take(), "1\n")
		w.set(nil)
		time.Sleep(redialEvery)
		write(t, c, "2\n")
		synctest.Wait()
		equal(t, "server", w.server.take(), "2\n")
	})
}

// TestSlowDialling: who writes waits for a moment, and the entries do not wait
// for the connection.
func TestSlowDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		c, err := w.open(Settings{})
		if err != nil {
			t.Fatal(err)
		}
		w.crash()
		w.mu.Lock()
		w.slow = 5 * time.Second
		w.mu.Unlock()
		time.Sleep(redialEvery)
		start := time.Now()
		write(t, c, "1\n")
		equal(t, "first wait", time.Since(start), redialWait)
		write(t, c, "2\n")
		equal(t, "all waits", time.Since(start), redialWait)
		equal(t, "stderr", w.stderr.take(), "1\n2\n")
		time.Sleep(5 * time.Second)
		write(t, c, "3\n")
		synctest.Wait()
		equal(t, "server", w.server.take(), "3\n")

		w.crash()
		c.SetTimeout(time.Second)
		time.Sleep(redialEvery)
		write(t, c, "4\n")
		time.Sleep(time.Second)
		if s := w.complaints.take(); !strings.Contains(s, context.DeadlineExceeded.Error()) {
			t.Errorf("complaints: %s", s)
		}
		c.SetTimeout(0)
		time.Sleep(redialEvery)
		write(t, c, "5\n")
		if err := c.Close(); err != nil { // in the middle of dialling
			t.Error(err)
		}
		synctest.Wait()
	})
}

// stuck is a connection whose peer reads n bytes and no more.
type stuck struct {
	net.Conn
	n int
}

func (s *stuck) Write(p []byte) (int, error) {
	if len(p) <= s.n {
		s.n -= len(p)
		return len(p), nil
	}
	return s.n, errors.New("i/o timeout")
}
func (s *stuck) SetWriteDeadline(time.Time) error { return nil }
func (s *stuck) Close() error                     { return nil }

// TestTornEntry: an entry that broke off is sent again as a whole, those before
// it are not.
func TestTornEntry(t *testing.T) {
	var stderr buffer
	c, err := open(Settings{}, &stderr, func(error) {}, func(context.Context, string, string) (net.Conn, error) { return &stuck{n: 7}, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, "123\n456\n789\n")
	equal(t, "stderr", stderr.take(), "456\n789\n")
}

// packets is a connection that takes short packets only.
type packets struct {
	net.Conn
	got []string
}

func (p *packets) Write(b []byte) (int, error) {
	if len(b) > 6 {
		return 0, &net.OpError{Op: "write", Err: syscall.EMSGSIZE}
	}
	p.got = append(p.got, string(b))
	return len(b), nil
}
func (p *packets) SetWriteDeadline(time.Time) error { return nil }
func (p *packets) Close() error                     { return nil }

func TestPackets(t *testing.T) {
	var stderr, complaints buffer
	peer := &packets{}
	c, err := open(Settings{Packets: true}, &stderr, func(err error) { _, _ = complaints.Write([]byte(err.Error())) },
		func(context.Context, string, string) (net.Conn, error) { return peer, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := "1\n234\ntoo long\n5\na\nb\n"
	if n, err := c.WriteEntries([]byte(text), []int{2, 6, 15, 17, 21}); n != len(text) || err != nil { // the last has two lines
		t.Fatalf("%d bytes: %v", n, err)
	}
	equal(t, "packets", strings.Join(peer.got, "|"), "1\n|234\n|5\n|a\nb\n")
	equal(t, "stderr", stderr.take(), "too long\n")
	if s := complaints.take(); !strings.Contains(s, "an entry of 9 bytes does not fit into a packet") {
		t.Errorf("complaints: %s", s)
	}
}

// TestRealNetworks sends over sockets of the system.
func TestRealNetworks(t *testing.T) {
	text := "one\ntwo\n"
	listen := func(network, address string) (string, func() string) {
		if strings.HasPrefix(network, "u") && network != "unix" {
			l, err := net.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return l.LocalAddr().String(), func() string {
				got, b := "", make([]byte, 100)
				for range 2 {
					_ = l.SetReadDeadline(time.Now().Add(5 * time.Second))
					n, _, err := l.ReadFrom(b)
					if err != nil {
						t.Fatal(err)
					}
					got += string(b[:n]) + "|"
				}
				return strings.ReplaceAll(got, "\n|", "\n")
			}
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String(), func() string {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			b := make([]byte, len(text))
			n, _ := io.ReadFull(conn, b)
			return string(b[:n])
		}
	}
	dir := t.TempDir()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "udp": "127.0.0.1:0", "unix": filepath.Join(dir, "s"), "unixgram": filepath.Join(dir, "g")} {
		at, receive := listen(network, address)
		var stderr buffer
		c, err := Open(Settings{Network: network, Address: at, Packets: network == "udp" || network == "unixgram", Timeout: 5 * time.Second}, &stderr, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, text)
		equal(t, network, receive(), text)
		equal(t, network+": stderr", stderr.take(), "")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
