// Package storage says how the revisions of the document survive a restart.
// Certificates are kept elsewhere, in server/certstore.
//
// It holds the contract, types and errors only. The stores are the packages
// below it: bolt (one bbolt file, the default) and mem (nothing survives).
// Package storagetest is the contract as a test; a store is finished when it
// passes.
//
// # Revisions
//
// A document is only ever changed by edits. Each accepted edit is a Revision,
// numbered 1, 2, 3, ... without gaps. A store keeps the edits and now and then
// a whole document, and gives any kept revision back by replaying edits over
// the nearest whole document before it. How an edit turns one document into
// the next is not known here: the store is opened with a Replay function.
// Documents and edit bodies are opaque bytes to a store (by convention
// canonical JSON), and they are returned byte for byte.
package storage

import (
	"context"
	"time"
)

// Verbs of an Edit with a meaning for a store. All others ("POST", "PUT",
// "PATCH", "DELETE", ...) mean something to the Replay function only.
const (
	// VerbLoad replaces the whole document by Edit.Body.
	VerbLoad = "load"
	// VerbRestore replaces the whole document by Edit.Body, which is the
	// document of an older revision.
	VerbRestore = "restore"
)

// An Edit is one change to the document, as it was asked for.
type Edit struct {
	// Verb is the admin verb, or VerbLoad or VerbRestore.
	Verb string
	// Path is where the document is changed, in the caller's notation.
	Path string
	// Body is the new value, canonical JSON; nil where there is none. For a
	// whole edit (see Whole) it is the document after the edit, and nil means
	// the null document. An empty Body is kept as nil.
	Body []byte
	// Source is the text Body was adapted from, if it was, and SourceType
	// names its language ("caddyfile").
	Source     []byte `json:",omitempty"`
	SourceType string `json:",omitempty"`
}

// Whole reports whether Body is the whole document after the edit, so that
// nothing before the edit is needed to rebuild it.
func (e Edit) Whole() bool { return e.Verb == VerbLoad || e.Verb == VerbRestore }

// A Change is an Edit that is to become a Revision.
type Change struct {
	Edit Edit
	// Origin says who asked for it (address, token name, file).
	Origin string
	// Digest identifies the document after the edit; 0 if it isn't known. A
	// store opened with a digest function checks rebuilt documents against it.
	Digest uint64
}

// A Revision is a Change that was accepted.
type Revision struct {
	// Number counts from 1, without gaps.
	Number uint64
	// Time is when it was committed, UTC.
	Time time.Time
	// Origin, Edit and Digest are the Change's.
	Origin string
	Edit   Edit
	Digest uint64
	// Bytes is the size of the edit's Body and Source together, also where
	// those are left out.
	Bytes int64
}

// A Snapshot is a document with the revision that made it.
type Snapshot struct {
	Revision Revision
	// Document is nil for the null document. The caller may keep it, and must
	// not change it.
	Document []byte
}

// Limits bound how much history is kept. The latest revision is kept in any
// case, and so is what is needed to rebuild it.
type Limits struct {
	// MaxRevisions is how many revisions can be read back. Default 1,000.
	MaxRevisions int
	// MaxBytes bounds edits and stored documents together, in bytes. Older
	// revisions than fit are dropped. Default 256 MiB.
	MaxBytes int64
}

// Defaults of Limits.
const (
	DefaultMaxRevisions       = 1000
	DefaultMaxBytes     int64 = 256 << 20
)

// WithDefaults replaces each limit that isn't positive by its default.
func (l Limits) WithDefaults() Limits {
	if l.MaxRevisions <= 0 {
		l.MaxRevisions = DefaultMaxRevisions
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	return l
}

// Replay applies edits, oldest first, to a document (nil is the null
// document) and returns the document after the last of them. It takes many
// edits at once so that a large document is parsed and printed once however
// many edits there are. It must give the same bytes every time, must not
// change or keep its arguments, and may be called from several goroutines.
// Whole edits are never handed to it.
type Replay func(document []byte, edits []Edit) ([]byte, error)

// Digest identifies a document (nil is the null document) by its contents. It
// must be stable across processes, and may be called from several goroutines.
type Digest func(document []byte) uint64

// DefaultHistoryLimit is the page size of History where none is given.
const DefaultHistoryLimit = 100

// A Store keeps the revisions of one document. All methods may be called
// concurrently; reads never wait for a commit. After Close every method
// returns an error that is ErrClosed. An error that is ErrCorrupt says what is
// damaged and what can be done about it; other revisions may still be
// readable.
type Store interface {
	// Load returns the latest revision and its document. The revision's
	// Body and Source are left out. ErrEmpty: nothing was ever committed.
	Load(ctx context.Context) (Snapshot, error)

	// Commit makes changes the revisions base+1, base+2, ... and returns
	// them. Body and Source are shared with changes and must not be modified
	// until Commit returns.
	//
	// It is all or nothing, also over a crash or power cut: when it returns
	// without error every one of the revisions is durable; when it returns an
	// error none of them exists. The context is looked at before the write
	// begins, never after, so that the outcome is always known. No changes is
	// no error and does nothing.
	//
	// document returns the document after the last of changes. A store calls
	// it only when it is due to write a whole document, once, from its own
	// goroutine, possibly some time after Commit has returned and during
	// Close. It may be nil; the store then rebuilds the document itself.
	//
	// ErrConflict: base isn't the number of the latest revision (0 for an
	// empty store). ErrFull: the changes can't be stored now, because the
	// disk is full, the file is read-only or too large, or the disk fails;
	// the store stays readable, and a later Commit works once the cause is
	// gone.
	Commit(ctx context.Context, base uint64, changes []Change, document func() []byte) ([]Revision, error)

	// History returns kept revisions numbered below before, newest first, at
	// most limit of them, with Body and Source left out. before 0 starts at
	// the latest; limit 0 means DefaultHistoryLimit. No revisions is no
	// error.
	History(ctx context.Context, before uint64, limit int) ([]Revision, error)

	// Revision returns revision n, its edit in full, and the document as it
	// was after it. ErrNotFound: it was never committed. ErrPruned: it was,
	// but Limits no longer allow for it.
	Revision(ctx context.Context, n uint64) (Snapshot, error)

	// Watch returns a channel on which every revision committed after the
	// call arrives in order, its edit in full. A slow reader holds up nobody
	// and loses nothing, except that revisions pruned before it gets to them
	// are skipped (Number tells). The channel is closed when ctx ends, when
	// the store is closed, or when a revision can't be read.
	Watch(ctx context.Context) <-chan Revision

	// Close lets the store finish what it does in the background and
	// releases it. Revisions are safe without it. A second Close does
	// nothing.
	Close() error
}
