package headerops

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// ApplyToRequest changes the request's header and host. The host is treated as
// a field named Host: it can be set, added (then it is replaced), changed and
// deleted, also by a delete of "*".
func (c *Compiled) ApplyToRequest(r *http.Request, s vars.Scope) {
	if c == nil {
		return
	}
	if !c.host {
		c.Apply(r.Header, s)
		return
	}
	// A request that was parsed has no entry Host; one that a handler has put
	// there is not ours to change.
	own, has := r.Header["Host"]
	r.Header["Host"] = []string{r.Host}
	c.Apply(r.Header, s)
	r.Host = ""
	if values := r.Header["Host"]; len(values) > 0 {
		r.Host = values[len(values)-1]
	}
	if has {
		r.Header["Host"] = own
	} else {
		delete(r.Header, "Host")
	}
}

// Apply changes the header fields. No value slice of h is changed in place.
func (c *Compiled) Apply(h http.Header, s vars.Scope) {
	if c == nil {
		return
	}
	if c.wipe {
		clear(h)
	}
	for i := range c.adds {
		c.adds[i].add(h, s)
	}
	for i := range c.sets {
		h[c.sets[i].name.in(s)] = []string{c.sets[i].joined(s)}
	}
	for i := range c.deletes {
		c.deletes[i].apply(h, s)
	}
	for i := range c.replace {
		c.replace[i].apply(h, s)
	}
}

func (a *assignment) add(h http.Header, s vars.Scope) {
	if len(a.values) == 0 {
		return
	}
	name := a.name.in(s)
	values := h[name]
	values = values[:len(values):len(values)]
	for _, v := range a.values {
		values = append(values, v.Expand(s, vars.Known, ""))
	}
	h[name] = values
}

func (a *assignment) joined(s vars.Scope) string {
	switch len(a.values) {
	case 0:
		return ""
	case 1:
		return a.values[0].Expand(s, vars.Known, "")
	}
	texts := make([]string, len(a.values))
	for i, v := range a.values {
		texts[i] = v.Expand(s, vars.Known, "")
	}
	return strings.Join(texts, ",")
}

func (d *deletion) apply(h http.Header, s vars.Scope) {
	p := d.fixed
	if d.isVar {
		name := d.text.Expand(s, vars.Known, "")
		if name == "*" {
			return // only what is written in the config may empty a header
		}
		p = patternOf(name)
	}
	if !p.before && !p.after {
		delete(h, p.text)
		return
	}
	for name := range h {
		if p.matches(name) {
			delete(h, name)
		}
	}
}

// pattern is a field name with or without a "*" at its ends.
type pattern struct {
	text          string
	before, after bool // other text may stand there
}

func patternOf(name string) pattern {
	text, before := strings.CutPrefix(name, "*")
	text, after := strings.CutSuffix(text, "*")
	if !before && !after {
		text = http.CanonicalHeaderKey(text)
	}
	return pattern{text, before, after}
}

// matches compares without regard to case.
func (p *pattern) matches(name string) bool {
	n := len(p.text)
	switch {
	case len(name) < n:
		return false
	case p.before && p.after:
		for i := 0; i+n <= len(name); i++ {
			if strings.EqualFold(name[i:i+n], p.text) {
				return true
			}
		}
		return false
	case p.before:
		return strings.EqualFold(name[len(name)-n:], p.text)
	case p.after:
		return strings.EqualFold(name[:n], p.text)
	}
	return strings.EqualFold(name, p.text)
}

func (r *replacement) apply(h http.Header, s vars.Scope) {
	name := ""
	if !r.all {
		name = r.name.in(s)
		if len(h[name]) == 0 {
			return
		}
	}
	for i := range r.swaps {
		re, search := r.swaps[i].what(s)
		if re == nil && r.swaps[i].dynamic != nil {
			continue
		}
		with := r.swaps[i].with.Expand(s, vars.Known, "")
		if !r.all {
			h[name] = replaceIn(h[name], re, search, with)
			continue
		}
		for name, values := range h {
			h[name] = replaceIn(values, re, search, with)
		}
	}
}

func (w *swap) what(s vars.Scope) (*regexp.Regexp, string) {
	switch {
	case w.regexp != nil:
		return w.regexp, ""
	case w.dynamic != nil:
		return w.dynamic.in(s), ""
	}
	return nil, w.search.Expand(s, vars.Known, "")
}

// replaceIn returns values itself if nothing is found in them.
func replaceIn(values []string, re *regexp.Regexp, search, with string) []string {
	out := values
	for i, v := range values {
		var w string
		if re != nil {
			w = re.ReplaceAllString(v, with)
		} else {
			w = strings.ReplaceAll(v, search, with)
		}
		if w == v {
			continue
		}
		if &out[0] == &values[0] {
			out = append([]string(nil), values...)
		}
		out[i] = w
	}
	return out
}
