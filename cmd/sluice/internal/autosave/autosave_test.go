package autosave

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func doc(t *testing.T, text string) *config.Doc {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := config.NewDoc(n)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func holds(t *testing.T, name, want string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil && want != "" || string(text) != want {
		t.Errorf("the file holds %q (%v), want %q", text, err, want)
	}
}

func TestFollowsTheDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "made", "here")
		name := filepath.Join(dir, "autosave.json")
		f := New(name, zap.NewNop())
		f.Changed(doc(t, `{"a":1}`))
		f.Changed(doc(t, `{"a":2}`))
		synctest.Wait()
		holds(t, name, "") // not at once
		time.Sleep(2 * delay)
		synctest.Wait()
		holds(t, name, `{"a":2}`)
		f.Changed(doc(t, `null`))
		f.Changed(doc(t, `{"admin":{"config":{"persist":false}}}`))
		time.Sleep(2 * delay)
		synctest.Wait()
		holds(t, name, `{"a":2}`)
		f.Changed(doc(t, `{"admin":{"config":{"persist":true}}}`))
		f.Close() // writes what is pending
		holds(t, name, `{"admin":{"config":{"persist":true}}}`)
		f.Changed(doc(t, `{"a":3}`))
		f.Close()
		holds(t, name, `{"admin":{"config":{"persist":true}}}`)
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 1 {
			t.Errorf("left behind: %v %v", list, err)
		}
		for path, mode := range map[string]os.FileMode{dir: 0o700, name: 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v %v, want mode %v", path, info, err, mode)
			}
		}
	})
}

func TestThatItCannotBeWrittenIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		core, seen := observer.New(zap.InfoLevel)
		f := New(filepath.Join(file, "below a file"), zap.New(core))
		f.Changed(doc(t, `{}`))
		f.Close()
		if n := seen.FilterMessage("unable to autosave config").Len(); n != 1 {
			t.Errorf("%d entries: %v", n, seen.All())
		}
	})
}
