package headers

import (
	"net/http"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/headerops"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
)

func directives() module.Option {
	return module.Directives(
		module.Directive{Name: "header", Read: readHeader},
		module.Directive{Name: "request_header", Read: readRequestHeader},
	)
}

// response is what a use of the directive header asks for.
type response struct {
	main     ResponseOps
	defaults ResponseOps // fields with "?" of a block, in a handler of their own
	onLine   bool        // main has the field of the first line
}

// readHeader: header [<matcher>] <operation> { ... }
func readHeader(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	var c response
	if d.NextArg() {
		op, err := readOperation(d, d.Val())
		if err != nil {
			return nil, err
		}
		c.onLine = true
		op.onResponse(&c.main, &c.main)
	}
	if err := headerLines.Parse(d, &c); err != nil {
		return nil, err
	}
	var made []*config.Node
	for _, ops := range []*ResponseOps{&c.main, &c.defaults} {
		if len(ops.Add)+len(ops.Set)+len(ops.Delete)+len(ops.Replace) == 0 {
			continue
		}
		h, err := u.Handler("headers", &Config{Response: ops})
		if err != nil {
			return nil, err
		}
		made = append(made, h)
	}
	if len(made) == 0 {
		d.WarnAt(u.Token, "header without a field changes nothing")
		return nil, nil
	}
	return u.Route(m, made...), nil
}

var headerLines = caddyfile.Options[response]{
	Lines: []caddyfile.Option[response]{
		{Name: "defer", Args: caddyfile.None, Set: caddyfile.Flag(func(c *response) *bool { return &c.main.Deferred })},
	},
	Other: func(c *response, d *caddyfile.Dispenser) (bool, error) {
		read := c.field
		if d.Val() == "match" {
			read = c.match
		}
		if err := read(d); err != nil {
			return false, err
		}
		if d.OpensBlock() {
			d.Next()
			return false, d.ArgErr()
		}
		return true, nil
	},
}

// field reads a line of a block.
func (c *response) field(d *caddyfile.Dispenser) error {
	if c.onLine {
		return d.Errf("cannot specify headers in both arguments and block")
	}
	op, err := readOperation(d, strings.TrimSuffix(d.Val(), ":"))
	if err != nil {
		return err
	}
	op.onResponse(&c.main, &c.defaults)
	return nil
}

func (c *response) match(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 0 && !d.OpensBlock() {
		return d.ArgErr()
	}
	if c.main.Require == nil {
		c.main.Require = &respmatch.Config{}
	}
	return c.main.Require.Words(d)
}

// operation is one line: what to do to which field.
type operation struct {
	field       string // with its prefix
	value       string
	replacement *string
}

// readOperation reads the arguments that follow a field, d's current token.
func readOperation(d *caddyfile.Dispenser, field string) (operation, error) {
	op := operation{field: field}
	if strings.TrimLeft(field, "+-?>") == "" {
		return op, d.Errf("the name of the header field is missing in '%s'; it stands behind the prefix without a space", caddyfile.Shorten(field))
	}
	args := d.RemainingArgTokens()
	if len(args) > 0 {
		op.value = args[0].Text
	}
	if len(args) > 1 {
		op.replacement = &args[1].Text
	}
	if n := op.arguments(); len(args) > n {
		d.Warnf("'%s' is ignored: %s takes at most %d arguments", caddyfile.Shorten(args[n].Text), caddyfile.Shorten(field), n)
	}
	return op, nil
}

// arguments is how many count behind the field.
func (o *operation) arguments() int {
	switch o.field[0] {
	case '-':
		return 0
	case '+', '?':
		return 1
	}
	return 2
}

// onResponse adds the operation to ops, or to defaults if it is for responses
// that do not have the field.
func (o *operation) onResponse(ops, defaults *ResponseOps) {
	name, isDefault := strings.CutPrefix(o.field, "?")
	if !isDefault {
		if o.on(&ops.Ops) {
			ops.Deferred = true
		}
		return
	}
	if defaults.Require == nil {
		defaults.Require = &respmatch.Config{}
	}
	if defaults.Require.Headers == nil {
		defaults.Require.Headers = map[string][]string{}
	}
	defaults.Require.Headers[name] = nil
	if defaults.Set == nil {
		defaults.Set = map[string][]string{}
	}
	defaults.Set[http.CanonicalHeaderKey(name)] = []string{o.value}
}

func (o *operation) on(ops *headerops.Ops) (deferred bool) {
	return ops.Words(o.field, o.value, o.replacement)
}

// readRequestHeader: request_header [<matcher>] <operation>
func readRequestHeader(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	field := d.Token()
	if strings.HasPrefix(field.Text, "?") {
		return nil, d.Errf("the default header modifier ('?') can only be used on response headers; for requests without the field, use a matcher such as header !Field")
	}
	if d.CountRemainingArgs() > 2 {
		d.RemainingArgs()
		return nil, d.ArgErr()
	}
	op, err := readOperation(d, strings.TrimSuffix(field.Text, ":"))
	if err != nil {
		return nil, err
	}
	if d.Next() {
		return nil, d.ArgErr()
	}
	cfg := Config{Request: &headerops.Ops{}}
	op.on(cfg.Request)
	return u.One(m, "headers", &cfg)
}
