package adapt

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Locate returns where the value at a JSON Pointer was written: the place of
// the smallest part of the document around it that has one. It must be asked
// before Root is put into another document.
func (d *Document) Locate(pointer string) (file string, line int, ok bool) {
	n := d.Root
	if t, has := d.places[n]; has {
		file, line, ok = t.File(), int(t.Line), true
	}
	for _, seg := range strings.Split(pointer, "/")[1:] {
		seg = strings.NewReplacer("~1", "/", "~0", "~").Replace(seg)
		if n = child(n, seg); n == nil {
			break
		}
		if t, has := d.places[n]; has {
			file, line, ok = t.File(), int(t.Line), true
		}
	}
	return file, line, ok
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
