package stream

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tally is a writer that counts writes.
type tally struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	writes int
}

func (s *tally) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.buf.Write(p)
}

func (s *tally) state() (text string, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String(), s.writes
}

func TestStreamGathersLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tally
		s := New(&w, Pace{Hold: HoldFor})
		line := []byte("1\n")
		s.Write(line)
		line[0] = '2' // the stream has a copy
		s.Write(line)
		synctest.Wait()
		if text, _ := w.state(); text != "" {
			t.Errorf("written at once: %q", text)
		}
		time.Sleep(HoldFor) // on the bubble's clock
		synctest.Wait()
		if text, n := w.state(); text != "1\n2\n" || n != 1 {
			t.Errorf("%q in %d writes", text, n)
		}
		s.Put([]byte("error\n"), true)
		synctest.Wait()
		if text, n := w.state(); !strings.HasSuffix(text, "error\n") || n != 2 {
			t.Errorf("after an urgent line: %q in %d writes", text, n)
		}
		for range flushAt / 100 {
			s.Write(append(bytes.Repeat([]byte("x"), 100), '\n'))
		}
		synctest.Wait()
		if _, n := w.state(); n != 3 {
			t.Errorf("a full buffer is not written: %d writes", n)
		}
	})
}

func TestStreamWithoutHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tally
		s := New(&w, Pace{})
		s.Write([]byte("1\n"))
		synctest.Wait()
		if text, _ := w.state(); text != "1\n" {
			t.Errorf("on a terminal: %q", text)
		}
	})
}

func TestStreamBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		var got bytes.Buffer
		s := New(writerFunc(func(p []byte) (int, error) {
			<-open
			return got.Write(p)
		}), Pace{Hold: HoldFor})
		line := append(bytes.Repeat([]byte("x"), 1023), '\n')
		start := time.Now()
		var dropped int
		for range 3 * maxPending / len(line) {
			if _, err := s.Write(line); err != nil {
				dropped++
			}
		}
		if d := time.Since(start); d != maxWait {
			t.Errorf("writers of a blocked log waited %v in all, want %v", d, maxWait)
		}
		if dropped == 0 || s.TakeLost() != 0 {
			t.Errorf("%d lines dropped, some reported before the writer moves", dropped)
		}
		if err := s.Sync(); err == nil || time.Since(start) != maxWait+maxSync {
			t.Errorf("Sync of a blocked log: %v after %v", err, time.Since(start))
		}
		close(open)
		if err := s.Sync(); err != nil {
			t.Error(err)
		}
		if n := s.TakeLost(); n != int64(dropped) {
			t.Errorf("%d lines lost, %d reported", dropped, n)
		}
		if kept := got.Len() / len(line); kept+dropped != 3*maxPending/len(line) {
			t.Errorf("%d lines written and %d dropped", kept, dropped)
		}
		if _, err := s.Write(line); err != nil {
			t.Errorf("after it moves: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Write(line); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// A writer that is merely slow loses nothing: callers wait for it.
func TestStreamSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		s := New(writerFunc(func(p []byte) (int, error) {
			time.Sleep(900 * time.Millisecond)
			return got.Write(p)
		}), Pace{Hold: HoldFor})
		line := append(bytes.Repeat([]byte("x"), 1023), '\n')
		for range 5 * maxPending / len(line) {
			if _, err := s.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if got.Len() != 5*maxPending {
			t.Errorf("%d of %d bytes written", got.Len(), 5*maxPending)
		}
	})
}

func TestStreamError(t *testing.T) {
	s := New(writerFunc(func(p []byte) (int, error) { return 2, errors.New("disk full") }), Pace{Hold: time.Hour})
	for _, line := range []string{"a\n", "b\n", "c\n"} {
		s.Write([]byte(line))
	}
	if err := s.Sync(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Sync: %v", err)
	}
	if err := s.Sync(); err != nil {
		t.Errorf("the second Sync: %v", err)
	}
	if n := s.TakeLost(); n != 2 {
		t.Errorf("%d lines lost, want 2", n)
	}
}

