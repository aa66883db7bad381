package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// script is an upstream that sends pieces of a body when it is told to. The length of the body is known, for what has
// none is flushed in any case.
type script struct {
	pieces chan string
	length int
}

func newScript(b *backend, length int) *script {
	s := &script{make(chan string), length}
	b.does(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", strconv.Itoa(s.length))
		flusher := http.NewResponseController(w)
		_ = flusher.Flush()
		for {
			select {
			case piece, ok := <-s.pieces:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, piece)
				_ = flusher.Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	return s
}

// send makes the upstream send a piece.
func (s *script) send(t *testing.T, piece string) {
	t.Helper()
	select {
	case s.pieces <- piece:
	case <-time.After(patience):
		t.Fatal("the upstream has nobody to send to")
	}
}

// reading is a body as it arrives.
type reading struct {
	*http.Response
	cut *time.Timer // ends what does not come
}

func (m *mission) open(t *testing.T) *reading {
	t.Helper()
	type answer struct {
		res *http.Response
		err error
	}
	got := make(chan answer, 1)
	go func() {
		res, err := m.ask(t, http.MethodGet, "/", nil)
		got <- answer{res, err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			t.Fatal(a.err)
		}
		r := &reading{a.res, time.AfterFunc(patience, func() { a.res.Body.Close() })}
		t.Cleanup(func() {
			r.cut.Stop()
			r.Body.Close()
		})
		return r
	case <-time.After(patience):
		t.Fatal("the header does not arrive")
		return nil
	}
}

// next reads n bytes.
func (r *reading) next(t *testing.T, n int) string {
	t.Helper()
	r.cut.Reset(patience)
	buf := make([]byte, n)
	if _, err := io.ReadFull(r.Body, buf); err != nil {
		t.Fatalf("%v, after %q", err, buf)
	}
	return string(buf)
}

// checkFlushNow: the upstream goes on only when the client has what it sent before.
func checkFlushNow(t *testing.T, m *mission) {
	m.wants(t, "flush_interval", `-1`)
	const rounds = 30
	s := newScript(m.ups[0], rounds*len("piece 00\n"))
	defer m.ups[0].does(nil)
	begun := time.Now()
	res := m.open(t) // before the first byte of the body
	for i := range rounds {
		want := fmt.Sprintf("piece %02d\n", i)
		s.send(t, want)
		if got := res.next(t, len(want)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	close(s.pieces)
	if _, err := res.Body.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("%d pieces took %v", rounds, took)
	}
}

// checkFlushPeriodic: what the upstream sends within a second arrives together when it is over.
func checkFlushPeriodic(t *testing.T, m *mission) {
	m.wants(t, "flush_interval", `1000000000`)
	const rounds = 2
	s := newScript(m.ups[0], rounds*len("abc")+len("end"))
	defer m.ups[0].does(nil)
	begun := time.Now()
	res := m.open(t)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("the header arrives after %v, want 1s", took)
	}
	for range rounds {
		begun := time.Now()
		for _, piece := range []string{"a", "b", "c"} {
			s.send(t, piece)
		}
		first := res.next(t, 1)
		took := time.Since(begun)
		if got := first + res.next(t, 2); got != "abc" {
			t.Fatalf("got %q", got)
		}
		if all := time.Since(begun); took < time.Second || all > took+900*time.Millisecond {
			t.Errorf("the first piece took %v, all took %v; want 1s for both", took, all)
		}
	}
	s.send(t, "end")
	close(s.pieces)
	if got := res.next(t, 3); got != "end" {
		t.Fatalf("got %q", got)
	}
}
