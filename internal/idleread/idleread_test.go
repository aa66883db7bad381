package idleread

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pairs are connections of each kind: read raw, and through their methods.
func pairs(t *testing.T) map[string][2]net.Conn {
	list := map[string][2]net.Conn{}
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = t.TempDir() + "/s"
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		list[network] = [2]net.Conn{a, b}
	}
	a, b := net.Pipe()
	list["pipe"] = [2]net.Conn{a, b}
	for _, p := range list {
		t.Cleanup(func() { p[0].Close(); p[1].Close() })
	}
	return list
}

func TestReaderGivesEveryByte(t *testing.T) {
	sent := make([]byte, 300_000)
	_, _ = rand.Read(sent)
	for _, size := range []int{100, smallSize, 32 << 10} {
		for name, p := range pairs(t) {
			go func() {
				for rest, n := sent, 1; len(rest) > 0; n = (n*3 + 1) % 100_000 {
					k := min(n%7000+1, len(rest))
					if _, err := p[0].Write(rest[:k]); err != nil {
						return
					}
					rest = rest[k:]
				}
				p[0].Close()
			}()
			r := NewReader(p[1], NewBuffers(size))
			var got bytes.Buffer
			for {
				b, err := r.Next()
				got.Write(b)
				r.Free()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got.Bytes(), sent) {
				t.Errorf("%s, buffers of %d: got %d bytes, which are not the %d sent", name, size, got.Len(), len(sent))
			}
		}
	}
}

func TestReaderEndsAtTheDeadlineAndAtClose(t *testing.T) {
	for name, p := range pairs(t) {
		r := NewReader(p[1], NewBuffers(4096))
		_ = p[1].SetReadDeadline(time.Now().Add(time.Millisecond))
		if b, err := r.Next(); len(b) > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v at the deadline", name, len(b), err)
		}
		r.Free()
		_ = p[1].SetReadDeadline(time.Time{})
		ended := make(chan error)
		go func() { _, err := r.Next(); ended <- err }()
		p[1].Close()
		if err := <-ended; err == nil {
			t.Errorf("%s: no error after Close", name)
		}
	}
}

// A silent connection holds no buffer.
func TestSilentConnectionsBorrowNothing(t *testing.T) {
	if !canRaw {
		t.Skip("connections of this system are read through their methods")
	}
	p := pairs(t)["tcp"]
	buffers := NewBuffers(1 << 20)
	r := NewReader(p[1], buffers)
	for range 100 {
		if _, err := p[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if b, err := r.Next(); string(b) != "x" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
		r.Free()
	}
	_ = p[1].SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _ = r.Next()
	if r.lent != nil {
		t.Error("a buffer is held although nothing came")
	}
}
