// Package maphandler defines placeholders whose values depend on another text.
// Its module is named map.
package maphandler

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Config is the handler map. It makes placeholders of the names in destinations;
// their values are computed where they are used, from the request as it is then.
type Config struct {
	// Source is the text that is looked up; placeholders are replaced.
	Source string `json:"source,omitempty"`
	// Destinations are the placeholders to define, each written as {name}. A name
	// that is a placeholder already keeps its meaning, and of two maps with the
	// same destination the one that ran first counts.
	Destinations []string `json:"destinations,omitempty"`
	// Mappings are tried in order, for each destination by itself: the first one
	// that fits the source and has an output for the destination gives the value.
	Mappings []Mapping `json:"mappings,omitempty"`
	// Defaults are the values of the destinations where no mapping fits, one for
	// each; placeholders are replaced. Default: none, the value is empty.
	Defaults []string `json:"defaults,omitempty"`
}

// Mapping says what an input is turned into. It has an input or an
// input_regexp; no two mappings have the same text.
type Mapping struct {
	// Input fits a source that is exactly this text.
	Input string `json:"input,omitempty"`
	// InputRegexp is an RE2 expression that fits a source which it matches
	// anywhere; use ^ and $ to tie it to the ends.
	InputRegexp string `json:"input_regexp,omitempty"`
	// Outputs are the values, one for each destination. Null leaves the destination
	// to later mappings. In outputs for an input, placeholders are replaced; in
	// those for an input_regexp they are not, and $1, ${1} and ${name} are what
	// the expression's groups matched.
	Outputs []any `json:"outputs,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.map", "Defines placeholders whose values depend on a text of the request.", nil, compile, module.Examples(
		module.Example{Title: "Choose an upstream by the host", JSON: `{"handler": "map", "source": "{http.request.host}", "destinations": ["{backend}"],
			"mappings": [{"input": "a.example.com", "outputs": ["10.0.0.1:8080"]}, {"input_regexp": "^(.*)\\.test$", "outputs": ["$1.internal:8080"]}],
			"defaults": ["10.0.0.9:8080"]}`},
		module.Example{Title: "Two values at once", JSON: `{"handler": "map", "source": "{http.request.uri.path}", "destinations": ["{area}", "{level}"],
			"mappings": [{"input": "/", "outputs": ["home", 1]}, {"input_regexp": "^/([a-z]+)/", "outputs": ["$1", null]}]}`},
	), module.Directives(module.Directive{Name: "map", Read: readMap}))
}

type handler struct {
	source vars.Text
	dests  []destination
}

// destination is one placeholder and what it may become.
type destination struct {
	name     string
	builtIn  bool // it may be a name of the house, which then wins
	exact    map[string]output
	patterns []pattern
	fallback vars.Text
	known    bool // fallback is one
}

// output is the value for a plain input; at is the place of its mapping.
type output struct {
	at   int
	text vars.Text
}

// pattern is the value for an expression.
type pattern struct {
	at   int
	re   *regexp.Regexp
	text string
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	c := compiler{h: &handler{source: vars.Parse(cfg.Source)}}
	c.check("/source", c.h.source)
	c.destinations(cfg)
	seen := map[string]bool{}
	for i := range cfg.Mappings {
		c.mapping(i, &cfg.Mappings[i], len(cfg.Destinations), seen)
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return c.h, nil
}

type compiler struct {
	h        *handler
	problems schema.Problems
}

func (c *compiler) problem(pointer, format string, args ...any) {
	c.problems = append(c.problems, schema.Problem{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
}

func (c *compiler) check(pointer string, t vars.Text) {
	if err := t.Err(); err != nil {
		c.problem(pointer, "%v", err)
	}
}

func (c *compiler) destinations(cfg *Config) {
	if n := len(cfg.Defaults); n != 0 && n != len(cfg.Destinations) {
		c.problem("/defaults", "there are %d defaults and %d destinations; give a default for each destination, or none", n, len(cfg.Destinations))
	}
	for k, text := range cfg.Destinations {
		pointer := "/destinations/" + strconv.Itoa(k)
		if !strings.HasPrefix(text, "{") || strings.Count(text, "{") != 1 {
			c.problem(pointer, "destination %q is not a placeholder; write it as {name}", text)
		}
		name := strings.Trim(text, "{}")
		d := destination{name: name, builtIn: strings.HasPrefix(name, "http."), exact: map[string]output{}}
		if k < len(cfg.Defaults) {
			d.fallback, d.known = vars.Parse(cfg.Defaults[k]), true
			c.check("/defaults/"+strconv.Itoa(k), d.fallback)
		}
		c.h.dests = append(c.h.dests, d)
	}
}

func (c *compiler) mapping(i int, m *Mapping, want int, seen map[string]bool) {
	pointer := "/mappings/" + strconv.Itoa(i)
	if m.Input != "" && m.InputRegexp != "" {
		c.problem(pointer, "a mapping cannot have both input and input_regexp; make it two mappings")
		return
	}
	input, at := m.Input, "/input"
	if m.InputRegexp != "" {
		input, at = m.InputRegexp, "/input_regexp"
	}
	if seen[input] {
		c.problem(pointer+at, "a mapping before this one has the same input %q; remove one of them", input)
	}
	seen[input] = true
	if len(m.Outputs) != want {
		c.problem(pointer+"/outputs", "there are %d outputs and %d destinations; give an output for each destination, null for those without", len(m.Outputs), want)
		return
	}
	var re *regexp.Regexp
	if m.InputRegexp != "" {
		var err error
		if re, err = regexp.Compile(m.InputRegexp); err != nil {
			c.problem(pointer+"/input_regexp", "invalid regular expression: %v", err)
			return
		}
	}
	for k, v := range m.Outputs {
		if v == nil {
			continue
		}
		d, text := &c.h.dests[k], vars.ToString(v)
		if re != nil {
			d.patterns = append(d.patterns, pattern{i, re, text})
			continue
		}
		t := vars.Parse(text)
		c.check(pointer+"/outputs/"+strconv.Itoa(k), t)
		d.exact[m.Input] = output{i, t}
	}
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	if len(h.dests) > 0 {
		join(handlers.Of(r), h)
	}
	return next.ServeHTTP(w, r)
}

// value computes a destination.
func (h *handler) value(d *destination, x *handlers.Exchange) any {
	source := h.source.Expand(x, vars.All, "")
	found, plain := d.exact[source]
	for i := range d.patterns {
		p := &d.patterns[i]
		if plain && found.at < p.at {
			break
		}
		if m := p.re.FindStringSubmatchIndex(source); m != nil {
			return string(p.re.ExpandString(nil, p.text, source, m))
		}
	}
	switch {
	case plain:
		return found.text.Expand(x, vars.All, "")
	case d.known:
		return d.fallback.Expand(x, vars.All, "")
	}
	return nil
}
