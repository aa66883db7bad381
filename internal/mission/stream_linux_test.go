package mission

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is what a backend sends when it is told to. The length of the body is known, for what has none is flushed in any
// case.
type script struct {
	pieces chan string
	length int
}

// scripts makes a backend follow scripts, by the path that is asked for.
func scripts(b *backend, of map[string]*script) {
	b.does(func(w http.ResponseWriter, r *http.Request) {
		s := of[r.URL.Path]
		if s == nil {
			b.usual(w, r)
			return
		}
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
}

// send makes the backend send a piece.
func (s *script) send(t *testing.T, piece string) {
	t.Helper()
	select {
	case s.pieces <- piece:
	case <-time.After(patience):
		t.Error("the backend has nobody to send to")
	}
}

// read begins to read what the site answers.
func (s *site) read(t *testing.T, proto, uri string) (io.Reader, http.Header) {
	t.Helper()
	res, err := s.clients[proto].Do(s.request(t, "GET", uri, nil, "Accept: text/event-stream"))
	must(t, err)
	cut := time.AfterFunc(patience, func() { _ = res.Body.Close() })
	t.Cleanup(func() { cut.Stop(); _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	return res.Body, res.Header
}

// next reads n bytes.
func next(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatalf("%v, after %q", err, buf)
	}
	return string(buf)
}

// checkFlushNow: the backend goes on only when the client has what it sent before.
func checkFlushNow(t *testing.T, s *site) {
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	const rounds = 100
	for _, proto := range protocols {
		lines := &script{make(chan string), rounds * len("piece 00\n")}
		scripts(b, map[string]*script{"/": lines})
		begun := time.Now()
		body, _ := s.read(t, proto, "/") // before the first byte of the body
		for i := range rounds {
			want := fmt.Sprintf("piece %02d\n", i)
			lines.send(t, want)
			if got := next(t, body, len(want)); got != want {
				t.Fatalf("%s: got %q, want %q", proto, got, want)
			}
		}
		close(lines.pieces)
		if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: at the end: %v", proto, err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s: %d pieces took %v", proto, rounds, took)
		}
		s.events(t, proto, b)
	}
}

// events reads server-sent events, each of which is sent when the one before has arrived.
func (s *site) events(t *testing.T, proto string, b *backend) {
	t.Helper()
	arrived, gone := make(chan int), make(chan struct{})
	b.does(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		for i := 0; ; i++ {
			fmt.Fprintf(w, "id: %d\nevent: tick\ndata: line one of %d\ndata: line two\n\n", i, i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-arrived:
			case <-r.Context().Done():
				return
			}
		}
	})
	client := s.client(t, proto)
	res, err := client.Do(s.request(t, "GET", "/events", nil, "Accept: text/event-stream"))
	must(t, err)
	cut := time.AfterFunc(patience, func() { _ = res.Body.Close() })
	defer cut.Stop()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" || res.ContentLength != -1 {
		t.Errorf("%s: %s of %d bytes", proto, kind, res.ContentLength)
	}
	lines := bufio.NewReader(res.Body)
	for i := range 50 {
		var event []string
		for len(event) == 0 || event[len(event)-1] != "\n" {
			line, err := lines.ReadString('\n')
			must(t, err)
			event = append(event, line)
		}
		if got, want := strings.Join(event, ""), fmt.Sprintf("id: %d\nevent: tick\ndata: line one of %d\ndata: line two\n\n", i, i); got != want {
			t.Fatalf("%s: %q, want %q", proto, got, want)
		}
		select {
		case arrived <- i:
		case <-time.After(patience):
			t.Fatal("the backend does not go on")
		}
	}
	_ = res.Body.Close()
	select { // a client that goes away takes its stream with it
	case <-gone:
	case <-time.After(patience):
		t.Errorf("%s: the backend does not learn that its client is gone", proto)
	}
}

// checkFlushPeriodic: what the backend sends within a second arrives together when it is over.
func checkFlushPeriodic(t *testing.T, s *site) {
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	const rounds = 3
	of := map[string]*script{}
	for _, proto := range protocols {
		of["/"+proto] = &script{make(chan string), rounds*len("abc") + len("end")}
	}
	scripts(b, of)
	var running sync.WaitGroup
	for _, proto := range protocols {
		running.Go(func() {
			script := of["/"+proto]
			begun := time.Now()
			body, _ := s.read(t, proto, "/"+proto)
			if took := time.Since(begun); took < time.Second {
				t.Errorf("%s: the header arrives after %v, want 1s", proto, took)
			}
			for range rounds {
				begun := time.Now()
				for _, piece := range []string{"a", "b", "c"} {
					script.send(t, piece)
				}
				sent := time.Since(begun)
				first := make([]byte, 1)
				if _, err := io.ReadFull(body, first); err != nil {
					t.Errorf("%s: %v", proto, err)
					return
				}
				took := time.Since(begun)
				rest := make([]byte, 2)
				if _, err := io.ReadFull(body, rest); err != nil || string(first)+string(rest) != "abc" {
					t.Errorf("%s: got %q%q, %v", proto, first, rest, err)
					return
				}
				if all := time.Since(begun); took < time.Second-sent || all > took+900*time.Millisecond || took > 5*time.Second {
					t.Errorf("%s: the first piece took %v, all took %v; want 1s for both", proto, took, all)
				}
			}
			script.send(t, "end")
			close(script.pieces)
			if rest, err := io.ReadAll(body); string(rest) != "end" || err != nil {
				t.Errorf("%s: %q, %v", proto, rest, err)
			}
		})
	}
	running.Wait()
}
