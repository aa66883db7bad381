package fsys

import (
	"path/filepath"
	"slices"
	"strings"
)

// HasGlob reports whether a text has characters that mean something in a
// pattern of Glob. On Windows none does.
func HasGlob(text string) bool { return !windows && strings.ContainsAny(text, globChars) }

const globChars = `*?[\`

// EscapeGlob returns a text that as a pattern stands for itself.
func EscapeGlob(text string) string {
	if !HasGlob(text) {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(globChars, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// UnescapeGlob undoes EscapeGlob.
func UnescapeGlob(text string) string {
	if windows || strings.IndexByte(text, '\\') < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// Glob returns the names that a pattern matches, in lexical order: "*" any text
// within one name, "?" one character, "[a-z]" one of a set, "\" before a character
// takes it literally. Without such characters it is the pattern itself, if
// something is there, be it a symbolic link that leads nowhere. What cannot be
// read, and a pattern that is malformed, match nothing.
func Glob(f FS, pattern string) []string {
	if !HasGlob(pattern) {
		if _, err := f.Lstat(pattern); err != nil {
			return nil
		}
		return []string{pattern}
	}
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil
	}
	dir, last := filepath.Split(pattern)
	prefix := dir
	if dir = strings.TrimRight(dir, string(filepath.Separator)); dir == "" {
		dir = prefix[:min(1, len(prefix))] // "/", or nothing
	}
	if last == "" {
		return nil // names have no slash at the end
	}
	dirs := []string{dir}
	if HasGlob(dir) {
		dirs = Glob(f, dir)
	}
	var out []string
	for _, d := range dirs {
		out = append(out, globDir(f, d, last)...)
	}
	return out
}

// literal returns the one name that a pattern without wildcards stands for.
func literal(pattern string) (string, bool) {
	name := UnescapeGlob(pattern)
	return name, EscapeGlob(name) == pattern
}

// globDir matches the names in one directory.
func globDir(f FS, dir, pattern string) []string {
	if name, ok := literal(pattern); ok {
		name = filepath.Join(dir, name)
		if _, err := f.Lstat(name); err != nil {
			return nil
		}
		return []string{name}
	}
	open := dir
	if open == "" {
		open = "."
	}
	if info, err := f.Stat(open); err != nil || !info.IsDir() {
		return nil
	}
	d, err := f.Open(open)
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, _ := d.ReadDir(-1)
	var out []string
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(out)
	return out
}
