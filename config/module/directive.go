package module

import (
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// Directive is a word of the Caddyfile that makes something of a site.
type Directive struct {
	// Name is the word.
	Name string
	// Now, if not empty, is how Name is spelled today; using Name warns.
	Now string
	// Read takes one use of it. The dispenser stands on the directive's name and
	// holds the directive alone: its arguments and its block. The values are what
	// it makes: a Route for each handler, a RouteList for routes that stay
	// together, and what other floors know. An error without a place gets the
	// place where the dispenser stands.
	Read func(u *Use, d *caddyfile.Dispenser) ([]any, error)
}

// Syntax reads a module that a Caddyfile names where it is used: a matcher, a
// selection policy, a log writer. The dispenser stands before the module's name
// and holds the module alone. For matchers it may hold several lines that begin
// with the name; then all of them count, each as the matcher defines.
//
// The result is the module's config: a pointer to its config type, a map, or a
// *config.Node.
type Syntax func(u *Use, d *caddyfile.Dispenser) (any, error)

// Directives says which directives of the Caddyfile make this module.
func Directives(list ...Directive) Option {
	return func(s *Spec) { s.Directives = append(s.Directives, list...) }
}

// Words says how a Caddyfile writes this module.
func Words(syntax Syntax) Option {
	return func(s *Spec) { s.Words = syntax }
}

// Route is a route that a directive makes.
type Route struct {
	// Group makes routes exclude each other, as in the document.
	Group string
	// Match is the matcher sets, each an object; none matches everything.
	Match []*config.Node
	// Handle is the handlers.
	Handle []*config.Node
	// Terminal ends the routing, as in the document.
	Terminal bool
	// Token is where the route was written.
	Token caddyfile.Token
}

// RouteList is routes that stay together, in their order, wherever their
// directive is sorted to.
type RouteList []Route

// Invocation is a named route that is used. A directive reports it with
// Use.Add, so that the server gets the route.
type Invocation struct {
	Name  string
	Token caddyfile.Token
}

// Assembly is what makes a document of the values of directives, as far as
// directives may ask it.
type Assembly interface {
	// Table is the module kinds.
	Table() *Table
	// Matcher returns the set of the named matcher, the name with its "@". Each
	// call makes a node of its own, which has the places of the definition.
	Matcher(name string) (set *config.Node, ok bool)
	// Matchers lists the names that Matcher knows.
	Matchers() []string
	// MatcherSet reads a set of matchers that has no name: what follows d's
	// current token on its line, and the block if one opens there.
	MatcherSet(d *caddyfile.Dispenser) (*config.Node, error)
	// Block reads the block that opens on the line of d's current token as
	// directives. With ordered they are sorted as in a site; otherwise they
	// stay as written.
	Block(d *caddyfile.Dispenser, ordered bool) ([]Route, error)
	// Group makes a new group name.
	Group() string
	// Option returns what a global option was set to, nil if it was not.
	Option(name string) any
	// Shorthand returns the short form, without braces, of a fixed placeholder
	// whose short or long form a text is, with braces or without.
	Shorthand(text string) (short string, ok bool)
	// Files lists the config files that the site was read from, sorted.
	Files() []string
	// Add gives the site a value beside those that directives return.
	Add(value any)
	// Placed remembers where a node was written.
	Placed(n *config.Node, t caddyfile.Token)
}

// Use is one use of a directive or of a module in a Caddyfile. It is not safe
// for concurrent use.
type Use struct {
	Assembly
	// Definition is the name, without "@", of the matcher that is being defined;
	// empty outside and where a matcher has no name.
	Definition string
	// Token is the name of the directive or module.
	Token caddyfile.Token
}

// Match is the matcher of a use.
type Match struct {
	// Given reports whether there was a matcher token, be it "*".
	Given bool
	// Sets is the matcher sets, for Route.Match.
	Sets []*config.Node
	// Path is the path if it was given as one.
	Path string
}

// Match takes a matcher token out of the line, if the next argument is one: "*",
// a path, or the name of a matcher. Only the first argument of a directive can be
// one. What d stands on stays, so that an error about missing arguments names
// the directive.
func (u *Use) Match(d *caddyfile.Dispenser) (Match, error) {
	next, ok := d.Peek()
	if !ok || !d.Token().SameLine(next) || next.Opens() || !IsMatcher(next.Text) {
		return Match{}, nil
	}
	d.NextArg()
	d.Drop()
	return u.MatchOf(next)
}

// IsMatcher reports whether a first argument is a matcher.
func IsMatcher(text string) bool {
	return text == "*" || (text != "" && (text[0] == '/' || text[0] == '@'))
}

// MatchOf is the matcher that a token stands for.
func (u *Use) MatchOf(t caddyfile.Token) (Match, error) {
	switch {
	case t.Text == "*":
		return Match{Given: true}, nil
	case t.Text[0] == '/':
		set := config.NewObject(map[string]*config.Node{"path": config.NewArray([]*config.Node{config.NewString(t.Text)})})
		u.Placed(set, t)
		return Match{Given: true, Sets: []*config.Node{set}, Path: t.Text}, nil
	}
	set, ok := u.Matcher(t.Text)
	if !ok {
		return Match{}, t.Errf("unrecognized matcher name: %s", caddyfile.Shorten(t.Text)).Suggest(t.Text, u.Matchers())
	}
	return Match{Given: true, Sets: []*config.Node{set}}, nil
}

// Handler makes the node of a handler of its config; nil is an empty one.
func (u *Use) Handler(name string, cfg any) (*config.Node, error) {
	return u.encode("http.handlers."+name, "handler", name, cfg)
}

// Route makes the value of a directive that is one handler behind a matcher.
func (u *Use) Route(m Match, handlers ...*config.Node) []any {
	return []any{Route{Match: m.Sets, Handle: handlers, Token: u.Token}}
}

// One makes the value of a directive that is one handler: Handler and Route.
func (u *Use) One(m Match, handler string, cfg any) ([]any, error) {
	h, err := u.Handler(handler, cfg)
	if err != nil {
		return nil, err
	}
	return u.Route(m, h), nil
}

// TextAndStatus reads the arguments of a directive that takes a text, a status,
// or the text and then the status. A single argument is a status if it is a
// positive number of exactly three characters.
func TextAndStatus(args []string) (text string, status WeakString, ok bool) {
	switch len(args) {
	case 1:
		if n, err := strconv.Atoi(args[0]); err == nil && n > 0 && len(args[0]) == 3 {
			return "", WeakString(args[0]), true
		}
		return args[0], "", true
	case 2:
		return args[0], WeakString(args[1]), true
	}
	return "", "", false
}

// RouteNodes makes the array of a list of routes.
func (u *Use) RouteNodes(routes []Route) *config.Node {
	nodes := make([]*config.Node, len(routes))
	for i := range routes {
		nodes[i] = routes[i].node()
		u.Placed(nodes[i], routes[i].Token)
	}
	return config.NewArray(nodes)
}

func (r *Route) node() *config.Node {
	m := make(map[string]*config.Node, 4)
	if r.Group != "" {
		m["group"] = config.NewString(r.Group)
	}
	if len(r.Match) > 0 {
		m["match"] = config.NewArray(r.Match)
	}
	if len(r.Handle) > 0 {
		m["handle"] = config.NewArray(r.Handle)
	}
	if r.Terminal {
		m["terminal"] = config.NewBool(true)
	}
	return config.NewObject(m)
}

// Module reads a module of a namespace: d's current token is its name. The node
// has the name under the inline key, if that is not empty.
func (u *Use) Module(d *caddyfile.Dispenser, namespace, inline string) (*config.Node, error) {
	name := d.Token()
	return u.module(name, d.NewFromNextSegment(), namespace, inline, "")
}

// Lines reads a matcher of the name of the first token; d holds all of its
// lines. The definition's name is for what is named after it.
func (u *Use) Lines(name caddyfile.Token, d *caddyfile.Dispenser, namespace, definition string) (*config.Node, error) {
	return u.module(name, d, namespace, "", definition)
}

func (u *Use) module(name caddyfile.Token, d *caddyfile.Dispenser, namespace, inline, definition string) (*config.Node, error) {
	id := namespace + "." + name.Text
	spec, ok := u.Table().Spec(id)
	if !ok {
		return nil, u.unknown(name, namespace)
	}
	if spec.Words == nil {
		return nil, name.Errf("module %s has no form in a Caddyfile; write it in JSON", id)
	}
	inner := &Use{Assembly: u.Assembly, Definition: definition, Token: name}
	cfg, err := spec.Words(inner, d)
	if err != nil {
		return nil, err
	}
	return inner.encode(id, inline, name.Text, cfg)
}

func (u *Use) unknown(name caddyfile.Token, namespace string) error {
	id := namespace + "." + caddyfile.Shorten(name.Text)
	if why, ok := u.Table().refused[id]; ok {
		return name.Errf("module %s is not supported yet: %s", id, why)
	}
	return name.Errf("getting module named '%s': module not registered: %s", id, id).Suggest(name.Text, u.Table().names(namespace))
}

func (u *Use) encode(id, inline, name string, cfg any) (*config.Node, error) {
	n, err := u.Table().Encode(id, cfg)
	if err != nil {
		return nil, u.Token.Wrap(err)
	}
	if inline != "" {
		n = withKey(n, inline, name)
	}
	u.Placed(n, u.Token)
	return n, nil
}

// withKey returns the object n with the key set to text.
func withKey(n *config.Node, key, text string) *config.Node {
	m := make(map[string]*config.Node, n.Len()+1)
	for k, v := range n.Members() {
		m[k] = v
	}
	m[key] = config.NewString(text)
	return config.NewObject(m)
}
