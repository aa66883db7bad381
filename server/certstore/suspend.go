package certstore

import (
	"errors"
	"fmt"
)

// Suspend releases the files of all storages of the kind bolt, so that another process can have them. Until Resume or
// Abandon whoever uses one waits.
func (s *Stores) Suspend() error {
	s.suspending.Lock()
	defer s.suspending.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, shared := range s.files {
		d := shared.database
		d.writing.Lock()
		d.mu.Lock()
		if d.db != nil {
			_ = guard(d.db.Close) // what was stored is on disk
		}
		d.db, d.file = nil, nil
		s.suspended = append(s.suspended, d)
	}
	return nil
}

// Resume opens the files again. One that cannot be opened is tried again when something is stored.
func (s *Stores) Resume() error {
	return s.unsuspend(func(d *database) error {
		if err := d.open(); err != nil {
			return fmt.Errorf("opening the storage %s again: %w", d.path, err)
		}
		return nil
	})
}

// Abandon leaves the files to the other process.
func (s *Stores) Abandon() {
	_ = s.unsuspend(func(d *database) error {
		d.closed = true
		return nil
	})
}

func (s *Stores) unsuspend(f func(*database) error) error {
	s.suspending.Lock()
	defer s.suspending.Unlock()
	var errs []error
	for _, d := range s.suspended {
		errs = append(errs, f(d))
		d.mu.Unlock()
		d.writing.Unlock()
	}
	s.suspended = nil
	return errors.Join(errs...)
}
