package match

import (
	"errors"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

const namespace = "http.matchers"

// maxNots is how many "not" there may be in a row. They are read by as many
// nested calls, each of which goes over the rest of the line.
const maxNots = 16

// Set reads a matcher set: what follows d's current token, such as "@name" or
// "not", on its line, and the block if one opens there. Lines of one matcher are
// read together. A quoted token in the place of the first matcher is the text of
// an expression. The definition is the name that matchers may take for
// themselves, empty if there is none. A set of no matchers is an empty object.
func Set(u *module.Use, d *caddyfile.Dispenser, definition string) (*config.Node, error) {
	start := d.Token()
	segment := d.NextSegment()
	if err := countNots(segment[1:]); err != nil {
		return nil, err
	}
	lines, err := linesOf(d.Over(segment))
	if err != nil {
		return nil, err
	}
	set := make(map[string]*config.Node, len(lines))
	for _, l := range lines {
		name := l[0]
		m, err := u.Lines(name, d.Over(l), namespace, definition)
		if err != nil {
			return nil, matcherErr(name, err)
		}
		set[name.Text] = m
	}
	n := config.NewObject(set)
	u.Placed(n, start)
	return n, nil
}

// countNots refuses what would nest too deeply.
func countNots(words []caddyfile.Token) error {
	for n, w := range words {
		switch {
		case w.Text != "not" || w.Quoted():
			return nil
		case n == maxNots:
			return w.Errf("more than %d 'not' in a row", maxNots)
		}
	}
	return nil
}

// linesOf returns the tokens of each matcher in the order in which they begin.
// Each list has at least one. The first token of d is the one before the set.
func linesOf(d *caddyfile.Dispenser) ([]caddyfile.Segment, error) {
	d.Next()
	if first, ok := d.Peek(); ok && first.Quoted() && d.NextArg() {
		name := first.With("expression")
		name.Quote, name.End = caddyfile.Bare, name.Line
		return []caddyfile.Segment{{name, first}}, nil
	}
	var lines []caddyfile.Segment
	places := map[string]int{}
	for nesting := d.Nesting(); d.NextArg() || d.NextBlock(nesting); {
		if d.Token().Opens() {
			return nil, d.SyntaxErr("matcher")
		}
		line := d.NextSegment()
		place, again := places[line.Name()]
		if !again {
			places[line.Name()] = len(lines)
			lines = append(lines, line)
			continue
		}
		lines[place] = append(lines[place], line...)
	}
	return lines, nil
}

// matcherErr says of an unknown module that a matcher was meant.
func matcherErr(name caddyfile.Token, err error) error {
	var e *caddyfile.Error
	unknown := "module not registered: " + namespace + "." + caddyfile.Shorten(name.Text)
	if errors.As(err, &e) && strings.HasSuffix(e.Msg, unknown) {
		e.Msg = "getting matcher module '" + caddyfile.Shorten(name.Text) + "': " + unknown
	}
	return err
}
