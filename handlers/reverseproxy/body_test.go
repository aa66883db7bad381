package reverseproxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// closedAfter is a body that is closed by somebody else when it has been read to its end.
type closedAfter struct {
	io.Reader
	over bool
}

func (c *closedAfter) Read(p []byte) (int, error) {
	if c.over {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := c.Reader.Read(p)
	c.over = err == io.EOF
	return n, err
}

func (c *closedAfter) Close() error { return nil }

// The end of a body is its end for ever, whatever becomes of it; what is no end is none.
func TestTheEndOfABodyIsRemembered(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	s := &source{body: &closedAfter{Reader: strings.NewReader("body")}, done: done}
	b := s.attempt()
	if text, err := io.ReadAll(b); string(text) != "body" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	s.answer()
	for range 2 {
		if n, err := b.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		_ = b.Close()
	}
	if _, err := s.attempt().Read(make([]byte, 10)); err != errBodyGone {
		t.Errorf("another attempt: %v", err)
	}
	if s.failed() {
		t.Error("the client has not failed")
	}
	// It is taken away before its end: the error waits for the answer.
	s = &source{body: &closedAfter{over: true}, done: done}
	b = s.attempt()
	s.answer()
	failed := make(chan error)
	go func() {
		_, err := b.Read(make([]byte, 10))
		failed <- err
	}()
	select {
	case err := <-failed:
		t.Errorf("the answer is not over: %v", err)
		return
	default:
	}
	close(done)
	if err := <-failed; err != http.ErrBodyReadAfterClose || s.failed() {
		t.Errorf("%v, and the client has failed: %t", err, s.failed())
	}
}

// An answer that begins as soon as the upstream has the last byte of the request arrives whole, and so does one of an upstream
// that does not read the request.
func TestAnswersWhileTheRequestEnds(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("a body ", 10_000)
	for name, reads := range map[string]bool{"read": true, "not read": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := backend(t, func(w http.ResponseWriter, r *http.Request) {
				if reads {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				_, _ = io.WriteString(w, body)
			})
			f := proxy(t, `{"upstreams":[{"dial":%q}]}`, u)
			for i := range 2000 {
				if res := f.do("POST", "/", body); res.StatusCode != 200 || res.body != body {
					t.Fatalf("request %d: %d with %d bytes, %v; want %d", i, res.StatusCode, len(res.body), res.err, len(body))
				}
			}
		})
	}
}
