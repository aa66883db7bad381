package bolt

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

// options are those of the suite; background errors fail the test.
func options(t *testing.T) Options {
	return Options{
		Replay: storagetest.Replay, Digest: storagetest.Digest,
		OnError: func(err error) { t.Errorf("in the background: %v", err) },
	}
}

func mustOpen(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	suite(t, 0, 0)
}

// TestStoreSnapshots is the suite with snapshots at every turn.
func TestStoreSnapshots(t *testing.T) {
	suite(t, 3, 5000)
}

func suite(t *testing.T, every int, bytes int64) {
	storagetest.Store(t, storagetest.Maker{
		Open: func(t *testing.T, l storage.Limits, now func() time.Time) storage.Store {
			o := options(t)
			o.Limits, o.Now, o.SnapshotEvery, o.SnapshotBytes = l, now, every, bytes
			return mustOpen(t, filepath.Join(t.TempDir(), "a", "b", "sluice.db"), o)
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store {
			o := s.(*Store).opts
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, s.(*Store).path, o)
		},
	})
}

func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dir", "sluice.db")
	mustOpen(t, path, options(t))
	for name, want := range map[string]os.FileMode{
		path: 0o600, path + ".lock": 0o600, filepath.Dir(path): os.ModeDir | 0o700, filepath.Dir(filepath.Dir(path)): os.ModeDir | 0o700,
	} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
