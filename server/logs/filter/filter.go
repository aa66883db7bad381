// Package filter changes log entries before they are encoded: fields are
// removed, renamed, masked or hashed, wherever they stand.
//
// A field of an object is named by the path to it, its parts separated by ">":
// request>headers>Authorization.
package filter

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"unicode/utf8"
)

// Filter is what is done to one field. It is immutable and safe for concurrent
// use.
type Filter struct {
	kind kind
	name string // rename: the new name; replace: the value
	// text changes a string; false drops it.
	text func(string) (string, bool)
}

type kind byte

const (
	texts  kind = iota // strings and those in arrays
	digest             // texts, and everything else by its text form
	remove
	rename
	replace
)

// Delete removes the field.
func Delete() *Filter { return &Filter{kind: remove} }

// Rename gives the field another name.
func Rename(name string) *Filter { return &Filter{kind: rename, name: name} }

// Replace puts a string in the place of the value, whatever that is.
func Replace(value string) *Filter { return &Filter{kind: replace, name: value} }

// Hash replaces strings by their Sum. Other values are replaced by that of
// their text, so that nothing is shown that was to be hidden.
func Hash() *Filter {
	return &Filter{kind: digest, text: func(s string) (string, bool) { return Sum(s), true }}
}

// Sum is the first four bytes of the SHA-256 of s, in hexadecimal.
func Sum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// always makes a filter of a function that drops nothing.
func always(f func(string) string) *Filter {
	return &Filter{text: func(s string) (string, bool) { return f(s), true }}
}

// Regexp replaces what matches; the value may refer to groups as in $1.
func Regexp(re *regexp.Regexp, value string) *Filter {
	return always(func(s string) string { return re.ReplaceAllString(s, value) })
}

// Operation is one step of MultiRegexp.
type Operation struct {
	Regexp *regexp.Regexp
	Value  string
}

// MaxOperations is how many operations MultiRegexp should be given at most.
const MaxOperations = 50

// MaxInput is how many bytes of a string MultiRegexp looks at and keeps.
const MaxInput = 1_000_000

// MultiRegexp is several Regexp in order.
func MultiRegexp(ops []Operation) *Filter {
	return always(func(s string) string {
		s = cut(s, MaxInput)
		for _, op := range ops {
			s = cut(op.Regexp.ReplaceAllString(s, op.Value), MaxInput)
		}
		return s
	})
}

// cut returns at most n bytes of s, no character split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Verb is what an Action does to the values that it names.
type Verb byte

const (
	// ReplaceValue puts another value in place.
	ReplaceValue Verb = iota
	// HashValue puts the Sum of the value in place.
	HashValue
	// DeleteValue removes name and value.
	DeleteValue
)

// Action is what Query, Cookie and SetCookie do to the parameters or cookies of
// one name.
type Action struct {
	Verb        Verb
	Name, Value string
}

// apply returns the value to put in place.
func (a *Action) apply(value string) string {
	if a.Verb == HashValue {
		return Sum(value)
	}
	return a.Value
}

// Text is what the filter makes of a string; false means that it is removed.
func (f *Filter) Text(s string) (string, bool) {
	switch f.kind {
	case remove:
		return "", false
	case rename:
		return s, true
	case replace:
		return f.name, true
	}
	return f.text(s)
}
