package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// Reader reads config files. It is safe for concurrent use, except that standard
// input can be read once only.
type Reader struct {
	// Stdin is read for the name Stdin.
	Stdin io.Reader
	// Adapter makes the adapter for Caddyfiles. It is asked each time.
	Adapter func() (*adapt.Adapter, error)
	// LookupEnv and Files are what Caddyfiles can ask for.
	LookupEnv func(string) (string, bool)
	Files     caddyfile.Files
}

// Read reads a file. The adapter is the value of the flag, empty if the file's
// name is to say what it is.
func (r *Reader) Read(file, adapter string) (*File, error) {
	f, _, err := r.read(file, adapter)
	return f, err
}

// read also returns what was read where that led to an error.
func (r *Reader) read(file, adapter string) (*File, *trace, error) {
	made := &trace{under: r.Files, lookup: r.LookupEnv}
	if file == "" {
		if adapter != "" {
			return nil, made, errors.New("cannot adapt config without config file (use --config)")
		}
		return nil, made, ErrNone
	}
	f := &File{Name: file, Language: LanguageOf(file, adapter), made: made, reader: r, adapter: adapter}
	var err error
	if file == Stdin {
		if f.Text, err = io.ReadAll(r.Stdin); err != nil {
			return nil, made, fmt.Errorf("reading config from stdin: %w", err)
		}
	} else {
		f.Text, err = os.ReadFile(file)
		if made.main = digest(f.Text, err); err != nil {
			return nil, made, fmt.Errorf("reading config from file: %w", err)
		}
	}
	switch f.Language {
	case JSON:
		err = f.parse()
	case Caddyfile:
		if err = f.adapt(); err != nil {
			err = fmt.Errorf("adapting config using %s: %w", Caddyfile, err)
			if json.Valid(f.Text) && bytes.ContainsAny(f.Text, "{[") {
				err = fmt.Errorf("%w; it is JSON: read it with --adapter %s", err, JSON)
			}
		}
	default:
		err = fmt.Errorf("unrecognized config adapter: %s", f.Language)
	}
	if err != nil {
		return nil, made, err
	}
	return f, made, nil
}

// parse reads the text as JSON.
func (f *File) parse() error {
	if len(f.Text) == 0 {
		f.Root = config.NewNull()
		return nil
	}
	root, warnings, err := config.Parse(f.Text, config.Limits{})
	if err != nil {
		return fmt.Errorf("config is not valid JSON: %w; did you mean to use a config adapter (the --adapter flag)?", err)
	}
	f.Root = root
	for _, w := range warnings {
		f.Warnings = append(f.Warnings, Warning{f.Name, w.Line, w.Pointer, w.Message})
	}
	return nil
}

// adapt reads the text as a Caddyfile.
func (f *File) adapt() error {
	name := f.Name
	if name == Stdin {
		name = adapt.DefaultFilename
	}
	doc, err := f.reader.document(name, f.Text, f.made)
	if err != nil {
		return err
	}
	f.adapted, f.Root = doc, doc.Root
	for _, w := range doc.Warnings {
		f.Warnings = append(f.Warnings, Warning{File: w.File, Line: w.Line, Message: w.Message})
	}
	return nil
}

// Adapt makes a document of the text of a Caddyfile that somebody sent. The name
// is what places name and what relative imports start from, empty for
// "Caddyfile" in the working directory.
func (r *Reader) Adapt(name string, text []byte) (*File, error) {
	if name == "" {
		name = adapt.DefaultFilename
	}
	f := &File{Name: name, Text: text, Language: Caddyfile, adapter: Caddyfile, reader: r, made: &trace{under: r.Files, lookup: r.LookupEnv}}
	return f, f.adapt()
}

// document runs the adapter.
func (r *Reader) document(name string, text []byte, made *trace) (*adapt.Document, error) {
	a, err := r.Adapter()
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working directory, where imports are looked for: %w", err)
	}
	return a.Adapt(adapt.Source{Filename: name, Text: text,
		Env: caddyfile.Env{LookupEnv: made.lookupEnv, Files: made, Dir: dir}})
}
