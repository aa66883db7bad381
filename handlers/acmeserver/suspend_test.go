package acmeserver

import (
	"testing"
	"time"
)

// TestSuspend: another process can have the database for a while, and requests wait for it; one that has it for good has what
// was written.
func TestSuspend(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	s := w.handler.Load().state.store
	look := func(path string) error {
		other, err := openStore(path, "local")
		if err == nil {
			err = other.close()
		}
		return err
	}
	if err := w.databases.Suspend(); err != nil {
		t.Fatal(err)
	}
	if err := look(s.path); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() {
		if err := w.databases.Resume(); err != nil {
			t.Error(err)
		}
	})
	c.issue("a.internal")
	if err := w.databases.Resume(); err != nil {
		t.Error(err)
	}
	if err := w.databases.Suspend(); err != nil {
		t.Fatal(err)
	}
	w.databases.Abandon()
	if err := look(s.path); err != nil {
		t.Fatal(err)
	}
	if err := s.view(func(tx) error { return nil }); err != errElsewhere {
		t.Error(err)
	}
	if err := s.update(func(tx) error { return nil }); err != errElsewhere {
		t.Error(err)
	}
}
