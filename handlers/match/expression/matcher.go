package expression

import (
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/schema"
)

// Config is an expression in the Common Expression Language (CEL) that
// is true or false for a request: a string, or an object with the members expr
// (the expression) and name (what regular expressions in it are called that have
// no name of their own; Default: none).
//
// {name} is the value of a placeholder with its type: {http.request.port} is a
// number, and an unknown placeholder is null. In a text, \{name} stands for
// {name} itself. Matchers are functions of their name: client_ip, file, header,
// header_regexp, host, method, path, path_regexp, protocol, query, remote_ip,
// url_pattern, vars and vars_regexp. Their arguments are texts in quotes,
// placeholders, and sums of both; header, query and vars take an object of them,
// as in header({'X-Key': ['a', 'b']}). CEL's standard functions and those for
// strings, lists and math are there, and cel.bind. An expression has at most
// 32768 bytes; what takes too many steps for a request fails it with status 500.
type Config struct {
	text, name string
	pointer    string // of the text
}

// JSONShape is a string or an object.
func (Config) JSONShape() schema.Schema {
	return schema.Schema{"anyOf": []any{
		map[string]any{"type": "string"},
		map[string]any{
			"type":       "object",
			"properties": map[string]any{"expr": map[string]any{"type": "string"}, "name": map[string]any{"type": "string"}},
			"required":   []any{"expr"},
		},
	}}
}

// DecodeNode reads either form. Other members of an object are ignored.
func (c *Config) DecodeNode(n *config.Node) (any, error) {
	const want = "an expression in CEL, or an object with the members expr and name"
	switch n.Kind() {
	case config.String:
		*c = Config{text: n.Str()}
		return n.ToGo(), nil
	case config.Object:
		e, name := n.Get("expr"), n.Get("name")
		if e.Kind() != config.String {
			return nil, schema.Problems{{Pointer: pointerIf(e != nil, "/expr"), Message: "the member expr must be a string that holds the expression", Expected: want}}
		}
		if name != nil && name.Kind() != config.String {
			return nil, schema.Problems{{Pointer: "/name", Message: "the member name must be a string", Expected: want}}
		}
		*c = Config{text: e.Str(), pointer: "/expr"}
		if name != nil {
			c.name = name.Str()
		}
		return n.ToGo(), nil
	}
	return nil, schema.Problems{{Message: "expected " + want, Expected: want}}
}

func pointerIf(ok bool, pointer string) string {
	if ok {
		return pointer
	}
	return ""
}

// Spec describes the matcher expression.
func Spec() module.Spec {
	return module.New("http.matchers.expression", "Matches requests for which an expression in CEL is true.", nil, compileMatcher, module.Words(words),
		module.Examples(
			module.Example{Title: "A method or a tree of paths", JSON: `"{http.request.method} == 'POST' || path('/api/*')"`},
			module.Example{Title: "A number in a header field", JSON: `"{http.request.header.X-Version}.matches('^[0-9]{1,9}$') && int({http.request.header.X-Version}) >= 3"`},
			module.Example{Title: "A capture with a name", JSON: `{"expr": "path_regexp('^/users/([^/]+)') && !header({'X-Internal': '*'})", "name": "user"}`},
		))
}

// compileMatcher does not tell the index of routes anything: which hosts and
// paths an expression can match is not known, so it is asked in its turn.
func compileMatcher(env *module.Env, cfg *Config) (handlers.Matcher, error) {
	e, err := Compile(match.Setup{Env: env, Name: cfg.name}, cfg.pointer, cfg.text, match.Functions())
	if err != nil {
		return nil, err
	}
	return e, nil
}

// words reads the first line: one token is the expression, several are
// joined as they were written.
func words(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	name := d.Token()
	args := d.RemainingArgTokens()
	if len(args) == 0 {
		return nil, d.ArgErr()
	}
	if d.OpensBlock() {
		return nil, name.Errf("malformed %s matcher: blocks are not supported", name.Text)
	}
	if len(args) > 1 {
		parts := make([]string, len(args))
		for i, a := range args {
			parts[i] = a.Raw()
		}
		return config.NewString(strings.Join(parts, " ")), nil
	}
	if u.Definition == "" {
		return config.NewString(args[0].Text), nil
	}
	return config.NewObject(map[string]*config.Node{"expr": config.NewString(args[0].Text), "name": config.NewString(u.Definition)}), nil
}
