package wire

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
)

// A request runs on whatever follows it on its connection: it is answered, and
// then what is malformed is, with 400 (RFC 9112, sections 2.2 and 9.3.2).
func TestMalformedBehindARequest(t *testing.T) {
	const first = "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
	for name, second := range map[string]string{
		"LF alone":               "\n",
		"a line with LF":         "GET / HTTP/1.1\nHost: x\r\n\r\n",
		"CR in a line":           "GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
		"space before the colon": "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
		"obs-fold":               "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
		"two framings":           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	} {
		for _, cut := range []int{0, 1, len(second)} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
					b, err := io.ReadAll(r.Body)
					if r.URL.Path != "/first" || string(b) != "abc" || err != nil {
						t.Errorf("%s: a handler gets %s %q %v", name, r.URL, b, err)
						return
					}
					select {
					case <-release:
					case <-r.Context().Done():
						t.Errorf("%s: the request is cancelled", name)
					}
					io.WriteString(w, "answer")
				})
				conn := h.pipe()
				go func() {
					io.WriteString(conn, first+second[:cut])
					io.WriteString(conn, second[cut:])
				}()
				synctest.Wait() // all of it has come, as far as it is wanted
				close(release)
				r := bufio.NewReader(conn)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(b) != "answer" || err != nil {
					t.Errorf("%s, cut at %d: the first is answered with %s %q %v", name, cut, res.Status, b, err)
				}
				if res, err = http.ReadResponse(r, nil); err != nil || res.StatusCode != 400 || !res.Close {
					t.Fatalf("%s, cut at %d: the second is answered with %v, %v", name, cut, res, err)
				}
				io.Copy(io.Discard, res.Body)
				if _, err := r.ReadByte(); err != io.EOF {
					t.Errorf("%s: the connection goes on: %v", name, err)
				}
				h.Close()
				synctest.Wait()
			})
		}
	}
}

// A client that goes is noticed, unless more has come from it.
func TestClientGoesDuringARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		})
		conn := h.pipe()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		conn.Close()
		<-gone
		synctest.Wait()
	})
}
