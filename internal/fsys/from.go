package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// From makes an FS of a standard one. Absolute names and those relative to the
// working directory both begin at its root: "/a/b", "a/b" and "./a/b" are the
// same file. Names that lead above the root do not exist.
func From(standard fs.FS) FS { return from{standard} }

type from struct{ fs fs.FS }

// name makes a name of the machine one of package io/fs.
func (f from) name(op, name string) (string, error) {
	n := path.Clean(strings.TrimLeft(filepath.ToSlash(name), "/"))
	if n == ".." || strings.HasPrefix(n, "../") {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	if strings.IndexByte(n, 0) >= 0 {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if !fs.ValidPath(n) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Open implements FS.
func (f from) Open(name string) (File, error) {
	n, err := f.name("open", name)
	if err != nil {
		return nil, err
	}
	file, err := f.fs.Open(n)
	if err != nil {
		return nil, err
	}
	if whole, ok := file.(File); ok {
		return whole, nil
	}
	return &plain{File: file, name: name}, nil
}

// Stat implements FS.
func (f from) Stat(name string) (fs.FileInfo, error) {
	n, err := f.name("stat", name)
	if err != nil {
		return nil, err
	}
	return fs.Stat(f.fs, n)
}

// Lstat implements FS.
func (f from) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.name("lstat", name)
	if err != nil {
		return nil, err
	}
	return fs.Lstat(f.fs, n)
}

// ReadLink implements FS.
func (f from) ReadLink(name string) (string, error) {
	n, err := f.name("readlink", name)
	if err != nil {
		return "", err
	}
	return fs.ReadLink(f.fs, n)
}

// plain is a file without all abilities. One that cannot be sought in is read
// whole when it must be.
type plain struct {
	fs.File
	name string
	mem  *bytes.Reader
}

const maxInMemory = 64 << 20

var errTooLarge = errors.New("its file system cannot seek in it, and it is too large to be read into memory")

// ReadDir implements fs.ReadDirFile.
func (p *plain) ReadDir(n int) ([]fs.DirEntry, error) {
	if d, ok := p.File.(fs.ReadDirFile); ok {
		return d.ReadDir(n)
	}
	return nil, &fs.PathError{Op: "readdir", Path: p.name, Err: errors.New("not a directory")}
}

// Read implements fs.File.
func (p *plain) Read(b []byte) (int, error) {
	if p.mem != nil {
		return p.mem.Read(b)
	}
	return p.File.Read(b)
}

// Seek implements io.Seeker.
func (p *plain) Seek(offset int64, whence int) (int64, error) {
	if s, ok := p.File.(io.Seeker); ok {
		return s.Seek(offset, whence)
	}
	if p.mem == nil {
		data, err := io.ReadAll(io.LimitReader(p.File, maxInMemory+1))
		if err == nil && len(data) > maxInMemory {
			err = errTooLarge
		}
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", p.name, err)
		}
		p.mem = bytes.NewReader(data)
	}
	return p.mem.Seek(offset, whence)
}
