package storage

import (
	"errors"
	"fmt"
	"io/fs"
)

// What the methods of Store return, wrapped with what was being done; compare
// with errors.Is.
var (
	// ErrEmpty says that a store has no revision yet.
	ErrEmpty = errors.New("the store is empty")
	// ErrConflict says that a commit was not based on the latest revision.
	ErrConflict = errors.New("the store has a newer revision")
	// ErrNotFound says that there is no such revision. It is also
	// fs.ErrNotExist.
	ErrNotFound error = notFoundError{}
	// ErrPruned says that a revision was dropped to keep the history within
	// its Limits.
	ErrPruned = errors.New("the revision is no longer kept")
	// ErrFull says that something can't be stored at present: the disk is
	// full, the file is read-only or reached a size limit, or the disk fails.
	ErrFull = errors.New("it cannot be stored")
	// ErrCorrupt says that what is stored is damaged.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
)

type notFoundError struct{}

func (notFoundError) Error() string { return "not found in the store" }

// Is lets code written for fs.ErrNotExist understand ErrNotFound.
func (notFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// A LockedError says that a store is in use by another process, or by another
// Open in this one.
type LockedError struct {
	// Path is the store's file.
	Path string
	// PID is the process that holds it, 0 if that isn't known.
	PID int
}

// Error names path and process.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("store %s is in use by another process", e.Path)
	}
	return fmt.Sprintf("store %s is in use by process %d", e.Path, e.PID)
}
