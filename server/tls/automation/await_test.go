package automation

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// awaits is how long Await takes.
func (r *rig) awaits(ctx context.Context, name string) time.Duration {
	start := time.Now()
	r.m.Await(ctx, name)
	return time.Since(start)
}

// A handshake waits for the first certificate of a name, for a while, and for no other.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemory())
		defer r.m.Close()
		took := func(name string, want time.Duration) {
			t.Helper()
			if got := r.awaits(t.Context(), name); got != want {
				t.Errorf("%s was waited for %v, want %v", name, got, want)
			}
		}
		slow := func(d time.Duration, err error) func(string) error {
			return func(string) error { time.Sleep(d); return err }
		}
		r.public.failing(slow(3*time.Second, nil))
		r.m.Manage([]string{"slow.example", "*.wild.example"}, nil)
		took("other.example", 0)
		took("Slow.Example", 3*time.Second)
		if by := r.issuer("slow.example"); by != "public" {
			t.Errorf("after that there is a certificate of %q", by)
		}
		took("slow.example", 0)
		took("a.wild.example", 0) // both were obtained at once

		r.public.failing(slow(time.Hour, nil))
		r.m.Manage([]string{"later.example", "a.wild.example", "gone.example"}, nil)
		took("later.example", maxAwait)
		took("a.wild.example", 0) // the wildcard is there
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := r.awaits(ctx, "later.example"); got != time.Second {
			t.Errorf("a client that has gone was waited for %v", got)
		}
		go func() { time.Sleep(2 * time.Second); r.m.Manage(nil, []string{"gone.example"}) }()
		took("gone.example", 2*time.Second)

		r.public.failing(slow(4*time.Second, errors.New("no")))
		r.m.Manage([]string{"fails.example"}, nil)
		took("fails.example", 4*time.Second)
		took("fails.example", 0)
	})
}
