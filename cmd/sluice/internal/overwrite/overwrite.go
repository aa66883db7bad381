// Package overwrite replaces what a file holds.
package overwrite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File replaces what a file holds, so that a reader sees the old or the new
// text. The file keeps its mode, and a link remains one.
func File(file string, text []byte) error {
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("overwriting %s: %w", file, err)
	}
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("overwriting %s: %w", file, err)
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".fmt-*")
	if err != nil {
		return fmt.Errorf("overwriting %s: making a temporary file beside it: %w", file, err)
	}
	if _, err = f.Write(text); err == nil {
		keepOwner(f, info)
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("overwriting %s: %w", file, err)
	}
	return nil
}
