package route

import (
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
)

// ResponseWords reads the lines of a Caddyfile that make a list of
// ResponseConfig: matchers (@name), replace_status and handle_response. The zero
// value is ready.
type ResponseWords struct {
	// First is entries that stand before those that were read.
	First []ResponseConfig

	matchers map[string]*respmatch.Config
	names    []string
	replaced []ResponseConfig
	handled  []*caddyfile.Dispenser // read at the end, when all matchers are known
}

// Line reads a line if it is one of these; d stands on its first word.
func (w *ResponseWords) Line(d *caddyfile.Dispenser) (bool, error) {
	switch name := d.Val(); {
	case strings.HasPrefix(name, "@"):
		return true, w.define(d)
	case name == "replace_status":
		return true, w.replace(d)
	case name == "handle_response":
		w.handled = append(w.handled, d.NewFromNextSegment())
		return true, nil
	}
	return false, nil
}

func (w *ResponseWords) define(d *caddyfile.Dispenser) error {
	name := d.Token()
	if w.matchers[name.Text] != nil {
		return name.Errf("matcher is defined more than once: %s", caddyfile.Shorten(name.Text))
	}
	inner := d.NewFromNextSegment()
	inner.Next()
	m := &respmatch.Config{}
	if err := m.Words(inner); err != nil {
		return err
	}
	if w.matchers == nil {
		w.matchers = map[string]*respmatch.Config{}
	}
	w.matchers[name.Text] = m
	w.names = append(w.names, name.Text)
	return nil
}

func (w *ResponseWords) replace(d *caddyfile.Dispenser) error {
	args := d.RemainingArgTokens()
	if len(args) != 1 && len(args) != 2 {
		return d.Errf("must have one or two arguments: an optional response matcher, and a status code")
	}
	var c ResponseConfig
	if len(args) == 2 {
		m, err := w.matcher(args[0])
		if err != nil {
			return err
		}
		c.Match = m
	}
	c.StatusCode = module.WeakString(args[len(args)-1].Text)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Errf("cannot define routes for 'replace_status', use 'handle_response' instead.")
	}
	w.replaced = append(w.replaced, c)
	return nil
}

func (w *ResponseWords) matcher(t caddyfile.Token) (*respmatch.Config, error) {
	if !strings.HasPrefix(t.Text, "@") {
		return nil, t.Errf("must use a named response matcher, starting with '@'")
	}
	m := w.matchers[t.Text]
	if m == nil {
		return nil, t.Errf("no named response matcher defined with name '%s'", caddyfile.Shorten(t.Text[1:])).Suggest(t.Text, w.names)
	}
	return m, nil
}

// Responses returns the entries: what was given first, what replaces a status,
// and what runs routes, each in the order of the text; then all with a matcher
// are moved before those without.
func (w *ResponseWords) Responses(u *module.Use) ([]ResponseConfig, error) {
	all := append(append([]ResponseConfig(nil), w.First...), w.replaced...)
	for _, d := range w.handled {
		c, err := w.handle(u, d)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	var out, rest []ResponseConfig
	for _, c := range all {
		if c.Match != nil {
			out = append(out, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(out, rest...), nil
}

func (w *ResponseWords) handle(u *module.Use, d *caddyfile.Dispenser) (ResponseConfig, error) {
	var c ResponseConfig
	d.Next()
	args := d.RemainingArgTokens()
	if len(args) > 1 {
		return c, d.Errf("too many arguments for 'handle_response': only a single response matcher name is allowed, but got: %s", words(args))
	}
	if len(args) == 1 {
		m, err := w.matcher(args[0])
		if err != nil {
			return c, err
		}
		c.Match = m
	}
	routes, err := u.Block(d, true)
	if err != nil {
		return c, err
	}
	c.Routes = module.RefTo[*List](u.RouteNodes(routes))
	return c, nil
}

// words shows arguments as a list.
func words(args []caddyfile.Token) string {
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = caddyfile.Shorten(a.Text)
	}
	return "[" + strings.Join(texts, " ") + "]"
}
