package upstream

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// A body that net/http reads to its last byte and no further leaves what follows it unread, in the system or in TLS. That
// must not be taken for the response to the next request either.
func TestNothingBehindALongBody(t *testing.T) {
	for _, over := range []string{"TCP", "TLS"} {
		t.Run(over, func(t *testing.T) {
			for range 6 {
				askBehindALongBody(t, over == "TLS")
			}
		})
	}
}

// askBehindALongBody asks an upstream that sends a second response behind the first one of each connection.
func askBehindALongBody(t *testing.T, secure bool) {
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("b", 30_000)
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	ln := listen(t, "tcp", "127.0.0.1:0")
	t.Cleanup(func() { ln.Close() })
	o := DefaultHTTPOptions()
	if secure {
		a := trusttest.New(t)
		o = trusting(a)
		o.HTTP1Only = true
		go answerEach(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{a.Issue("127.0.0.1")}}), answer+poison, answer, answer)
	} else {
		go answerEach(ln, answer+poison, answer, answer)
	}
	o.MaxConnsPerHost = 2
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	const workers, each = 20, 5
	results := make(chan string)
	for range workers {
		go func() {
			for range each {
				results <- fetch(t, h, ln.Addr().String())
			}
		}()
	}
	for range workers * each {
		if got := <-results; len(got) != 30_000 {
			t.Fatalf("a request got %.60q", got)
		}
	}
}

// answerEach answers the requests of each connection with texts, one each.
func answerEach(ln net.Listener, answers ...string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			for _, a := range answers {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				if _, err := io.WriteString(c, a); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, r)
		}()
	}
}
