package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Change is one request to change the document.
type Change struct {
	// Edit is what to do to the document.
	Edit config.Edit
	// Resolve, if set, gives the path of the edit when its turn has come, from
	// the document as the changes before it left it: an object named by its @id
	// may have moved since the change was asked for. Its error is returned as it
	// is.
	Resolve func(*config.Doc) (config.Path, error)
	// IfMatch is the If-Match header, "" for none. It is checked against the
	// document as the changes before this one left it.
	IfMatch string
	// Force applies the change even if the document stays the same, and checks
	// every file and variable that the configuration has read again.
	Force bool
	// DryRun does all but persist and swap.
	DryRun bool
	// Origin says who asked, for the history: an address, a file name.
	Origin string
	// Verb names the kind of change in the history: "load", "POST", "PUT",
	// "PATCH", "DELETE", "restore".
	Verb string
	// Source is the text that the document was adapted from, if any, and
	// SourceType what it is ("caddyfile").
	Source     []byte
	SourceType string
	// Started, if set, is called by the applier when it takes the change up.
	Started func()
}

// Report is what a change cost and led to.
type Report struct {
	// Revision is the number of the revision that is now current.
	Revision uint64
	// Changed is false if the document stayed as it was.
	Changed bool
	// Reused, Built and Closed count modules: taken over, compiled, and left
	// behind.
	Reused, Built, Closed int
	// Duration is the time the applier spent on this change, waiting in the
	// queue not included.
	Duration time.Duration
	// Warnings are things accepted but likely not meant.
	Warnings schema.Problems
}

// Rejected is the error of a document that cannot run. The document before
// keeps serving.
type Rejected struct{ Problems schema.Problems }

// Error lists the first few problems.
func (r *Rejected) Error() string { return r.Problems.Error() }

// ErrOverload is returned when the queue of changes is full.
var ErrOverload = errors.New("too many changes are waiting; try again in a moment")

// ErrClosed is returned by an engine that is shutting down.
var ErrClosed = errors.New("the server is shutting down and takes no more changes")

// NotStored is the error of a change that is valid but could not be persisted.
type NotStored struct{ Err error }

// Error says what failed.
func (n *NotStored) Error() string {
	return fmt.Sprintf("the change is valid but could not be stored, so it was not applied: %v", n.Err)
}

// Unwrap returns the store's error.
func (n *NotStored) Unwrap() error { return n.Err }

// Entry is one accepted change as the journal gets it.
type Entry struct {
	Verb, Path string
	// Value is the new value; nil for a deletion.
	Value      *config.Node
	Origin     string
	Source     []byte
	SourceType string
	// Digest is that of the document after the change.
	Digest uint64
}

// Journal keeps accepted changes. The engine calls it from one goroutine.
type Journal interface {
	// Commit appends the entries as revisions base+1 and on, all or none, and
	// returns when they are on disk. The document function gives the whole
	// document after the last entry, should the journal want a snapshot; it may
	// be called later and from another goroutine.
	Commit(ctx context.Context, base uint64, entries []Entry, document func() []byte) error
}

// Place fills in the path of the edit, if that was left to Resolve.
func (c *Change) Place(doc *config.Doc) error {
	if c.Resolve == nil {
		return nil
	}
	path, err := c.Resolve(doc)
	if err != nil {
		return err
	}
	c.Edit.Path, c.Edit.RequestPath = path, "/config"+path.String()
	return nil
}
