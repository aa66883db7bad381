package handover

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		if !g.Enter() || !g.Enter() {
			t.Fatal("a new gate is shut")
		}
		shut := make(chan error, 1)
		go func() { shut <- g.Shut(t.Context()) }()
		synctest.Wait()
		if g.Enter() {
			t.Error("let in while it shuts")
		}
		g.Leave()
		synctest.Wait()
		select {
		case <-shut:
			t.Fatal("shut while somebody is in")
		default:
		}
		g.Leave()
		if err := <-shut; err != nil || g.Enter() {
			t.Errorf("not shut: %v", err)
		}
		g.Open()
		if !g.Enter() {
			t.Error("not open")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Shut(ctx); err == nil || !g.Enter() {
			t.Errorf("shut though somebody is in: %v", err)
		}
		g.Leave()
		g.Leave()
		if err := g.Shut(t.Context()); err != nil || g.Enter() {
			t.Errorf("not shut: %v", err)
		}
	})
}

func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := NewTurn()
		ctx, err := turn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := turn.Begin(t.Context()); err != ErrBusy {
			t.Errorf("two at a time: %v", err)
		}
		turn.End(false)
		if ctx.Err() == nil {
			t.Error("the context of an attempt lives on")
		}
		if _, err = turn.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		turn.End(true)
		<-turn.Over()
		if _, err := turn.Begin(t.Context()); err != ErrOver {
			t.Errorf("after the end: %v", err)
		}
		if !turn.Close() {
			t.Error("not over")
		}

		turn = NewTurn()
		if ctx, err = turn.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		closed := make(chan bool, 1)
		go func() { closed <- turn.Close() }()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrEnd) {
			t.Error(context.Cause(ctx))
		}
		turn.End(false)
		if <-closed {
			t.Error("over")
		}
		if _, err := turn.Begin(t.Context()); err != ErrEnd {
			t.Errorf("while it stops: %v", err)
		}
	})
}
