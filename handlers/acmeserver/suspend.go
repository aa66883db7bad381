package acmeserver

import "errors"

// errElsewhere says that the database cannot be used here any more.
var errElsewhere = errors.New("another process has the database of the ACME server, or it could not be opened again; try again in a moment")

// Suspend releases all databases, so that another process can have them. Until Resume or Abandon whoever uses one waits.
func (d *Databases) Suspend() error {
	d.suspending.Lock()
	defer d.suspending.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.open {
		s.store.mu.Lock()
		d.suspended = append(d.suspended, s.store)
		if err := s.store.shut(); err != nil {
			s.log.Error(err.Error()) // what was written is on disk
		}
	}
	return nil
}

// Resume opens the databases again.
func (d *Databases) Resume() error { return d.unsuspend((*store).open) }

// Abandon leaves the databases to the other process.
func (d *Databases) Abandon() { _ = d.unsuspend(func(*store) error { return nil }) }

func (d *Databases) unsuspend(f func(*store) error) error {
	d.suspending.Lock()
	defer d.suspending.Unlock()
	var errs []error
	for _, s := range d.suspended {
		errs = append(errs, f(s))
		s.mu.Unlock()
	}
	d.suspended = nil
	return errors.Join(errs...)
}
