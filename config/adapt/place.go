package adapt

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/schema"
)

// spot is the first word of a directive or a definition.
type spot struct {
	origin *caddyfile.Origin
	line   int32
	word   string
}

func spotOf(t caddyfile.Token) spot { return spot{t.Origin, t.Line, t.Text} }

// remember keeps the words that a directive is written with.
func (r *run) remember(seg caddyfile.Segment) {
	if len(seg) > 1 && seg[len(seg)-1].Line != seg[0].Line {
		r.segments[spotOf(seg[0])] = seg
	}
}

// Locate returns where the value at a JSON Pointer was written: the line that
// has it among those of the directive that made it, or the directive's own. It
// must be asked before Root is put into another document.
func (d *Document) Locate(pointer string) (file string, line int, ok bool) {
	n := d.Root
	at, ok := d.places[n]
	var below []string // keys and indices below the directive's node
	for _, seg := range strings.Split(pointer, "/")[1:] {
		seg = strings.NewReplacer("~1", "/", "~0", "~").Replace(seg)
		if n = child(n, seg); n == nil {
			break
		}
		below = append(below, seg)
		if t, has := d.places[n]; has {
			at, ok, below = t, true, nil
		}
	}
	if !ok {
		return "", 0, false
	}
	if t, found := d.word(at, n, below); found {
		at = t
	}
	return at.File(), int(at.Line), true
}

// word finds the word of a directive that a value comes from: one that is the
// value, else one that is a key on the way to it.
func (d *Document) word(at caddyfile.Token, n *config.Node, below []string) (caddyfile.Token, bool) {
	seg := d.segments[spotOf(at)]
	if len(seg) == 0 || len(below) == 0 {
		return caddyfile.Token{}, false
	}
	wanted := make([]string, 0, len(below)+1)
	switch n.Kind() {
	case config.String:
		wanted = append(wanted, n.Str())
	case config.Number:
		wanted = append(wanted, string(n.AppendJSON(nil)))
	}
	for i := len(below) - 1; i >= 0; i-- {
		if _, err := strconv.Atoi(below[i]); err != nil {
			wanted = append(wanted, below[i])
		}
	}
	for _, w := range wanted {
		for _, t := range seg[1:] {
			if w != "" && strings.EqualFold(strings.TrimLeft(t.Text, "+-?>@"), strings.TrimLeft(w, "+-?>@")) {
				return t, true
			}
		}
	}
	return caddyfile.Token{}, false
}

func child(n *config.Node, seg string) *config.Node {
	if n.Kind() == config.Object {
		return n.Get(seg)
	}
	i, err := strconv.Atoi(seg)
	if err != nil || n.Kind() != config.Array || i < 0 || i >= n.Len() {
		return nil
	}
	return n.Index(i)
}

// Place returns problems of the document with the file and line of the
// Caddyfile, where they have none.
func (d *Document) Place(ps schema.Problems) schema.Problems {
	out := make(schema.Problems, len(ps))
	for i, p := range ps {
		if p.File == "" {
			if file, line, ok := d.Locate(p.Pointer); ok {
				p.File, p.Line, p.Column = file, line, 0
			}
		}
		out[i] = p
	}
	return out
}
