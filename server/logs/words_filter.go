package logs

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs/filter"
	"go.uber.org/zap/zapcore"
)

// around is an encoder around another one while its block is read.
type around struct {
	use    *module.Use
	wrap   *config.Node
	scalar map[string]any          // of append
	kinds  map[string]*fieldFilter // of filter
}

// fieldFilter is the filter of one field.
type fieldFilter struct {
	node  *config.Node
	token caddyfile.Token
	steps []*config.Node // those of several lines with regexp
}

func readAround(u *module.Use, d *caddyfile.Dispenser, options *caddyfile.Options[around]) (*around, error) {
	a := &around{use: u, scalar: map[string]any{}, kinds: map[string]*fieldFilter{}}
	return a, readModule(d, options, a)
}

var wrapLine = caddyfile.Option[around]{Name: "wrap", Args: caddyfile.AtLeast(1), Block: true,
	Set: func(a *around, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
		for range args[1:] {
			d.Prev()
		}
		a.wrap, err = a.use.Module(d, encoders, "format")
		return err
	}}

// fieldsLine is a block whose lines are fields, all of them.
func fieldsLine(field func(a *around, d *caddyfile.Dispenser) (bool, error)) caddyfile.Option[around] {
	lines := &caddyfile.Options[around]{Other: field}
	return caddyfile.Option[around]{Name: "fields", Block: true,
		Set: func(a *around, d *caddyfile.Dispenser, _ []caddyfile.Token) error { return lines.Parse(d, a) }}
}

var (
	filterLines   = caddyfile.Options[around]{Lines: []caddyfile.Option[around]{wrapLine, fieldsLine(filteredLine)}, Other: filteredLine}
	appendLines   = caddyfile.Options[around]{Lines: []caddyfile.Option[around]{wrapLine, fieldsLine(appendedLine)}, Other: appendedLine}
	journaldLines = caddyfile.Options[around]{Lines: []caddyfile.Option[around]{wrapLine}}
)

func filterWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	a, err := readAround(u, d, &filterLines)
	if err != nil {
		return nil, err
	}
	cfg := &FilterConfig{Wrap: module.RefTo[zapcore.Encoder](a.wrap), Fields: map[string]module.Ref[*filter.Filter]{}}
	for name, f := range a.kinds {
		n := f.node
		if len(f.steps) > 1 {
			n = config.NewObject(map[string]*config.Node{"filter": config.NewString("multi_regexp"), "operations": config.NewArray(f.steps)})
			u.Placed(n, f.token)
		}
		cfg.Fields[name] = module.RefTo[*filter.Filter](n)
	}
	return cfg, nil
}

func appendWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	a, err := readAround(u, d, &appendLines)
	if err != nil {
		return nil, err
	}
	return &AppendConfig{Wrap: module.RefTo[zapcore.Encoder](a.wrap), Fields: a.scalar}, nil
}

func journaldWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	a, err := readAround(u, d, &journaldLines)
	if err != nil {
		return nil, err
	}
	return &JournaldConfig{Wrap: module.RefTo[zapcore.Encoder](a.wrap)}, nil
}

// filteredLine reads a field and its filter. Regular expressions on several
// lines are all applied, in their order.
func filteredLine(a *around, d *caddyfile.Dispenser) (bool, error) {
	field := d.Token()
	if !d.NextArg() {
		return false, d.ArgErr()
	}
	name := d.Token()
	n, err := a.use.Module(d, filters, "filter")
	if err != nil {
		return false, err
	}
	known := a.kinds[field.Text]
	step := name.Text == "regexp"
	switch {
	case known == nil:
		known = &fieldFilter{node: n, token: name}
		a.kinds[field.Text] = known
	case step != (known.steps != nil):
		return false, field.Errf("cannot mix regexp filters with other filter types for field %s", caddyfile.Shorten(field.Text))
	case !step:
		return false, field.Errf("field %s already has a filter; multiple non-regexp filters per field are not supported", caddyfile.Shorten(field.Text))
	case len(known.steps) == filter.MaxOperations:
		return false, field.Errf("field %s has more than %d regexp filters", caddyfile.Shorten(field.Text), filter.MaxOperations)
	}
	if step {
		known.steps = append(known.steps, operation(n))
	}
	return true, nil
}

// operation is a regexp filter as a step of multi_regexp.
func operation(n *config.Node) *config.Node {
	m := map[string]*config.Node{}
	for _, key := range []string{"regexp", "value"} {
		if v := n.Get(key); v != nil {
			m[key] = v
		}
	}
	return config.NewObject(m)
}

// appendedLine reads a field and its value.
func appendedLine(a *around, d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	args := d.RemainingArgTokens()
	if len(args) != 1 || d.OpensBlock() {
		return false, d.ArgErr()
	}
	v, err := args[0].Scalar()
	if err != nil {
		return false, err
	}
	a.scalar[name] = v
	return true, nil
}
