// Package rewriteops changes the method and the URI of requests. The config is
// compiled once, at load, and applied to many requests.
package rewriteops

import (
	"regexp"
	"strconv"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Config says how to rewrite a request. What is given is applied in the order
// of the fields. All texts may hold placeholders unless said otherwise; unknown
// and empty ones are replaced by nothing.
type Config struct {
	// Method is the new method; it is upper-cased.
	Method string `json:"method,omitempty"`
	// URI is the new URI or a part of it: a path, a query behind "?", a fragment
	// behind "#". Only the parts that are given change; a lone "?" removes the
	// query.
	URI string `json:"uri,omitempty"`
	// StripPathPrefix is taken off the beginning of the path, without regard to
	// case. It gets a leading slash if it has none. An escape such as %2F in it
	// stands for just that escape. The path is cleaned in any case: dot segments
	// are resolved, and slashes merged unless the prefix contains "//".
	StripPathPrefix string `json:"strip_path_prefix,omitempty"`
	// StripPathSuffix is taken off the end of the escaped path, without regard to
	// case. The path is cleaned as for strip_path_prefix.
	StripPathSuffix string `json:"strip_path_suffix,omitempty"`
	// URISubstring replaces text in the escaped path and in the query.
	URISubstring []Substring `json:"uri_substring,omitempty"`
	// PathRegexp replaces matches of regular expressions in the escaped path.
	PathRegexp []Regexp `json:"path_regexp,omitempty"`
	// Query changes keys of the query. When it is given, the query is encoded
	// again: sorted by key, without what was malformed.
	Query *Query `json:"query,omitempty"`
}

// Substring replaces text. The path is cleaned first: dot segments are
// resolved, and slashes merged unless find contains "//".
type Substring struct {
	// Find is the text to look for; if it is empty nothing is replaced.
	Find string `json:"find,omitempty"`
	// Replace is what to put in its place.
	Replace string `json:"replace,omitempty"`
	// Limit is how often it is replaced at most, counted for the path and for the
	// query; 0 or less means always.
	Limit int `json:"limit,omitempty"`
}

// Regexp replaces the matches of a regular expression in the escaped path.
type Regexp struct {
	// Find is the expression, in RE2 syntax. Required. It takes no placeholders.
	Find string `json:"find"`
	// Replace is what to put in place of each match; $1 stands for the first
	// group. (${name} is a placeholder, as everywhere.)
	Replace string `json:"replace,omitempty"`
}

// Query is what to do to the keys of the query, in the order of the fields.
type Query struct {
	// Rename gives a key another name, overwriting a key of that name.
	Rename []KeyValue `json:"rename,omitempty"`
	// Set gives a key exactly one value.
	Set []KeyValue `json:"set,omitempty"`
	// Add gives a key one more value.
	Add []KeyValue `json:"add,omitempty"`
	// Replace changes text within the values of a key.
	Replace []QueryReplacement `json:"replace,omitempty"`
	// Delete removes keys.
	Delete []string `json:"delete,omitempty"`
}

// KeyValue is a key of the query and what it gets.
type KeyValue struct {
	// Key is the key.
	Key string `json:"key,omitempty"`
	// Val is the value, or the new name.
	Val string `json:"val,omitempty"`
}

// QueryReplacement is one search and replace within the values of a key.
type QueryReplacement struct {
	// Key is the key; "*" stands for all keys.
	Key string `json:"key,omitempty"`
	// Search is the text to look for. An unknown placeholder stays as it is.
	Search string `json:"search,omitempty"`
	// SearchRegexp is a regular expression (RE2 syntax) to look for, instead of
	// search. It takes no placeholders.
	SearchRegexp string `json:"search_regexp,omitempty"`
	// Replace is what to put in place of each match; with search_regexp, $1
	// stands for the first group. An unknown placeholder stays as it is.
	Replace string `json:"replace,omitempty"`
}

// Compiled is a Config ready to be applied. It is immutable and safe for
// concurrent use; nil changes nothing.
type Compiled struct {
	method     *vars.Text
	uri        *uri
	prefix     *vars.Text
	suffix     *vars.Text
	substrings []substring
	regexps    []pathRegexp
	query      *query
}

// Compile prepares a config; nil gives nil. The error is a schema.Problems with
// pointers below the config.
func Compile(cfg *Config) (*Compiled, error) {
	if cfg == nil {
		return nil, nil
	}
	var problems schema.Problems
	c := &Compiled{
		method: textOf(cfg.Method), uri: parseURI(cfg.URI),
		prefix: textOf(cfg.StripPathPrefix), suffix: textOf(cfg.StripPathSuffix),
	}
	for _, s := range cfg.URISubstring {
		if s.Find != "" {
			c.substrings = append(c.substrings, newSubstring(s))
		}
	}
	for i, r := range cfg.PathRegexp {
		at := "/path_regexp/" + strconv.Itoa(i) + "/find"
		if r.Find == "" {
			problems = append(problems, schema.Problem{Pointer: at, Message: "a regular expression to find is required"})
			continue
		}
		re, err := regexp.Compile(r.Find)
		if err != nil {
			problems = append(problems, invalidRegexp(at, r.Find, err))
			continue
		}
		c.regexps = append(c.regexps, pathRegexp{re, vars.Parse(r.Replace)})
	}
	var ps schema.Problems
	c.query, ps = compileQuery(cfg.Query)
	if problems = append(problems, ps...); len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

func invalidRegexp(pointer, source string, err error) schema.Problem {
	return schema.Problem{Pointer: pointer, Message: "invalid regular expression: " + err.Error(), Found: source}
}

// textOf is nil for a field that is not given.
func textOf(s string) *vars.Text {
	if s == "" {
		return nil
	}
	t := vars.Parse(s)
	return &t
}
