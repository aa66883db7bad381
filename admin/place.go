package admin

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// place says where in the document the body of a request goes, so that a
// problem in the document can be shown in the body.
type place struct {
	// at is the pointer of the body, or of the array that it is appended to.
	at string
	// appended is set if the body, or with spread each of its elements, becomes
	// an element of that array, from index first on.
	appended, spread bool
	first            int
}

// placeOf returns where the value of an edit of doc goes.
func placeOf(doc *config.Doc, e config.Edit) place {
	if e.Whole || len(e.Path) == 0 {
		return place{}
	}
	p := e.Path
	n := len(p) - 1
	spread := p[n] == "..."
	if spread {
		p = p[:n]
		if n > 0 && kindAt(doc, p[:n-1]) == config.Array && kindAt(doc, p) != config.Array {
			p = p[:n-1]
		}
	}
	at := place{at: p.Pointer()}
	if e.Verb != config.Post {
		return at
	}
	array := p
	if !spread && kindAt(doc, p[:n]) == config.Array {
		array = p[:n]
	}
	if v, err := doc.Get(array); err == nil && v.Kind() == config.Array {
		return place{at: array.Pointer(), appended: true, spread: spread, first: v.Len()}
	}
	return at
}

func kindAt(doc *config.Doc, p config.Path) config.Kind {
	v, err := doc.Get(p)
	if err != nil {
		return config.Null
	}
	return v.Kind()
}

// inBody returns the pointer within the body of a pointer in the document.
func (p place) inBody(pointer string) (string, bool) {
	rest, ok := strings.CutPrefix(pointer, p.at)
	if !ok || (rest != "" && rest[0] != '/') {
		return "", false
	}
	if !p.appended {
		return rest, true
	}
	if rest == "" {
		return "", false
	}
	seg, tail := rest[1:], ""
	if i := strings.IndexByte(seg, '/'); i >= 0 {
		seg, tail = seg[:i], seg[i:]
	}
	index, err := strconv.Atoi(seg)
	if err != nil || index < p.first {
		return "", false
	}
	if p.spread {
		return "/" + strconv.Itoa(index-p.first) + tail, true
	}
	return tail, true
}

// maxLocate is how many bytes are read again, in all, to find problems in the
// text of a request.
const maxLocate = 64 << 20

// locate returns the problems with their line and column in text.
func (p place) locate(problems schema.Problems, text []byte) schema.Problems {
	out := make(schema.Problems, len(problems))
	copy(out, problems)
	left := maxLocate
	for i := range out {
		pointer, ok := p.inBody(out[i].Pointer)
		if !ok || out[i].Line > 0 || i >= maxProblems {
			continue
		}
		for left > 0 {
			left -= len(text) + 1
			if line, column, ok := config.Locate(text, pointer); ok {
				out[i].Line, out[i].Column = line, column
				break
			}
			if pointer == "" {
				break
			}
			// What is missing is shown at what it is missing in.
			pointer = pointer[:strings.LastIndexByte(pointer, '/')]
		}
	}
	return out
}
