package framing

import (
	"strings"
	"testing"
)

// What net/http is to see of the Connection fields of a response, and whether the connection ends with it.
func TestConnectionOptions(t *testing.T) {
	const blank = "     "
	for _, tt := range []struct {
		head, want string
		ends       bool
	}{
		{"Connection: close\r\n", "Connection: close\r\n", false}, // left to net/http
		{"Connection: keep-alive, Upgrade\r\n", "Connection: keep-alive, Upgrade\r\n", false},
		{"Connection: X-A\r\n", "Connection: X-A\r\n", false},
		{"Connection: X-A, close\r\n", "Connection: X-A, " + blank + "\r\n", true},
		{"connection:CLOSE,X-A\r\n", "connection:" + blank + ",X-A\r\n", true},
		{"Connection: close, X-A ,close\n", "Connection: " + blank + ", X-A ," + blank + "\n", true},
		{"Connection: close\r\nX: y\r\nConnection: X-A\r\n", "Connection: " + blank + "\r\nX: y\r\nConnection: X-A\r\n", true},
		{"Connection: X-A\r\nConnection: close\r\n", "Connection: X-A\r\nConnection: " + blank + "\r\n", true},
		{"Connection: X-closed, disclose\r\n", "Connection: X-closed, disclose\r\n", false},
		{"X-Connection: X-A, close\r\n", "X-Connection: X-A, close\r\n", false},
	} {
		const start, rest = "HTTP/1.1 200 OK\r\n", "Content-Length: 2\r\n\r\nok"
		f := Framer{response: true}
		f.Begin(false)
		p := []byte(start + tt.head + rest)
		n, err := f.Feed(p)
		if got := string(p); n != len(p) || err != nil || got != start+tt.want+rest || f.state != done || f.doubtful != tt.ends {
			t.Errorf("%q: %d, %v, %q, ends %v", tt.head, n, err, got, f.doubtful)
		}
	}
}

// A head in two pieces. Of a close the last byte at least has to be in the second.
func TestConnectionOptionsInPieces(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\nConnection: X-A, close\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"
	last := strings.Index(text, "close") + len("close")
	for i := range len(text) {
		f := Framer{response: true}
		f.Begin(false)
		p := []byte(text)
		a, err := f.Feed(p[:i])
		if err != nil {
			t.Fatal(err)
		}
		b, err := f.Feed(p[i:])
		if err != nil || a+b != len(p) || f.state != done || !f.doubtful {
			t.Errorf("cut at %d: %d+%d, %v, ends %v", i, a, b, err, f.doubtful)
		}
		inLine := i >= last && i < strings.Index(text, "\r\nX-A: 1")+2
		if got := strings.Contains(string(p), "close"); got != inLine || len(p) != len(text) || !strings.Contains(string(p), "\r\nX-A: 1\r\n") {
			t.Errorf("cut at %d: net/http sees %q", i, p)
		}
	}
	old := Framer{response: true}
	old.Begin(false)
	p := []byte("HTTP/1.0 200 OK\r\nConnection: X-A, close\r\n\r\n")
	if old.Feed(p); !strings.Contains(string(p), "close") { // net/http drops nothing there
		t.Errorf("HTTP/1.0: %q", p)
	}
}
