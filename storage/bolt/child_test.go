package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

var bg = context.Background()

// TestMain lets the test binary be its own child: SLUICE_BOLT_CHILD names what
// it is to do, SLUICE_BOLT_PATH the store.
func TestMain(m *testing.M) {
	path := os.Getenv("SLUICE_BOLT_PATH")
	var err error
	switch mode := os.Getenv("SLUICE_BOLT_CHILD"); mode {
	case "":
		os.Exit(m.Run())
	case "commit":
		err = commitForever(path)
	case "trace":
		err = commitTraced(path, scriptedOptions())
	case "trace-plain": // without work in the background
		err = commitTraced(path, Options{SnapshotEvery: 1 << 30, SnapshotBytes: 1 << 40})
	case "limit":
		err = commitLimited(path)
	case "readonly":
		err = commitReadOnly(path)
	case "open":
		err = openOnly(path)
	default:
		err = fmt.Errorf("unknown mode %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// The scripted history: every revision is known from its number, so that what
// a killed process left can be checked by another. Groups have groupSize
// members, thus none may be there in part.
const groupSize = 3

func scripted(n uint64) storage.Edit {
	switch {
	case n%97 == 0:
		return storage.Edit{Verb: storage.VerbLoad, Body: fmt.Appendf(nil, `{"load":%d,"pad":"%s"}`, n, strings.Repeat("p", int(n*7919%40_000)))}
	case n%31 == 0:
		return storagetest.Put("large", strings.Repeat("l", int(n*104729%9_000)))
	case n%11 == 0:
		return storage.Edit{Verb: "DELETE", Path: fmt.Sprint(n / 2 % 20)}
	}
	return storagetest.Put(fmt.Sprint(n%20), n)
}

// scriptedDocument returns the document of revision n.
func scriptedDocument(n uint64) []byte {
	var doc []byte
	from := n - n%97
	if from > 0 {
		doc = scripted(from).Body
	}
	var edits []storage.Edit
	for i := from + 1; i <= n; i++ {
		edits = append(edits, scripted(i))
	}
	doc, err := storagetest.Replay(doc, edits)
	if err != nil {
		panic(err)
	}
	return doc
}

// scriptedOptions make snapshots and pruning frequent.
func scriptedOptions() Options {
	return Options{
		Replay: storagetest.Replay, Digest: storagetest.Digest, SnapshotEvery: 20, SnapshotBytes: 20_000,
		Limits: storage.Limits{MaxRevisions: 150, MaxBytes: 3 << 20},
	}
}

// commitGroup commits the group after revision last, whose document is doc.
func commitGroup(s *Store, last uint64, doc []byte) ([]byte, error) {
	var changes []storage.Change
	for i := range uint64(groupSize) {
		e := scripted(last + 1 + i)
		doc = storagetest.Next(doc, e)
		changes = append(changes, storage.Change{Edit: e, Origin: "script", Digest: storagetest.Digest(doc)})
	}
	_, err := s.Commit(bg, last, changes, func() []byte { return doc })
	return doc, err
}

// loadScripted opens the store and checks it against the script.
func loadScripted(path string, o Options) (*Store, uint64, []byte, error) {
	s, err := Open(path, o)
	if err != nil {
		return nil, 0, nil, err
	}
	snap, err := s.Load(bg)
	if errors.Is(err, storage.ErrEmpty) {
		return s, 0, nil, nil
	}
	last := snap.Revision.Number
	switch {
	case err != nil:
	case last%groupSize != 0:
		err = fmt.Errorf("the latest revision, %d, is not the last of a group", last)
	case string(snap.Document) != string(scriptedDocument(last)):
		err = fmt.Errorf("revision %d has document %.100q, want %.100q", last, snap.Document, scriptedDocument(last))
	}
	if err != nil {
		s.Close()
		return nil, 0, nil, err
	}
	return s, last, snap.Document, nil
}

// commitForever commits until it is killed, and prints each number that is
// acknowledged.
func commitForever(path string) error {
	s, last, doc, err := loadScripted(path, scriptedOptions())
	if err != nil {
		return err
	}
	for {
		if doc, err = commitGroup(s, last, doc); err != nil {
			return err
		}
		last += groupSize
		if _, err := fmt.Printf("%d\n", last); err != nil {
			return err
		}
	}
}

// commitTraced makes 25 commits and closes the store, acknowledging each on
// standard output.
func commitTraced(path string, o Options) error {
	s, last, doc, err := loadScripted(path, o)
	if err != nil {
		return err
	}
	for range 25 {
		if doc, err = commitGroup(s, last, doc); err != nil {
			return err
		}
		last += groupSize
		fmt.Printf("%d\n", last)
	}
	return s.Close()
}

// commitLimited sets a file size limit little above the file, commits until
// that fails, and goes on when the limit is lifted.
func commitLimited(path string) error {
	s, last, doc, err := loadScripted(path, Options{Replay: storagetest.Replay, Digest: storagetest.Digest})
	if err != nil {
		return err
	}
	s.db.AllocSize = 64 << 10
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := syscall.Rlimit{Cur: uint64(info.Size()) + 256<<10, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	for range 1000 {
		var next []byte
		if next, err = commitGroup(s, last, doc); err != nil {
			break
		}
		doc, last = next, last+groupSize
	}
	if !errors.Is(err, storage.ErrFull) {
		return fmt.Errorf("over the file size limit: %v, want ErrFull", err)
	}
	big := storage.Change{Edit: storage.Edit{Verb: storage.VerbLoad, Body: []byte(`"` + strings.Repeat("b", 8<<20) + `"`)}}
	for range 3 {
		if err := checkScripted(s, last); err != nil {
			return fmt.Errorf("after a failed commit: %w", err)
		}
		_, err = s.Commit(bg, last, []storage.Change{{Edit: storagetest.Put("half", 1)}, big}, nil)
		if !errors.Is(err, storage.ErrFull) {
			return fmt.Errorf("far over the file size limit: %v, want ErrFull", err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if _, err = commitGroup(s, last, doc); err != nil {
		return fmt.Errorf("after the limit was lifted: %w", err)
	}
	return errors.Join(checkScripted(s, last+groupSize), s.Close())
}

// checkScripted requires that last is the latest revision and can be loaded.
func checkScripted(s *Store, last uint64) error {
	snap, err := s.Load(bg)
	if last == 0 && errors.Is(err, storage.ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	if snap.Revision.Number != last || string(snap.Document) != string(scriptedDocument(last)) {
		return fmt.Errorf("loaded revision %d, want %d", snap.Revision.Number, last)
	}
	return nil
}

// commitReadOnly opens a file without the right to write it.
func commitReadOnly(path string) error {
	if os.Getuid() == 0 {
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return err
		}
	}
	s, last, doc, err := loadScripted(path, scriptedOptions())
	if err != nil {
		return err
	}
	for range 2 {
		if _, err = commitGroup(s, last, doc); !errors.Is(err, storage.ErrFull) {
			return fmt.Errorf("committing to a read-only file: %v, want ErrFull", err)
		}
		if err := checkScripted(s, last); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	if _, err = commitGroup(s, last, doc); err != nil {
		return fmt.Errorf("after the file was made writable: %w", err)
	}
	return errors.Join(checkScripted(s, last+groupSize), s.Close())
}

// openOnly opens the store, says so, and waits to be killed.
func openOnly(path string) error {
	if _, err := Open(path, Options{}); err != nil {
		return err
	}
	fmt.Println("open")
	r, _, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = r.Read(make([]byte, 1)) // nobody writes
	return err
}
