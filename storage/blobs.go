package storage

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// BlobInfo describes what is stored under a key.
type BlobInfo struct {
	Key string
	// Modified is when the value was last put; zero for a folder where the
	// store doesn't know.
	Modified time.Time
	// Size is the length of the value in bytes, 0 for a folder.
	Size int64
	// Folder reports that the key has no value itself but is the beginning
	// of other keys ("a" where there is "a/b").
	Folder bool
}

// Blobs keeps named values, and locks that hold across all processes which
// use the same storage. All methods may be called concurrently. Keys are
// slash-separated names, see CheckKey; a malformed key is ErrKey. Values are
// small (certificates, keys, accounts) and are read and written whole.
type Blobs interface {
	// Put stores value under key, replacing an older value. A reader, also
	// after a crash, sees the old value or the new one, never a mixture.
	// When it returns without error the value is durable. ErrFull: it can't
	// be stored; an older value is still there. It fails if key is a folder,
	// or if the beginning of key has a value.
	Put(ctx context.Context, key string, value []byte) error
	// Get returns the value under key. ErrNotFound: there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Delete removes key, or, if it is a folder, every key in it.
	// ErrNotFound: there was nothing.
	Delete(ctx context.Context, key string) error
	// List returns, sorted, the keys in the folder prefix ("" for the
	// outermost): with recursive those that have values, at any depth,
	// without it what is directly inside, folders included. ErrNotFound:
	// there is no such folder; the outermost always exists. Whether a folder
	// outlives its last key is up to the storage.
	List(ctx context.Context, prefix string, recursive bool) ([]string, error)
	// Stat describes key. ErrNotFound: it is neither a value nor a folder.
	Stat(ctx context.Context, key string) (BlobInfo, error)

	// Lock takes the lock name (same syntax as a key's), waiting until it is
	// free or ctx ends. The lock of a process that died is taken over after
	// some seconds. Locks are not reentrant, and any goroutine may unlock.
	Lock(ctx context.Context, name string) error
	// Unlock releases a lock taken through this value. ErrNotFound: it
	// wasn't.
	Unlock(ctx context.Context, name string) error
}

// Limits of CheckKey, in bytes: those of a key, and those of one segment,
// chosen so that every file system takes it with a suffix.
const (
	MaxKeyLength        = 1024
	MaxKeySegmentLength = 200
)

// TempPrefix begins the names of unfinished files; no segment of a key may
// begin with it.
const TempPrefix = ".tmp-"

// CheckKey returns an error that is ErrKey unless key is well formed: up to
// 1,024 bytes, one or more segments of 1 to 200 bytes separated by single
// slashes; no segment is "." or "..", begins with TempPrefix, or contains a
// backslash, a colon or a control character. So a key is a relative path on
// every system and never leads out of its root.
func CheckKey(key string) error {
	if len(key) > MaxKeyLength {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrKey, len(key), MaxKeyLength)
	}
	for seg := range strings.SplitSeq(key, "/") {
		switch {
		case seg == "":
			return fmt.Errorf("%w %q: it has an empty segment", ErrKey, key)
		case seg == "." || seg == "..":
			return fmt.Errorf("%w %q: it has a segment %q", ErrKey, key, seg)
		case len(seg) > MaxKeySegmentLength:
			return fmt.Errorf("%w %q: a segment is longer than %d bytes", ErrKey, key, MaxKeySegmentLength)
		case strings.HasPrefix(seg, TempPrefix):
			return fmt.Errorf("%w %q: segments beginning with %q are reserved", ErrKey, key, TempPrefix)
		case strings.ContainsFunc(seg, badKeyRune):
			return fmt.Errorf("%w %q: backslash, colon and control characters are not allowed", ErrKey, key)
		}
	}
	return nil
}

func badKeyRune(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == ':' }
