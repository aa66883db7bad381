package adapt

import (
	"maps"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/tlsadapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/match"
)

// scope is where directives stand: a site, a named route, or a block in one.
// Matchers that are defined in a scope are known there and in the blocks of it.
type scope struct {
	*run
	parent   *scope
	matchers map[string]*config.Node
	groups   *counter
	pile     *pile
}

// value is what a directive made of routes.
type value struct {
	directive string
	route     module.Route
	list      module.RouteList // instead of route, if together is true
	together  bool
}

// pile is what the directives of a site made.
type pile struct {
	routes  []value
	errors  []module.Route
	binds   []bind
	bound   bool // there was a bind directive
	logs    []accessLog
	tls     tlsadapt.Site
	invoked []module.Invocation
	files   []string
}

// Table implements module.Assembly.
func (s *scope) Table() *module.Table { return s.table }

// Matcher implements module.Assembly.
func (s *scope) Matcher(name string) (*config.Node, bool) {
	set, ok := s.matcher(name)
	if ok {
		set = s.places.Copy(set)
	}
	return set, ok
}

func (s *scope) matcher(name string) (*config.Node, bool) {
	for at := s; at != nil; at = at.parent {
		if set, ok := at.matchers[name]; ok {
			return set, true
		}
	}
	return nil, false
}

// Matchers implements module.Assembly.
func (s *scope) Matchers() []string {
	var names []string
	for at := s; at != nil; at = at.parent {
		names = append(names, slices.Sorted(maps.Keys(at.matchers))...)
	}
	return names
}

// MatcherSet implements module.Assembly.
func (s *scope) MatcherSet(d *caddyfile.Dispenser) (*config.Node, error) {
	return match.Set(&module.Use{Assembly: s, Token: d.Token()}, d, "")
}

// Group implements module.Assembly.
func (s *scope) Group() string { return groupName(s.groups.next()) }

// Option implements module.Assembly.
func (s *scope) Option(name string) any { return s.options.values[name] }

// Shorthand implements module.Assembly.
func (s *scope) Shorthand(text string) (string, bool) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	if _, ok := shorthands[text]; ok {
		return text, true
	}
	short, ok := shortNames[text]
	return short, ok
}

// Files implements module.Assembly.
func (s *scope) Files() []string { return s.pile.files }

// authorityUser is what a directive adds that needs a certificate authority of
// the app pki.
type authorityUser interface {
	Authority() (id string, at caddyfile.Token)
}

// Add implements module.Assembly.
func (s *scope) Add(v any) {
	switch v := v.(type) {
	case module.Invocation:
		s.pile.invoked = append(s.pile.invoked, v)
	case authorityUser:
		s.options.tls.Need(v.Authority())
	}
}

// Placed implements module.Assembly.
func (s *scope) Placed(n *config.Node, t caddyfile.Token) {
	s.places.Put(n, t)
}

// Block implements module.Assembly.
func (s *scope) Block(d *caddyfile.Dispenser, ordered bool) ([]module.Route, error) {
	var segments []caddyfile.Segment
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		segments = append(segments, d.NextSegment())
	}
	inner := &scope{run: s.run, parent: s, groups: s.groups, pile: s.pile}
	if err := inner.define(segments); err != nil {
		return nil, err
	}
	values, err := inner.nested(segments, ordered)
	if err != nil {
		return nil, err
	}
	return inner.build(values, ordered), nil
}

// isDefinition reports whether a segment defines a matcher.
func isDefinition(seg caddyfile.Segment) bool {
	return len(seg[0].Text) > 0 && seg[0].Text[0] == '@'
}

// define reads the matchers that the segments define.
func (s *scope) define(segments []caddyfile.Segment) error {
	var errs collected
	for _, seg := range segments {
		if errs.full() {
			break
		}
		if !isDefinition(seg) {
			continue
		}
		name := seg[0]
		if _, exists := s.matcher(name.Text); exists {
			errs.add(name.Errf("matcher is defined more than once: %s", caddyfile.Shorten(name.Text)))
			continue
		}
		before := s.places.Enter(seg)
		d := s.dispenser(seg)
		d.Next()
		set, err := match.Set(&module.Use{Assembly: s, Token: name}, d, name.Text[1:])
		s.places.Leave(before)
		if err != nil {
			errs.add(placed(name, err))
			set = config.NewObject(nil) // so that its uses are not errors as well
		}
		if s.matchers == nil {
			s.matchers = map[string]*config.Node{}
		}
		s.matchers[name.Text] = set
	}
	return errs.err()
}

// nested runs the directives of a block.
func (s *scope) nested(segments []caddyfile.Segment, ordered bool) ([]value, error) {
	var values []value
	var errs collected
	for _, seg := range segments {
		if errs.full() {
			break
		}
		if isDefinition(seg) {
			continue
		}
		name := seg[0]
		if s.directives[name.Text] == nil {
			errs.add(s.unknownInBlock(name))
			continue
		}
		made, err := s.directive(seg)
		if err != nil {
			errs.add(err)
			continue
		}
		for _, v := range made {
			one, ok := routeValue(name.Text, v)
			_, sortable := s.rank[name.Text]
			switch {
			case ordered && !sortable:
				errs.add(name.Errf("directive '%s' is not an ordered HTTP handler, so it cannot be used here - try placing within a route block or using the order global option", name.Text))
			case !ok:
				errs.add(name.Errf("%s directive returned something other than an HTTP route or subroute: %s (only handler directives can be used in routes)", name.Text, className(v)))
			default:
				values = append(values, one)
			}
		}
	}
	return values, errs.err()
}

func (s *scope) unknownInBlock(name caddyfile.Token) error {
	if err := s.refusedDirective(name); err != nil {
		return err
	}
	return name.Errf("unrecognized directive: %s - are you sure your Caddyfile structure (nesting and braces) is correct?", caddyfile.Shorten(name.Text)).
		Suggest(name.Text, s.names)
}

// refusedDirective is the error for a directive that is known but does not
// exist, nil for others.
func (r *run) refusedDirective(name caddyfile.Token) error {
	why, ok := r.refused[name.Text]
	if !ok && slices.Contains(r.Adapter.order, name.Text) {
		why, ok = "a later version has it", true
	}
	if !ok {
		return nil
	}
	return name.Errf("directive '%s' is not supported yet: %s", name.Text, why)
}

// directive runs one directive.
func (s *scope) directive(seg caddyfile.Segment) ([]any, error) {
	defer s.places.Leave(s.places.Enter(seg))
	name := seg[0]
	dir := s.directives[name.Text]
	d := s.dispenser(seg)
	d.Next()
	if dir.Now != "" {
		d.Warnf("%s is an older spelling; use %s", dir.Name, dir.Now)
	}
	made, err := dir.Read(&module.Use{Assembly: s, Token: name}, d)
	if err != nil {
		return nil, within(name, placed(d.Token(), err))
	}
	if d.Next() {
		return nil, within(name, d.ArgErr())
	}
	if err := s.places.Check(name); err != nil {
		return nil, err
	}
	return made, nil
}

// routeValue is a value as routes, if it is one.
func routeValue(directive string, v any) (value, bool) {
	if directive == "handle_path" {
		directive = "handle"
	}
	switch v := v.(type) {
	case module.Route:
		return value{directive: directive, route: v}, true
	case module.RouteList:
		return value{directive: directive, list: v, together: true}, true
	}
	return value{}, false
}

func className(v any) string {
	switch v.(type) {
	case bind:
		return "addresses to listen on"
	case accessLog:
		return "an access log"
	case errorRoute:
		return "an error route"
	}
	return "a setting of the site"
}
