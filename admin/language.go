package admin

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Adapter turns a text in another language into a document. It is safe for
// concurrent use and must not keep body.
type Adapter interface {
	// Adapt returns the document. The filename is what places name and what
	// relative file names in the text start from. The error is the author's
	// mistake and is shown to them. If it is schema.Problems, or has a method
	// Problems that returns some, their files and lines are shown as well.
	Adapt(body []byte, filename string) (*Adapted, error)
}

// Adapted is what an Adapter made of a text.
type Adapted struct {
	// Root is the document; nil means null. It belongs to the caller.
	Root *config.Node
	// Warnings are about what is accepted but likely not meant.
	Warnings []AdaptWarning
	// Place returns problems of Root with the file and line of the text that
	// they come from, where that is known. It may be nil.
	Place func(schema.Problems) schema.Problems
	// Pure is set if the text alone made the document, without other files and
	// environment variables, so that it makes the same one again.
	Pure bool
}

// AdaptWarning is something in an adapted text that is accepted but likely not
// meant.
type AdaptWarning struct {
	// File and Line say where it is; Line counts from 1.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Directive is the directive it is about.
	Directive string `json:"directive,omitempty"`
	Message   string `json:"message,omitempty"`
}

// jsonLanguage is the name of the language that needs no adapter.
const jsonLanguage = "json"

// maxAdapting is how many texts may be adapted at the same time. What comes of
// a text is weighed only when it is there.
const maxAdapting = 2

// language finds the adapter for the content type of a request.
func (a *API) language(c *call) (name string, adapter Adapter, err error) {
	return a.languageOf(c.r.Header.Get("Content-Type"))
}

// languageOf finds the adapter for a content type; none means JSON (section
// 9.1).
func (a *API) languageOf(text string) (name string, adapter Adapter, err error) {
	if text == "" {
		return jsonLanguage, nil, nil
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil {
		return "", nil, failf(http.StatusBadRequest, "invalid Content-Type: %v", err)
	}
	_, name, ok := strings.Cut(kind, "/")
	if !ok {
		return "", nil, failf(http.StatusBadRequest, "malformed Content-Type")
	}
	if name == jsonLanguage {
		return name, nil, nil
	}
	adapter = a.deps.Adapters[name]
	if adapter == nil {
		return "", nil, failf(http.StatusBadRequest, "unrecognized config adapter '%s'", name)
	}
	return name, adapter, nil
}

// languages are the names of all languages, sorted.
func (a *API) languages() []string {
	list := []string{jsonLanguage}
	for name := range a.deps.Adapters {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// defaultFilename is what a text is called that came without a name.
const defaultFilename = "Caddyfile"

// maxFilename is the longest name of a file that is believed, in bytes.
const maxFilename = 4096

// sourceFile is the name of the file that a body was read from.
func sourceFile(h http.Header) string {
	name := h.Get("Caddy-Config-Source-File")
	if name == "" || len(name) > maxFilename || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return defaultFilename
	}
	return name
}

// adaptBody runs an adapter on a body, and waits until there is room for what
// it made.
func (a *API) adaptBody(ctx context.Context, name string, adapter Adapter, b *body, filename string) (*Adapted, error) {
	if err := a.adapting.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer a.adapting.Release(1)
	if err := b.admit(ctx); err != nil {
		return nil, err
	}
	out, err := adapter.Adapt(b.text, filename)
	if err != nil {
		return nil, adaptFailed(name, err)
	}
	if out.Root == nil {
		out.Root = config.NewNull()
	}
	return out, b.reweigh(ctx, printedSize(out.Root))
}

// adaptFailed is the answer to a text that an adapter does not accept.
func adaptFailed(name string, err error) error {
	e := failf(http.StatusBadRequest, "adapting config using %s adapter: %v", name, err)
	var detailed interface{ Problems() schema.Problems }
	if !errors.As(err, &e.Problems) && errors.As(err, &detailed) {
		e.Problems = detailed.Problems()
	}
	return e
}

// printedSize is the length of the canonical form of n.
func printedSize(n *config.Node) int64 {
	var size byteCounter
	_ = n.WriteJSON(&size) // which cannot fail
	return int64(size)
}

type byteCounter int64

// Write counts.
func (b *byteCounter) Write(p []byte) (int, error) {
	*b += byteCounter(len(p))
	return len(p), nil
}

// asWarnings gives the warnings of an adapter the form of all others.
func asWarnings(notes []AdaptWarning) schema.Problems {
	var ps schema.Problems
	for _, n := range notes {
		p := schema.Problem{File: n.File, Line: n.Line, Message: n.Message}
		if n.Directive != "" {
			p.Message = n.Directive + ": " + n.Message
		}
		ps = append(ps, p)
	}
	return ps
}
