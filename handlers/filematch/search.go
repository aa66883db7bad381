package filematch

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/fsys"
)

// search is the search of one request.
type search struct {
	m    *matcher
	x    *handlers.Exchange
	fs   fsys.FS
	root string

	best     candidate
	bestInfo fs.FileInfo
	isDir    bool
	fresh    [1]string // room for the one candidate of an entry without globs
}

// candidate is a name that may be the one.
type candidate struct {
	name      string // with a slash at the end if it is to be a directory
	remainder string
}

// run looks for the file that the policy wants.
func (s *search) run() (found bool, err error) {
	for i := range s.m.tries {
		t := &s.m.tries[i]
		if t.error != 0 {
			return false, statusError(t.error)
		}
		list, rest := s.candidates(t)
		for _, name := range list {
			c := candidate{name, rest}
			if !s.m.takesFirst() {
				s.compare(c)
				continue
			}
			if s.m.policy == firstExistFallback && i == len(s.m.tries)-1 {
				if s.isThere(c.name) { // of whatever kind, and is called a file
					s.best = c
					return true, nil
				}
			} else if s.exists(c.name) {
				s.best, s.isDir = c, strings.HasSuffix(c.name, string(filepath.Separator))
				return true, nil
			}
		}
	}
	return s.bestInfo != nil, nil
}

// escaper gives the values of placeholders no globs.
type escaper struct{ vars.Scope }

// Lookup implements vars.Scope.
func (e escaper) Lookup(name string) (any, bool) {
	v, known := e.Scope.Lookup(name)
	if !known || v == nil {
		return v, known
	}
	return fsys.EscapeGlob(vars.ToString(v)), true
}

// candidates are the names that an entry stands for. Without globs it is one,
// which need not exist.
func (s *search) candidates(t *try) (names []string, remainder string) {
	if !t.glob {
		p, rest := s.m.cut(clean(t.text.Expand(s.x, vars.All, "")))
		name := fsys.Join(s.root, p)
		if t.dir {
			name = slashed(name)
		}
		s.fresh[0] = name
		return s.fresh[:], rest
	}
	p, rest := s.m.cut(clean(t.text.Expand(escaper{s.x}, vars.All, "")))
	pattern := fsys.Join(fsys.EscapeGlob(s.root), p)
	if t.dir {
		pattern = slashed(pattern)
	}
	return fsys.Glob(s.fs, pattern), fsys.UnescapeGlob(rest)
}

func clean(p string) string { return path.Clean("/" + p) }

func slashed(name string) string {
	if strings.HasSuffix(name, string(filepath.Separator)) {
		return name
	}
	return name + string(filepath.Separator)
}

// cut splits a path behind the first delimiter that ends one of its elements.
func (m *matcher) cut(p string) (front, remainder string) {
	for _, delimiter := range m.split {
		end := indexFold(p, delimiter)
		if end < 0 {
			continue
		}
		if end += len(delimiter); p[end] == '/' {
			return p[:end], p[end:]
		}
	}
	return p, ""
}

// indexFold is where a text begins that has something behind it, upper and lower
// case of ASCII letters being the same; -1 if it does not occur.
func indexFold(s, part string) int {
	if part == "" {
		return -1
	}
	for i := 0; i+len(part) < len(s); i++ {
		if equalFold(s[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// equalFold does not fold beyond ASCII, where texts of different lengths can be
// equal.
func equalFold(a, b string) bool {
	for i := range len(a) {
		x, y := a[i], b[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if 'A' <= y && y <= 'Z' {
			y |= 0x20
		}
		if x != y {
			return false
		}
	}
	return true
}

// exists reports whether a name is a directory if it ends in a slash, and
// something else if it does not.
func (s *search) exists(name string) bool {
	info, err := s.fs.Stat(name)
	return err == nil && info.IsDir() == strings.HasSuffix(name, string(filepath.Separator))
}

// isThere reports whether a name exists in whatever way.
func (s *search) isThere(name string) bool {
	_, err := s.fs.Lstat(name)
	return err == nil
}

// compare keeps the better of a candidate and the best so far.
func (s *search) compare(c candidate) {
	info, err := s.fs.Stat(c.name)
	if err != nil {
		return
	}
	best := s.bestInfo
	better := false
	switch s.m.policy {
	case smallestSize:
		better = best == nil || best.Size() == 0 || info.Size() < best.Size()
	case largestSize:
		better = info.Size() > 0 && (best == nil || info.Size() > best.Size())
	case mostRecent:
		better = best == nil || info.ModTime().After(best.ModTime())
	}
	if better {
		s.best, s.bestInfo, s.isDir = c, info, info.IsDir()
	}
}
