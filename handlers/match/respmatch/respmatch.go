// Package respmatch decides whether a response is meant by a rule, from its
// status and header.
package respmatch

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Config says which responses match. Both parts must hold; without any, every
// response matches.
type Config struct {
	// StatusCode lists the statuses that match. A number below 100 stands for a
	// class: 4 for 400 to 499. An empty list matches none.
	StatusCode []int `json:"status_code,omitempty"`
	// Headers lists what the values of header fields must be; all fields must
	// match, each with any of its values. A "*" at the beginning or end of a value
	// stands for any text. An empty list asks only that the field is there, null
	// that it is not. There are no placeholders.
	Headers map[string][]string `json:"headers,omitempty"`
}

// Matcher is a Config ready to be asked. It is immutable and safe for
// concurrent use; nil matches everything.
type Matcher struct {
	statuses []statusRange
	none     bool // no status matches
	fields   []field
}

type statusRange struct{ from, to int }

type field struct {
	name   string
	absent bool
	values []value
}

// value is a text, with or without other text around it.
type value struct {
	text          string
	before, after bool
}

// Compile prepares a config; nil gives nil.
func Compile(cfg *Config) *Matcher {
	if cfg == nil {
		return nil
	}
	m := &Matcher{none: cfg.StatusCode != nil && len(cfg.StatusCode) == 0}
	for _, code := range cfg.StatusCode {
		r := statusRange{code, code}
		if code < 100 {
			r = statusRange{code * 100, code*100 + 99}
		}
		m.statuses = append(m.statuses, r)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Headers)) {
		list := cfg.Headers[name]
		f := field{name: http.CanonicalHeaderKey(name), absent: list == nil}
		for _, v := range list {
			f.values = append(f.values, valueOf(v))
		}
		m.fields = append(m.fields, f)
	}
	return m
}

func valueOf(s string) value {
	text, before := strings.CutPrefix(s, "*")
	text, after := strings.CutSuffix(text, "*")
	return value{text, before, after}
}

// Match reports whether a response with this status and header matches.
func (m *Matcher) Match(status int, h http.Header) bool {
	if m == nil {
		return true
	}
	if m.none || !m.matchStatus(status) {
		return false
	}
	for i := range m.fields {
		if !m.fields[i].match(h) {
			return false
		}
	}
	return true
}

func (m *Matcher) matchStatus(status int) bool {
	for _, r := range m.statuses {
		if r.from <= status && status <= r.to {
			return true
		}
	}
	return len(m.statuses) == 0
}

func (f *field) match(h http.Header) bool {
	values := h[f.name]
	present := len(values) > 0 // an entry without values is not sent
	if f.absent || len(f.values) == 0 {
		return present != f.absent
	}
	for _, v := range values {
		for i := range f.values {
			if f.values[i].match(v) {
				return true
			}
		}
	}
	return false
}

func (v *value) match(s string) bool {
	switch {
	case v.before && v.after:
		return strings.Contains(s, v.text)
	case v.before:
		return strings.HasSuffix(s, v.text)
	case v.after:
		return strings.HasPrefix(s, v.text)
	}
	return s == v.text
}
