package overwrite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(file) // whoever reads it now goes on with the old text
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := File(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if err != nil || string(text) != "new" || info.Mode().Perm() != 0o644 {
		t.Errorf("%q %v %v", text, info.Mode(), err)
	}
	buf := make([]byte, 8)
	if n, _ := before.Read(buf); string(buf[:n]) != "old" {
		t.Errorf("a reader sees %q", buf[:n])
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v %v", info, err)
	}
	if err := File(filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := File(filepath.Join(dir, "directory"), nil); err == nil {
		t.Error("a directory was overwritten")
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 3 {
		t.Errorf("left behind: %v %v", list, err)
	}
}