// Lines of many goroutines never mix.
func TestStreamWholeLines(t *testing.T) {
	var w tally
	s := New(&w, Pace{Hold: HoldFor})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				s.Put([]byte(fmt.Sprintf("<%d %d>\n", g, i)), i%100 == 0)
			}
		})
	}
	wg.Wait()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	text, writes := w.state()
	next := [8]int{}
	for line := range strings.Lines(text) {
		var g, i int
		if _, err := fmt.Sscanf(line, "<%d %d>\n", &g, &i); err != nil || i != next[g] {
			t.Fatalf("line %q of %d, want %d: %v", line, g, next[g], err)
		}
		next[g]++
	}
	if next != [8]int{1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000} || writes > 4000 {
		t.Errorf("%v lines in %d writes", next, writes)
	}
}

// TestStreamDirect: who logs alone writes; the lines of others that come
// meanwhile are written together, by none of them.
func TestStreamDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tally
		open := make(chan struct{})
		block := false
		s := New(writerFunc(func(p []byte) (int, error) {
			if block {
				<-open
			}
			return w.Write(p)
		}), Pace{Direct: true, Hold: HoldFor})
		s.Write([]byte("1\n"))
		if text, _ := w.state(); text != "1\n" {
			t.Errorf("written when the call has returned: %q", text)
		}
		block = true
		go s.Write([]byte("2\n")) // is stuck
		synctest.Wait()
		start := time.Now()
		s.Write([]byte("3\n"))
		s.Write([]byte("4\n"))
		if d := time.Since(start); d != 0 {
			t.Errorf("others waited %v", d)
		}
		close(open)
		synctest.Wait()
		if text, n := w.state(); text != "1\n2\n3\n4\n" || n != 3 {
			t.Errorf("%q in %d writes", text, n)
		}
		s.Write([]byte("5\n"))
		if text, n := w.state(); text != "1\n2\n3\n4\n5\n" || n != 4 {
			t.Errorf("%q in %d writes", text, n)
		}
	})
}

// TestStreamImpatient: lines that do not fit are dropped, counted and told of,
// and nobody waits.
func TestStreamImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		s := New(writerFunc(func(p []byte) (int, error) { <-open; return len(p), nil }), Pace{Hold: HoldFor, Impatient: true})
		var told int64
		s.Failed = func(err error, lost int64) {
			if err != nil {
				t.Error(err)
			}
			told += lost
		}
		line := append(bytes.Repeat([]byte("x"), 1023), '\n')
		start, dropped := time.Now(), int64(0)
		for range 3 * maxPending / len(line) {
			if _, err := s.Write(line); errors.Is(err, ErrBlocked) {
				dropped++
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("writers waited %v", d)
		}
		if dropped < 1000 || told != dropped {
			t.Errorf("%d lines dropped, told of %d", dropped, told)
		}
		close(open)
		if err := s.Sync(); err != nil {
			t.Error(err)
		}
		if n := s.TakeLost(); n != dropped {
			t.Errorf("%d lines dropped, %d reported", dropped, n)
		}
	})
}

// ended is a writer that knows where entries end, and takes n bytes.
type ended struct {
	writerFunc
	n    int
	ends []int
}

func (e *ended) WriteEntries(p []byte, ends []int) (int, error) {
	e.ends = append(e.ends, ends...)
	return min(e.n, len(p)), errors.New("disk full")
}

// TestStreamEntries: entries are counted, not lines.
func TestStreamEntries(t *testing.T) {
	e := &ended{n: 4}
	s := New(e, Pace{Hold: time.Hour})
	for _, entry := range []string{"a\nb\n", "c\nd\n", "\n\n\n"} {
		s.Write([]byte(entry))
	}
	if err := s.Sync(); err == nil {
		t.Error("no error")
	}
	if n := s.TakeLost(); n != 2 || fmt.Sprint(e.ends) != "[4 8 11]" {
		t.Errorf("%d entries lost; they end at %v", n, e.ends)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
