package journal

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
)

func TestHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	h, err := Hold(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	commit := func(s storage.Store, base uint64) error {
		_, err := s.Commit(t.Context(), base, []storage.Change{{Edit: storage.Edit{Verb: storage.VerbLoad, Body: []byte("{}")}}}, nil)
		return err
	}
	if err := commit(h, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Suspend(); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := h.Revision(context.Background(), 1)
			read <- err
		}()
		other, err := Open(path, true, nil) // the file is free
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-read:
			t.Fatalf("read from a store that another one has: %v", err)
		default:
		}
		time.AfterFunc(700*time.Millisecond, func() { other.Close() }) // longer than opening waits
		if err := h.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		if err := h.Resume(); err != nil {
			t.Error(err)
		}
	}
	if err := commit(h, 1); err != nil {
		t.Error(err)
	}
	if err := h.Suspend(); err != nil {
		t.Fatal(err)
	}
	h.Abandon()
	h.Abandon()
	other, err := Open(path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := commit(h, 2); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("after it was left: %v", err)
	}
	if err := commit(other, 2); err != nil {
		t.Error(err)
	}
	if _, open := <-h.Watch(t.Context()); open {
		t.Error("a watch of nothing")
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
