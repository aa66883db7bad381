package fsys

import (
	"path/filepath"
	"strings"
)

// Hidden is one rule about what is not to be seen. The zero Hidden hides nothing.
type Hidden struct {
	text  string
	whole bool // compared with whole paths, not with each component
	glob  bool
}

// Hide makes a rule of a pattern. Without a path separator it is compared, as a
// glob, with every single component of a path. With one it is a path, made
// absolute from the working directory wd, which hides itself and all below it.
// Either is also tried as a glob on the whole path.
func Hide(pattern, wd string) Hidden {
	if pattern == "" {
		return Hidden{}
	}
	pattern = filepath.FromSlash(pattern)
	h := Hidden{text: pattern, whole: strings.ContainsRune(pattern, filepath.Separator)}
	if h.whole {
		h.text = Absolute(pattern, wd)
	}
	if folds {
		h.text = strings.ToLower(h.text)
	}
	h.glob = strings.ContainsAny(h.text, `*?[\`)
	return h
}

// Absolute makes a name absolute from the working directory, if that is known.
func Absolute(name, wd string) string {
	if wd == "" || filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(wd, name)
}

// Err tells if the pattern is malformed, so that it hides only what is called
// exactly so.
func (h Hidden) Err() error {
	_, err := filepath.Match(h.text, "")
	return err
}

// Hides reports whether an absolute, clean path is hidden.
func (h Hidden) Hides(abs string) bool {
	if h.text == "" {
		return false
	}
	if folds {
		abs = strings.ToLower(abs)
	}
	if h.whole {
		if rest, ok := strings.CutPrefix(abs, h.text); ok &&
			(rest == "" || rest[0] == filepath.Separator || h.text[len(h.text)-1] == filepath.Separator) {
			return true
		}
	} else if h.hidesComponent(abs) {
		return true
	}
	return h.glob && match(h.text, abs)
}

func (h Hidden) hidesComponent(abs string) bool {
	for more := true; more; {
		var name string
		name, abs, more = strings.Cut(abs, string(filepath.Separator))
		if name == h.text || h.glob && name != "" && match(h.text, name) {
			return true
		}
	}
	return false
}

func match(pattern, name string) bool {
	ok, err := filepath.Match(pattern, name)
	return ok && err == nil
}
