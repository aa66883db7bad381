package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Document is a text with what is said about it at its head.
type Document struct {
	Meta map[string]any
	Body string
}

// maxFrontMatter is how long a front matter may be, in bytes.
const maxFrontMatter = 256 << 10

// fence is the lines around a front matter, and how it is read.
type fence struct {
	open  string
	close []string
	keep  bool // the fences belong to it
	parse func(text []byte, into *map[string]any) error
}

var fences = []fence{
	{"---", []string{"---", "..."}, false, func(text []byte, into *map[string]any) error { return yaml.Unmarshal(text, into) }},
	{"+++", []string{"+++"}, false, parseTOML},
	{"{", []string{"}"}, true, func(text []byte, into *map[string]any) error { return json.Unmarshal(text, into) }},
}

// splitFrontMatter takes the front matter off a text. One without has no Meta.
func splitFrontMatter(input any) (Document, error) {
	text := vars.ToString(input)
	start := len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	start = strings.LastIndexByte(text[:start], '\n') + 1
	first, begin := line(text, start)
	for i := range fences {
		if f := &fences[i]; first == f.open {
			return f.split(text, start, begin)
		}
	}
	return Document{Body: text}, nil
}

// split reads a front matter whose opening line begins at start and ends at
// begin.
func (f *fence) split(text string, start, begin int) (Document, error) {
	for at := begin; at < len(text); {
		here, next := line(text, at)
		for _, end := range f.close {
			if here != end {
				continue
			}
			inner := text[begin:at]
			if f.keep {
				inner = text[start : at+len(end)]
			}
			if len(inner) > maxFrontMatter {
				return Document{}, fmt.Errorf("front matter is longer than %d bytes", maxFrontMatter)
			}
			doc := Document{Meta: map[string]any{}, Body: text[at+len(end):]}
			if err := f.parse([]byte(inner), &doc.Meta); err != nil {
				return Document{}, fmt.Errorf("reading front matter: %w", err)
			}
			return doc, nil
		}
		at = next
	}
	return Document{}, errors.New("front matter that begins with " + f.open + " has no line " + f.close[0] + " at its end")
}

// line is the line at a place, without spaces at its end, and where the next one
// begins.
func line(text string, at int) (string, int) {
	next := len(text)
	if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
		next = at + n + 1
	}
	return strings.TrimRight(text[at:next], " \t\r\n"), next
}
