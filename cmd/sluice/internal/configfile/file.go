// Package configfile reads the file that a process is started with or told to
// load, be it JSON or a Caddyfile, and keeps what is asked about it later: where
// the parts of its document were written, what it was made of, whether that has
// changed since.
package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/schema"
)

// The languages of config files, by the names that --adapter knows.
const (
	JSON      = "json"
	Caddyfile = "caddyfile"
)

// Stdin is the name of a file that stands for standard input.
const Stdin = "-"

// ErrNone is the error of reading no file.
var ErrNone = errors.New("no config file to load")

// File is a document as it was read from a file or from standard input.
type File struct {
	// Name is the name as given, Stdin for standard input.
	Name string
	// Text is what the file holds, in the language that Language names.
	Text     []byte
	Language string
	// Root is the document. It must not be put into another one, but its Clone
	// can be, or Locate no longer works.
	Root *config.Node
	// Warnings are about what is accepted, but odd.
	Warnings []Warning

	adapted *adapt.Document // nil for JSON
	made    *trace
	reader  *Reader
	adapter string // as given
}

// Warning is something odd in a file.
type Warning struct {
	File string
	Line int
	// Pointer is the JSON Pointer of the place, in a JSON file.
	Pointer string
	Message string
}

// LanguageOf says which language a file is in: what the flag --adapter says, else
// what its name says (cli, section 5 rule 4).
func LanguageOf(file, adapter string) string {
	if adapter != "" {
		return adapter
	}
	base := strings.ToLower(filepath.Base(file))
	if (strings.HasPrefix(base, "caddyfile") || strings.HasSuffix(base, ".caddyfile")) && filepath.Ext(base) != ".json" {
		return Caddyfile
	}
	return JSON
}

// InWorkingDirectory is the Caddyfile in the working directory, "" if there is
// none.
func InWorkingDirectory() string {
	if info, err := os.Stat(adapt.DefaultFilename); err == nil && info.Mode().IsRegular() {
		return adapt.DefaultFilename
	}
	return ""
}

// Source is the text that the document was adapted from and its language, as a
// change keeps them; both are empty for JSON.
func (f *File) Source() (text []byte, language string) {
	if f.Language == JSON {
		return nil, ""
	}
	return f.Text, f.Language
}

// SelfContained reports whether the text alone makes the document: it imports no
// files and asks for no environment variables.
func (f *File) SelfContained() bool {
	return len(f.made.files) == 0 && len(f.made.globs) == 0 && !f.made.env
}

// Locate returns problems of the document with the places in the file where they
// stand.
func (f *File) Locate(ps schema.Problems) schema.Problems {
	if f.adapted != nil {
		return f.adapted.Place(ps)
	}
	out := make(schema.Problems, len(ps))
	for i, p := range ps {
		pointer := p.Pointer
		for p.Line == 0 {
			if line, column, ok := config.Locate(f.Text, pointer); ok {
				p.Line, p.Column = line, column
				break
			}
			cut := strings.LastIndexByte(pointer, '/')
			if cut < 0 {
				break
			}
			pointer = pointer[:cut]
		}
		if f.Name != Stdin {
			p.File = f.Name
		}
		out[i] = p
	}
	return out
}

// Origin is how changes that come from the file are called in the history.
func (f *File) Origin() string {
	if f.Name == Stdin {
		return "standard input"
	}
	name := f.Name
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return "file " + name
}

// Watch returns what notices when the file changes.
func (f *File) Watch() *Watch {
	return &Watch{file: f.Name, adapter: f.adapter, reader: f.reader, seen: f.made}
}
