// Package headerops changes header fields: the operations add, set, delete and
// replace that several handlers offer with the same config. They are compiled
// once, at load, and applied to many requests or responses.
package headerops

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Ops says how to change header fields. The operations are applied in the order
// delete of "*", add, set, other delete, replace; so a field that is both set
// and deleted by its name ends deleted. Field names are case-insensitive. Names,
// values and search texts may hold placeholders; an unknown placeholder stays
// in the text as it is.
type Ops struct {
	// Add appends values to fields, one line for each value.
	Add map[string][]string `json:"add,omitempty"`
	// Set replaces all values of fields by one line. Several values are joined
	// with commas; an empty list sets an empty value.
	Set map[string][]string `json:"set,omitempty"`
	// Delete removes fields. "*" removes all fields before anything else is
	// done; "x*" removes those whose name begins with x, "*x" those whose name
	// ends with x, "*x*" those whose name contains x.
	Delete []string `json:"delete,omitempty"`
	// Replace changes text within the existing values of fields; "*" stands for
	// all fields.
	Replace map[string][]Replacement `json:"replace,omitempty"`
}

// Replacement is one search and replace within a field's values.
type Replacement struct {
	// Search is the text to look for. If neither it nor search_regexp is given,
	// the replacement is inserted between all characters.
	Search string `json:"search,omitempty"`
	// SearchRegexp is a regular expression (RE2 syntax) to look for, instead of
	// search. One with text in braces may hold placeholders; it is skipped when
	// what they expand to makes it invalid.
	SearchRegexp string `json:"search_regexp,omitempty"`
	// Replace is what to put in place of each match. With search_regexp, $1 and
	// ${name} stand for its groups.
	Replace string `json:"replace,omitempty"`
}

// Options of Compile.
type Options struct {
	// AllowBoth accepts a replacement with both search texts; the regular
	// expression counts then. Otherwise that is a problem.
	AllowBoth bool
}

// Compiled is Ops ready to be applied. It is immutable and safe for concurrent
// use; nil changes nothing.
type Compiled struct {
	wipe    bool
	adds    []assignment
	sets    []assignment
	deletes []deletion
	replace []replacement
	host    bool // a request's host may be concerned
}

// assignment is the new values of one field.
type assignment struct {
	name   fieldName
	values []vars.Text
}

// fieldName is a canonical name, or a text that becomes one.
type fieldName struct {
	fixed string
	text  vars.Text
	isVar bool
}

type deletion struct {
	fixed pattern
	text  vars.Text
	isVar bool
}

type replacement struct {
	name  fieldName
	all   bool
	swaps []swap
}

type swap struct {
	search, with vars.Text
	regexp       *regexp.Regexp
	dynamic      *dynamicRegexp
}

// Compile prepares the operations. It returns nil for nil or if there is
// nothing to do. The error is a schema.Problems with pointers below the ops.
func Compile(o *Ops, opts Options) (*Compiled, error) {
	if o == nil || len(o.Add)+len(o.Set)+len(o.Delete)+len(o.Replace) == 0 {
		return nil, nil
	}
	c := &Compiled{adds: assignments(o.Add), sets: assignments(o.Set)}
	for _, name := range o.Delete {
		if name == "*" {
			c.wipe = true
			continue
		}
		text := vars.Parse(name)
		if lit, ok := text.Literal(); ok {
			c.deletes = append(c.deletes, deletion{fixed: patternOf(lit)})
		} else {
			c.deletes = append(c.deletes, deletion{text: text, isVar: true})
		}
	}
	problems := c.compileReplace(o.Replace, opts)
	if len(problems) > 0 {
		return nil, problems
	}
	c.host = c.concernsHost()
	return c, nil
}

// assignments are in sorted order, so that the outcome does not vary.
func assignments(fields map[string][]string) []assignment {
	list := make([]assignment, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		a := assignment{name: nameOf(name)}
		for _, v := range fields[name] {
			a.values = append(a.values, vars.Parse(v))
		}
		list = append(list, a)
	}
	return list
}

func nameOf(name string) fieldName {
	text := vars.Parse(name)
	if lit, ok := text.Literal(); ok {
		return fieldName{fixed: http.CanonicalHeaderKey(lit)}
	}
	return fieldName{text: text, isVar: true}
}

func (n *fieldName) in(s vars.Scope) string {
	if !n.isVar {
		return n.fixed
	}
	return http.CanonicalHeaderKey(n.text.Expand(s, vars.Known, ""))
}

func (c *Compiled) compileReplace(fields map[string][]Replacement, opts Options) schema.Problems {
	var problems schema.Problems
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		r := replacement{all: name == "*"}
		if !r.all {
			r.name = nameOf(name)
		}
		for i, cfg := range fields[name] {
			s, message := swapOf(cfg, opts)
			if message != "" {
				at := config.JoinPointer(config.JoinPointer("/replace", name), strconv.Itoa(i))
				problems = append(problems, schema.Problem{Pointer: at + "/search_regexp", Message: message, Found: cfg.SearchRegexp})
			}
			r.swaps = append(r.swaps, s)
		}
		c.replace = append(c.replace, r)
	}
	return problems
}

func swapOf(cfg Replacement, opts Options) (s swap, problem string) {
	s = swap{search: vars.Parse(cfg.Search), with: vars.Parse(cfg.Replace)}
	switch {
	case cfg.SearchRegexp == "":
	case cfg.Search != "" && !opts.AllowBoth:
		return s, `"search" and "search_regexp" exclude each other; give one of them`
	case hasBraces(cfg.SearchRegexp):
		s.dynamic = &dynamicRegexp{text: vars.Parse(cfg.SearchRegexp)}
	default:
		re, err := regexp.Compile(cfg.SearchRegexp)
		if err != nil {
			return s, "invalid regular expression: " + err.Error()
		}
		s.regexp = re
	}
	return s, ""
}

// hasBraces reports whether the first braces of s have text in them; then they
// are taken for a placeholder.
func hasBraces(s string) bool {
	_, rest, ok := strings.Cut(s, "{")
	return ok && strings.IndexByte(rest, '}') > 0
}

// dynamicRegexp is a regular expression with placeholders. It keeps the one it
// has made last, since most expand to the same text every time.
type dynamicRegexp struct {
	text vars.Text
	last atomic.Pointer[compiledRegexp]
}

type compiledRegexp struct {
	source string
	regexp *regexp.Regexp // nil if invalid
}

func (d *dynamicRegexp) in(s vars.Scope) *regexp.Regexp {
	source := d.text.Expand(s, vars.Known, "")
	if l := d.last.Load(); l != nil && l.source == source {
		return l.regexp
	}
	re, err := regexp.Compile(source)
	if err != nil {
		re = nil
	}
	d.last.Store(&compiledRegexp{source, re})
	return re
}

// concernsHost reports whether the operations could read or change Host.
func (c *Compiled) concernsHost() bool {
	concerns := func(n fieldName) bool { return n.isVar || n.fixed == "Host" }
	for _, list := range [][]assignment{c.adds, c.sets} {
		if slices.ContainsFunc(list, func(a assignment) bool { return concerns(a.name) }) {
			return true
		}
	}
	return c.wipe ||
		slices.ContainsFunc(c.deletes, func(d deletion) bool { return d.isVar || d.fixed.matches("Host") }) ||
		slices.ContainsFunc(c.replace, func(r replacement) bool { return r.all || concerns(r.name) })
}
