// Package fsys is the file systems that handlers read: that of the machine, and
// those that a document registers under names. It also says where a path that a
// stranger wrote leads below a root: never out of it, but by symbolic links,
// which are followed.
package fsys

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// FS is a file system. Names are written as those of the machine, and may be
// absolute or relative to the working directory; see From for others. Errors
// are those of package io/fs. It is safe for concurrent use.
type FS interface {
	// Open opens a file or a directory for reading.
	Open(name string) (File, error)
	// Stat describes what is at a name, or at the end of its symbolic links.
	Stat(name string) (fs.FileInfo, error)
	// Lstat is Stat that does not follow a symbolic link at the end of the name.
	Lstat(name string) (fs.FileInfo, error)
	// ReadLink returns what a symbolic link says.
	ReadLink(name string) (string, error)
}

// File is an open file or directory.
type File interface {
	fs.ReadDirFile
	io.Seeker
}

// OS is the file system of the machine. What it opens is an *os.File.
type OS struct{}

// Open implements FS. It does not wait for the other end of a named pipe.
func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err // a nil *os.File would not be a nil File
	}
	return f, nil
}

// Stat implements FS.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Lstat implements FS.
func (OS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// ReadLink implements FS.
func (OS) ReadLink(name string) (string, error) { return os.Readlink(name) }

const (
	windows = runtime.GOOS == "windows"
	// folds: names that differ in case are commonly one file.
	folds = windows || runtime.GOOS == "darwin"
)

// Join returns where a slash-separated path leads below root: root and the path
// made absolute, so that ".." in it ends at the root. A path that is none below
// the root even so, as "NUL" on Windows, leads to the root itself. An empty root
// is the working directory.
//
// The result is clean, so a trailing slash is lost.
func Join(root, p string) string {
	if root == "" {
		root = "."
	}
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	below := filepath.FromSlash(path.Clean(p)[1:])
	if !filepath.IsLocal(below) {
		return filepath.Clean(root)
	}
	return filepath.Join(root, below)
}

// Trick reports whether a path is written in a way by which Windows finds files
// under names other than their own: streams ("a.txt::$DATA"), drives, and short
// names ("PROGRA~1"). It is false on other systems.
func Trick(p string) bool { return windows && trick(p) }

func trick(p string) bool {
	if strings.ContainsRune(p, ':') {
		return true
	}
	for rest := p; ; {
		i := strings.IndexByte(rest, '~')
		if i < 0 {
			return false
		}
		if rest = rest[i+1:]; rest != "" && '0' <= rest[0] && rest[0] <= '9' {
			return true
		}
	}
}

// IsInvalid reports whether an error says that a name cannot be one: it holds a
// NUL, or leads through something that is not a directory.
func IsInvalid(err error) bool {
	return errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTDIR)
}

// IsLocal reports whether a file system is that of the machine.
func IsLocal(f FS) bool {
	_, ok := f.(OS)
	return ok
}
