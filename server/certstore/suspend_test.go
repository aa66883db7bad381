package certstore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestSuspend(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	stores := NewStores(dir)
	b := NewBolt(stores, path)
	must(t, b.Open())
	defer b.Close()
	store(t, b, "a")
	for range 2 {
		must(t, stores.Suspend())
		other := NewBolt(NewStores(dir), path)
		must(t, other.Open())
		done := make(chan error, 1)
		go func() { done <- b.Store(bg, "b", []byte("x")) }()
		if !other.Exists(bg, "a") {
			t.Error("the value is gone")
		}
		select {
		case err := <-done:
			t.Errorf("stored in a file that another one has: %v", err)
		default:
		}
		other.Close()
		must(t, stores.Resume())
		must(t, stores.Resume())
		must(t, <-done)
	}
	must(t, stores.Suspend())
	done := make(chan error, 1)
	go func() { done <- b.Store(bg, "c", []byte("x")) }()
	stores.Abandon()
	if err := <-done; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after it was left: %v", err)
	}
	b.Close()
	other := NewBolt(NewStores(dir), path)
	must(t, other.Open())
	defer other.Close()
	if !other.Exists(bg, "b") || other.Exists(bg, "c") {
		t.Error("what is stored is not what was")
	}
}
