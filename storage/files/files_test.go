package files

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

var bg = context.Background()

func open(t *testing.T, dir string) *Blobs {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBlobs(t *testing.T) {
	storagetest.Blobs(t, func(t *testing.T) storage.Blobs { return open(t, filepath.Join(t.TempDir(), "new", "root")) })
}

func TestModes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "root")
	b := open(t, root)
	if err := errors.Join(b.Put(bg, "a/b/c", []byte("x")), b.Lock(bg, "l")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"": os.ModeDir | 0o700, "a": os.ModeDir | 0o700, "a/b": os.ModeDir | 0o700, "a/b/c": 0o600, "locks": os.ModeDir | 0o700, "locks/l.lock": 0o600,
	} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != want {
			t.Errorf("%q: %v, %v; want %v", name, info, err, want)
		}
	}
}

func TestStaysInside(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	b := open(t, root)
	for name, target := range map[string]string{"dir": outside, "file": filepath.Join(outside, "secret"), "rel": "../" + filepath.Base(outside)} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"dir/secret", "file", "rel/secret"} {
		if v, err := b.Get(bg, key); err == nil {
			t.Errorf("Get(%q) read %q outside of the root", key, v)
		}
	}
	for _, key := range []string{"dir/new", "rel/new"} {
		if err := b.Put(bg, key, nil); err == nil {
			t.Errorf("Put(%q) wrote outside of the root", key)
		}
	}
	if err := b.Delete(bg, "dir/secret"); err == nil {
		t.Error("Delete removed a file outside of the root")
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside there are now %v, %v", entries, err)
	}
}

func TestUnfinishedFiles(t *testing.T) {
	root := t.TempDir()
	b := open(t, root)
	old, young := filepath.Join(root, ".tmp-OLD"), filepath.Join(root, ".tmp-YOUNG")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, then, then); err != nil {
		t.Fatal(err)
	}
	if keys, err := b.List(bg, "", true); len(keys) != 0 || err != nil {
		t.Errorf("List: %v, %v", keys, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young file may be in use: %v", err)
	}
}

// TestLockRenewed: a holder that lives keeps its lock however long it works.
func TestLockRenewed(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, b := open(t, root), open(t, root)
		if err := a.Lock(bg, "l"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(bg, 3*time.Minute)
		defer cancel()
		if err := b.Lock(ctx, "l"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the lock was taken from a living holder: %v", err)
		}
		if err := a.Unlock(bg, "l"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := b.Lock(bg, "l"); err != nil || time.Since(began) > time.Second {
			t.Fatalf("locking a free lock: %v after %v", err, time.Since(began))
		}
	})
}

// TestLockStale: the lock of a dead holder goes to one of those who wait, and
// the dead holder, should it wake up, doesn't disturb.
func TestLockStale(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		dead, b, c := open(t, root), open(t, root), open(t, root)
		if err := dead.Lock(bg, "l"); err != nil {
			t.Fatal(err)
		}
		close(dead.held["l"].stop) // it stands still
		<-dead.held["l"].stopped
		began := time.Now()
		got := make(chan *Blobs)
		for _, x := range []*Blobs{b, c} {
			go func() {
				if err := x.Lock(bg, "l"); err != nil {
					t.Error(err)
				}
				got <- x
			}()
		}
		first := <-got
		if took := time.Since(began); took < lockStale || took > lockStale+2*lockPoll {
			t.Errorf("the stale lock was taken over after %v", took)
		}
		dead.held["l"].stop = make(chan struct{}) // it wakes up and unlocks
		if err := dead.Unlock(bg, "l"); err != nil {
			t.Error(err)
		}
		select {
		case <-got:
			t.Fatal("both waiters have the lock")
		case <-time.After(time.Minute):
		}
		if err := first.Unlock(bg, "l"); err != nil {
			t.Error(err)
		}
		<-got
	})
}

// TestLockForeign: the lock files of other programs with this layout count.
func TestLockForeign(t *testing.T) {
	for name, content := range map[string]string{
		"fresh":   `{"created":"CREATED","updated":"FRESH"}`,
		"stale":   `{"created":"CREATED","updated":"CREATED"}`,
		"empty":   "",
		"garbage": strings.Repeat("{", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			b := open(t, root)
			if err := os.Mkdir(filepath.Join(root, "locks"), 0o700); err != nil {
				t.Fatal(err)
			}
			now, _ := json.Marshal(time.Now())
			then, _ := json.Marshal(time.Now().Add(-time.Hour))
			content = strings.NewReplacer(`"FRESH"`, string(now), `"CREATED"`, string(then)).Replace(content)
			file := filepath.Join(root, "locks", "l.lock")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := b.tryLock("l", "locks/l.lock")
			if err != nil || got != (name == "stale") {
				t.Fatalf("taken: %t, %v", got, err)
			}
			if name == "fresh" || name == "stale" {
				return
			}
			old := time.Now().Add(-time.Minute)
			if err := os.Chtimes(file, old, old); err != nil {
				t.Fatal(err)
			}
			if got, err := b.tryLock("l", "locks/l.lock"); !got || err != nil {
				t.Fatalf("an old damaged lock file is in the way: %v", err)
			}
		})
	}
}
