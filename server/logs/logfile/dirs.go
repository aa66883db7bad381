package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// DirMode is the permissions of directories that are made for a log file. The
// zero DirMode is 0700.
type DirMode struct {
	// Inherit takes those of the directory above, FromFile those of the file with
	// the right to enter where there is the right to read.
	Inherit, FromFile bool
	// Mode is the permissions if neither is set, 0 meaning 0700.
	Mode fs.FileMode
}

// ParseMode reads permissions of one to four octal digits.
func ParseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || len(text) > 4 {
		return 0, fmt.Errorf("%q is not a file mode of one to four octal digits", text)
	}
	mode := fs.FileMode(n & 0o777)
	for bit, special := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= special
		}
	}
	return mode, nil
}

// ParseDirMode reads "inherit", "from_file", octal digits, or nothing.
func ParseDirMode(text string) (DirMode, error) {
	switch text {
	case "":
		return DirMode{}, nil
	case "inherit":
		return DirMode{Inherit: true}, nil
	case "from_file":
		return DirMode{FromFile: true}, nil
	}
	mode, err := ParseMode(text)
	if err == nil && mode.Perm() == 0 {
		err = fmt.Errorf("nobody can enter a directory of mode %q", text)
	}
	return DirMode{Mode: mode}, err
}

// of is the mode of a directory to be made below parent.
func (d DirMode) of(parent, file fs.FileMode) fs.FileMode {
	const special = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	switch {
	case d.Inherit:
		return parent & (fs.ModePerm | special)
	case d.FromFile:
		return file.Perm() | (file.Perm()&0o444)>>2
	case d.Mode != 0:
		return d.Mode
	}
	return 0o700
}

// makeDirs makes a directory and those above it, as far as they are missing. It
// returns what it made, also if it fails.
func makeDirs(dir string, d DirMode, file fs.FileMode) (made []string, err error) {
	info, err := os.Stat(dir)
	var missing []string
	for errors.Is(err, fs.ErrNotExist) {
		missing = append(missing, dir)
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
		info, err = os.Stat(dir)
	}
	if err != nil {
		return nil, err
	}
	mode := d.of(info.Mode(), file)
	for i := len(missing) - 1; i >= 0; i-- {
		name := missing[i]
		if err := os.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return made, err
		}
		made = append(made, name)
		if err := os.Chmod(name, mode); err != nil { // whatever the umask
			return made, err
		}
	}
	return made, nil
}
