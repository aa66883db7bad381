package caddyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Limits on what one Parse makes of its input. Only a text that multiplies
// itself through imports, or one that is hostile, meets them.
const (
	// MaxNesting is how deep blocks may be nested.
	MaxNesting = 200
	// MaxImportDepth is how deep imports may be nested.
	MaxImportDepth = 100
	// MaxTokens is how many tokens one Parse reads, those of imports counted each
	// time they are imported.
	MaxTokens = 4 << 20
	// MaxBytes is how many bytes of files one Parse reads, and also how many bytes
	// of text imports may make by putting in arguments.
	MaxBytes = 64 << 20
	// maxWarnings is how many warnings one Parse gives.
	maxWarnings = 100
)

// Env is what Parse may ask of the world. The zero Env has no variables and
// no files.
type Env struct {
	// LookupEnv returns an environment variable and whether it is set, as
	// os.LookupEnv does.
	LookupEnv func(name string) (string, bool)
	// Files is where imports read. Without it, only snippets can be imported.
	Files Files
	// Dir is the directory that a relative name of the main file starts from. It
	// should be absolute.
	Dir string
	// Warn is told of what is accepted but odd, each thing once and at most 100.
	Warn func(Warning)
}

// Files gives access to files that are imported. Calls come from the goroutine
// that called Parse, one at a time.
type Files interface {
	// Glob returns the names of the files that match the pattern, sorted; see
	// filepath.Glob. The pattern is absolute if Env.Dir is.
	Glob(pattern string) ([]string, error)
	// ReadFile returns what a file holds. An error that is fs.ErrNotExist means
	// that there is no such file; ErrDirectory, that it is a directory. A file of
	// more than limit bytes is an error, and so is one that is not a regular file,
	// since reading that might never end.
	ReadFile(name string, limit int) ([]byte, error)
}

// ErrDirectory is what Files.ReadFile returns for a directory.
var ErrDirectory = errors.New("is a directory")

// OSFiles returns the files of the operating system.
func OSFiles() Files { return osFiles{} }

type osFiles struct{}

func (osFiles) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }

func (osFiles) ReadFile(name string, limit int) ([]byte, error) {
	// Files of the kernel are regular by name only: some never end.
	for _, dir := range []string{"/proc/", "/sys/"} {
		if strings.HasPrefix(filepath.Clean(name), dir) {
			return nil, errors.New("not a regular file")
		}
	}
	// Looked at before it is opened, because to open a FIFO is to wait.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := readable(info); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, limit)
}

// FSFiles returns the files of fsys, whose root is taken as "/".
func FSFiles(fsys fs.FS) Files { return fsFiles{fsys} }

type fsFiles struct{ fsys fs.FS }

func (f fsFiles) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(f.fsys, strings.TrimPrefix(filepath.ToSlash(pattern), "/"))
	for i := range names {
		names[i] = "/" + names[i]
	}
	return names, err
}

func (f fsFiles) ReadFile(name string, limit int) ([]byte, error) {
	name = strings.TrimPrefix(filepath.ToSlash(name), "/")
	if name == "" {
		name = "."
	}
	file, err := f.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := readable(info); err != nil {
		return nil, err
	}
	return readLimited(file, limit)
}

func readable(info fs.FileInfo) error {
	if info.IsDir() {
		return ErrDirectory
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	return nil
}

func readLimited(r io.Reader, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(b) > limit {
		return nil, tooManyBytes()
	}
	return b, err
}

func tooManyBytes() error {
	return fmt.Errorf("more than %d bytes of Caddyfile; import less", MaxBytes)
}

// substitute puts environment variables in the place of {$NAME} and
// {$NAME:default}. What it puts in is not looked at again.
func substitute(input string, lookup func(string) (string, bool)) string {
	at := strings.Index(input, "{$")
	if at < 0 {
		return input
	}
	var out strings.Builder
	for at >= 0 {
		end := strings.IndexByte(input[at:], '}')
		if end < 0 {
			break
		}
		span := input[at+2 : at+end]
		out.WriteString(input[:at])
		if span == "" {
			out.WriteString("{$}")
		} else {
			name, value, _ := strings.Cut(span, ":")
			if lookup != nil {
				if v, ok := lookup(name); ok {
					value = v
				}
			}
			out.WriteString(value)
		}
		input = input[at+end+1:]
		at = strings.Index(input, "{$")
	}
	out.WriteString(input)
	return out.String()
}
