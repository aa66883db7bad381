package upstream

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config"
)

func TestLatencyOfTheLastMinutes(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewPool(func() time.Time { return now })
	h := p.Acquire("10.20.0.1:80")
	if l := p.List()[0].Latency; l != nil {
		t.Errorf("latency of nothing: %+v", l)
	}
	for range 97 {
		h.Answered(200, now, time.Millisecond)
	}
	for range 3 {
		h.Answered(200, now, time.Second)
	}
	near := func(got, want float64) bool { return math.Abs(got-want) < want*0.065 }
	l := p.List()[0].Latency
	if l.Count != 100 || !near(l.P50, 0.001) || !near(l.P99, 1) {
		t.Errorf("got %+v", l)
	}
	now = now.Add(time.Minute)
	h.Answered(200, now, 10*time.Millisecond)
	if l := p.List()[0].Latency; l.Count != 101 {
		t.Errorf("in the next minute: %+v", l)
	}
	now = now.Add(time.Minute)
	if l := p.List()[0].Latency; l == nil || l.Count != 1 || !near(l.P50, 0.01) {
		t.Errorf("in the one after it: %+v", l)
	}
	now = now.Add(time.Hour)
	if l := p.List()[0].Latency; l != nil {
		t.Errorf("an hour later: %+v", l)
	}
}

func TestStreamsAreListedAndEnded(t *testing.T) {
	p := NewPool(nil)
	a, b := p.Acquire("10.20.0.1:80"), p.Acquire("10.20.0.2:80")
	ended := map[string]int{}
	first, second := config.NewString("a"), config.NewString("b")
	open := func(h *Host, name string, n *config.Node) *Stream {
		place := &Place{}
		place.Move(n)
		s := &Stream{Kind: "websocket", Address: h.Dial(), Client: name, Place: place, End: func() { ended[name]++ }}
		h.OpenStream(s)
		return s
	}
	one := open(a, "one", first)
	open(a, "two", second)
	open(b, "three", second)
	names := func(f StreamFilter, after uint64, limit int) (list string) {
		for _, s := range p.Streams(f, after, limit) {
			list += s.Client + " "
		}
		return list
	}
	below := map[*config.Node]string{second: ""}
	for _, tt := range []struct {
		filter StreamFilter
		after  uint64
		limit  int
		want   string
	}{
		{StreamFilter{}, 0, 10, "one two three "},
		{StreamFilter{}, 1, 1, "two "},
		{StreamFilter{ID: 3}, 0, 10, "three "},
		{StreamFilter{ID: 9}, 0, 10, ""},
		{StreamFilter{Upstream: "10.20.0.1:80"}, 0, 10, "one two "},
		{StreamFilter{Nodes: below}, 0, 10, "two three "},
		{StreamFilter{Upstream: "10.20.0.1:80", Nodes: below}, 0, 10, "two "},
		{StreamFilter{Upstream: "10.20.0.2:80", ID: 1}, 0, 10, ""},
	} {
		if got := names(tt.filter, tt.after, tt.limit); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt, got, tt.want)
		}
	}
	if n := p.CloseStreams(StreamFilter{Upstream: "10.20.0.1:80"}); n != 2 || ended["one"] != 1 || ended["two"] != 1 || ended["three"] != 0 {
		t.Errorf("%d ended: %v", n, ended)
	}
	one.Done()
	if got := names(StreamFilter{}, 0, 10); got != "two three " {
		t.Errorf("left: %q", got)
	}
	if l := p.List(); l[0].Streams != 1 || l[1].Streams != 1 {
		t.Errorf("counted: %+v", l)
	}
}

func TestDrainIsUndoneAndEndsWithTheHost(t *testing.T) {
	p := NewPool(nil)
	h := p.Acquire("10.20.0.1:80")
	if s, err := p.Drain("10.20.0.1:80", -1); err != nil || !s.Draining || !h.Drained() {
		t.Errorf("%+v, %v", s, err)
	}
	if again := p.Acquire("10.20.0.1:80"); !again.Drained() {
		t.Error("an edit ended the drain")
	}
	p.Release(h)
	if s, err := p.Undrain("10.20.0.1:80"); err != nil || s.Draining || h.Drained() {
		t.Errorf("%+v, %v", s, err)
	}
	var unknown *UnknownHostError
	if _, err := p.Drain("10.20.0.9:80", 0); !errors.As(err, &unknown) {
		t.Errorf("an unknown host: %v", err)
	}
	_, _ = p.Drain("10.20.0.1:80", -1)
	p.Release(h)
	if p.Acquire("10.20.0.1:80").Drained() {
		t.Error("a host that came back is still drained")
	}
}

func TestDrainEndsStreamsInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(nil)
		h := p.Acquire("10.20.0.1:80")
		ended := 0
		h.OpenStream(&Stream{Address: h.Dial(), End: func() { ended++ }})
		drain := func(after time.Duration) { _, _ = p.Drain("10.20.0.1:80", after) }
		drain(30 * time.Second)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if ended != 0 {
			t.Error("ended early")
		}
		drain(30 * time.Second) // the later one counts
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if ended != 0 {
			t.Error("ended by the first drain")
		}
		_, _ = p.Undrain("10.20.0.1:80")
		time.Sleep(time.Minute)
		synctest.Wait()
		if ended != 0 {
			t.Error("ended although the drain was undone")
		}
		drain(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if ended != 1 {
			t.Error("not ended")
		}
	})
}

func TestConnectionsAreCounted(t *testing.T) {
	var c Connections
	first, second := c.Track("a:1"), c.Track("a:1")
	if n := c.Count("a:1"); n != 2 {
		t.Errorf("%d open", n)
	}
	first()
	first()
	if n := c.Count("a:1"); n != 1 {
		t.Errorf("%d open after one was closed twice", n)
	}
	second()
	if n := c.Count("a:1"); n != 0 || len(c.open) != 0 {
		t.Errorf("%d open, %d remembered", n, len(c.open))
	}
}
