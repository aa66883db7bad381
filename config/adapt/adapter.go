package adapt

import (
	"maps"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/adapt/tlsadapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// DefaultFilename is what a Caddyfile without a name is called.
const DefaultFilename = "Caddyfile"

// Words are the directives and options that have no module of their own.
type Words struct {
	// Order is the names of directives that make handlers, in the order in which
	// they run. It may hold directives that do not exist yet.
	Order []string
	// Directives are those that belong to no module, because they stand for
	// several.
	Directives []module.Directive
	// Refused is directives and global options that are known but not available
	// yet, each with what its user should know.
	Refused map[string]string
}

// Adapter adapts Caddyfiles. It is immutable and safe for concurrent use.
type Adapter struct {
	table      *module.Table
	order      []string
	refused    map[string]string
	directives map[string]*module.Directive
	names      []string // of directives, sorted
}

// New makes an Adapter of the directives in the table.
func New(table *module.Table, words Words) *Adapter {
	a := &Adapter{table: table, order: words.Order, refused: words.Refused, directives: map[string]*module.Directive{}}
	for _, id := range table.IDs() {
		spec, _ := table.Spec(id)
		for i := range spec.Directives {
			a.directives[spec.Directives[i].Name] = &spec.Directives[i]
		}
	}
	for i := range siteDirectives {
		a.directives[siteDirectives[i].Name] = &siteDirectives[i]
	}
	for i := range words.Directives {
		a.directives[words.Directives[i].Name] = &words.Directives[i]
	}
	a.names = slices.Sorted(maps.Keys(a.directives))
	return a
}

// Directives lists the directives that exist, sorted.
func (a *Adapter) Directives() []string { return slices.Clone(a.names) }

// known reports whether a name is that of a directive, be it one that is
// refused.
func (a *Adapter) known(name string) bool {
	return a.directives[name] != nil || slices.Contains(a.order, name) || a.refused[name] != "" || slices.Contains(unordered, name)
}

// unordered is directives that make no handlers, so that they have no place in
// the order.
var unordered = []string{"bind", "tls", "log", "handle_errors"}

// Source is a Caddyfile.
type Source struct {
	// Filename is what positions name and what relative imports start from.
	// Default: Caddyfile.
	Filename string
	Text     []byte
	// Env is what the text may ask of the world.
	Env caddyfile.Env
}

// Document is what a Caddyfile stands for.
type Document struct {
	// Root is the document. It belongs to the caller.
	Root *config.Node
	// Warnings are about what is accepted but not meant or not spelled so today.
	Warnings []caddyfile.Warning

	places *places.Map
}

// maxWarnings bounds what one text can make of warnings.
const maxWarnings = 100

// Adapt reads a Caddyfile. The error is an Errors, with all problems that could
// be found at once.
func (a *Adapter) Adapt(s Source) (*Document, error) {
	if s.Filename == "" {
		s.Filename = DefaultFilename
	}
	r := newRun(a, s)
	blocks, err := caddyfile.Parse(s.Filename, s.Text, r.env())
	if err != nil {
		return nil, r.fail(err)
	}
	if root := r.document(blocks); len(r.errs) == 0 {
		r.checkFormat()
		return &Document{Root: root, Warnings: r.warnings, places: r.places}, nil
	}
	return nil, r.errs
}

// run is one adaptation.
type run struct {
	*Adapter
	source   Source
	rank     map[string]int // of directives in the order
	order    []string
	options  *options
	groups   counter
	named    *namedRoutes
	logNames counter
	places   *places.Map
	warnings []caddyfile.Warning
	errs     Errors
}

func newRun(a *Adapter, s Source) *run {
	r := &run{Adapter: a, source: s, order: a.order, places: places.New(), named: &namedRoutes{}}
	r.options = newOptions(tlsadapt.World{Table: a.table, Places: r.places, Env: s.Env, Warn: r.warn})
	r.setOrder(a.order)
	return r
}

func (r *run) env() caddyfile.Env {
	env, outer := r.source.Env, r.source.Env.Warn
	env.Warn = func(w caddyfile.Warning) {
		r.warn(w)
		if outer != nil {
			outer(w)
		}
	}
	return env
}

func (r *run) warn(w caddyfile.Warning) {
	if len(r.warnings) < maxWarnings {
		r.warnings = append(r.warnings, w)
	}
}

// checkFormat adds the warning that the text is not formatted.
func (r *run) checkFormat() {
	if line := caddyfile.Unformatted(r.source.Text); line > 0 {
		r.warnings = append(r.warnings, caddyfile.Warning{File: r.source.Filename, Line: line,
			Message: "Caddyfile input is not formatted; run 'sluice fmt --overwrite' to fix inconsistencies"})
	}
}

// dispenser returns one over tokens, standing on the first.
func (r *run) dispenser(tokens []caddyfile.Token) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser(tokens)
	d.Warn = r.warn
	return d
}

func (r *run) setOrder(order []string) {
	r.order = order
	r.rank = make(map[string]int, len(order))
	for i, name := range order {
		r.rank[name] = i
	}
}

// counter numbers things from 0.
type counter int

func (c *counter) next() int {
	n := *c
	*c++
	return int(n)
}
