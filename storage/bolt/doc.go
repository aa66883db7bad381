// Package bolt is the default storage.Store: one bbolt file of mode 0600.
//
// # What is written when
//
// A commit is one bbolt transaction: it appends one small record for each
// edit and is on disk after two fdatasyncs, whatever the size of the document
// and however many edits it groups. Whole documents (snapshots) are written by
// a goroutine of the store: after 256 revisions, or when the edits since the
// last one outweigh it, and at Close. An edit that is a whole document (a
// load) is stored once and is its own snapshot.
//
//	bucket       key                   value
//	store        "format"              "1"
//	records      number                header of the edit, and a small body
//	parts        number, index         pieces of a large body
//	snapshots    number                size and checksum of a document, or a
//	                                   note that it is the body of that edit
//	pieces       number, index         pieces of the document
//
// # Why snapshots are inside
//
// A file beside the database, written by rename, would not block a writer
// either. But then the store is two things that must agree: a copy taken of
// one but not the other, a leftover file, a directory sync that failed are
// states that someone has to think about. In the database a snapshot exists
// from the moment the transaction with its checksum is committed, and a copy
// of one file is a backup. What speaks against it, that bbolt has one writer,
// is answered by size: a snapshot goes in pieces of 32 KB, two to a
// transaction, with a pause three times as long as the transaction took after each. A
// commit waits for one of them at most, and every other one finds the
// database free. Pruning works the same way.
//
// Pieces have their own buckets because bbolt rewrites a leaf page with all
// that is in it: a large value among the records would be written again by
// the commits after it.
//
// # Size
//
// The free list isn't stored (NoFreelistSync), else each commit would write a
// list as long as the number of free pages; opening reads the pages' headers
// instead. Freed pages are used again, so the file stays near the largest
// amount it ever had to hold, which storage.Limits bounds. Opening also checks
// that every page in use is what it is referred to as, since bbolt would crash
// on a damaged one; records and documents have checksums of their own.
//
// # Failure
//
// If a write or sync fails, the commit fails, and the state on disk is made
// certain before anything else is written: the file is closed, the meta page
// of the failed transaction, if it was written, is struck out and synced, and
// the file is opened again. (After a failed fdatasync the kernel may believe
// that a lost page is clean; bbolt alone would go on from it.) A file that
// can't be opened for writing is opened for reading: revisions can be read,
// commits fail with ErrFull, and each of them first tries to open for writing.
//
// # Exclusion
//
// A lock file beside the database (".lock") is held with flock and contains
// the pid, so that a second process can say who has the store. The lock goes
// when the process ends, however it ends; the file stays.
package bolt
