package adapt

import "github.com/sluiceproxy/sluice/schema"

// Locate returns where the value at a JSON Pointer was written: the line that
// has it among those of the directive that made it, or the directive's own. It
// must be asked before Root is put into another document.
func (d *Document) Locate(pointer string) (file string, line int, ok bool) {
	return d.places.Locate(d.Root, pointer)
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
