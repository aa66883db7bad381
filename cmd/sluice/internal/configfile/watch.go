package configfile

import (
	"os"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// trace is what was read to make a document, so that it can be found out whether
// it is still the same. It implements caddyfile.Files.
type trace struct {
	under  caddyfile.Files
	lookup func(string) (string, bool)

	main  uint64            // digest of the file itself
	files map[string]part   // imported files, by name
	globs map[string]uint64 // digests of lists of names, by pattern
	env   bool              // a variable was asked for
}

// part is an imported file.
type part struct {
	digest uint64
	limit  int // what it was read with
}

// ReadFile implements caddyfile.Files.
func (t *trace) ReadFile(name string, limit int) ([]byte, error) {
	text, err := t.under.ReadFile(name, limit)
	if t.files == nil {
		t.files = map[string]part{}
	}
	t.files[name] = part{digest(text, err), limit}
	return text, err
}

// Glob implements caddyfile.Files.
func (t *trace) Glob(pattern string) ([]string, error) {
	names, err := t.under.Glob(pattern)
	if t.globs == nil {
		t.globs = map[string]uint64{}
	}
	t.globs[pattern] = digest([]byte(strings.Join(names, "\x00")), err)
	return names, err
}

func (t *trace) lookupEnv(name string) (string, bool) {
	t.env = true
	return t.lookup(name)
}

// digest is equal for what would be read the same; an error counts as what was
// read.
func digest(text []byte, err error) uint64 {
	if err != nil {
		return ^xxhash.Sum64String(err.Error())
	}
	return xxhash.Sum64(text)
}

// same reports whether everything is as it was.
func (t *trace) same(file string) bool {
	if digest(os.ReadFile(file)) != t.main {
		return false
	}
	for name, was := range t.files {
		if digest(t.under.ReadFile(name, was.limit)) != was.digest {
			return false
		}
	}
	for pattern, was := range t.globs {
		names, err := t.under.Glob(pattern)
		if digest([]byte(strings.Join(names, "\x00")), err) != was {
			return false
		}
	}
	return true
}

// Watch notices when a config file changes, or one that it imports. It is not
// safe for concurrent use.
type Watch struct {
	file, adapter string
	reader        *Reader
	seen          *trace
}

// Poll reads the file again if anything that it is made of has changed since it
// was read last; else it returns nil. A file that is broken, perhaps because it
// is just being written, is an error once, until it changes again.
func (w *Watch) Poll() (*File, error) {
	if w.seen.same(w.file) {
		return nil, nil
	}
	f, made, err := w.reader.read(w.file, w.adapter)
	w.seen = made
	return f, err
}

// Possible reports whether the file can be watched at all, which standard input
// and pipes cannot.
func (w *Watch) Possible() bool {
	if w.file == Stdin {
		return false
	}
	info, err := os.Stat(w.file)
	return err != nil || info.Mode().IsRegular()
}
