// Package filtermod is the modules of the filters that change log entries: their
// configs, and their form in a Caddyfile.
package filtermod

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs/filter"
)

// DeleteConfig has no fields: the field is removed.
type DeleteConfig struct{}

// HashConfig has no fields: the value is replaced by the first four bytes of its
// SHA-256, in hexadecimal.
type HashConfig struct{}

// RenameConfig is the config of the rename filter.
type RenameConfig struct {
	// Name is the field's new name.
	Name string `json:"name" check:"required"`
}

// ReplaceConfig is the config of the replace filter.
type ReplaceConfig struct {
	// Value is put in the place of the field's value, whatever that is. Default:
	// the empty text.
	Value string `json:"value"`
}

// MaskConfig is the config of the ip_mask filter.
type MaskConfig struct {
	// IPv4 is how many bits of an IPv4 address are kept; the others become zero.
	// Default: 0.
	IPv4 int `json:"ipv4_cidr" check:"min=0,max=32"`
	// IPv6 is how many bits of an IPv6 address are kept. Default: 0.
	IPv6 int `json:"ipv6_cidr" check:"min=0,max=128"`
}

// QueryConfig is the config of the query filter.
type QueryConfig struct {
	// Actions are applied in order. Default: none, which only sorts the query.
	Actions []QueryAction `json:"actions"`
}

// QueryAction is what is done to a parameter.
type QueryAction struct {
	// Type is replace, hash or delete.
	Type string `json:"type" check:"required,enum=replace|hash|delete"`
	// Parameter is the name of the parameter; all of the name are meant.
	Parameter string `json:"parameter"`
	// Value is what replace puts in place. Default: the empty text.
	Value string `json:"value"`
}

// CookieConfig is the config of the filters cookie and set_cookie.
type CookieConfig struct {
	// Actions are what is done to cookies; the first that names a cookie counts.
	// Default: none.
	Actions []CookieAction `json:"actions"`
}

// SetCookieConfig is the config of the set_cookie filter.
type SetCookieConfig struct{ CookieConfig }

// CookieAction is what is done to a cookie.
type CookieAction struct {
	// Type is replace, hash or delete.
	Type string `json:"type" check:"required,enum=replace|hash|delete"`
	// Name is the name of the cookie; upper and lower case differ. All cookies of
	// the name are meant.
	Name string `json:"name"`
	// Value is what replace puts in place. Default: the empty text.
	Value string `json:"value"`
}

// RegexpConfig is the config of the regexp filter, and one step of multi_regexp.
type RegexpConfig struct {
	// Regexp is a regular expression in the syntax of RE2.
	Regexp string `json:"regexp"`
	// Value is put in the place of every match; $1 is what the first group
	// matched. Default: the empty text.
	Value string `json:"value"`
}

// MultiRegexpConfig is the config of the multi_regexp filter.
type MultiRegexpConfig struct {
	// Operations are applied in order, 1 to 50 of them, with expressions of up to
	// 1000 bytes. What is beyond the first million bytes of a value is cut off.
	Operations []RegexpConfig `json:"operations" check:"required"`
}

// namespace is that of the filters.
const namespace = "caddy.logging.encoders.filter"

const maxPattern = 1000

// Specs describes the filters.
func Specs() []module.Spec {
	example := func(json string) module.Option {
		return module.Examples(module.Example{Title: "As the filter of a field", JSON: json})
	}
	return []module.Spec{
		module.New(namespace+".delete", "Removes a field.", nil,
			func(*module.Env, *DeleteConfig) (*filter.Filter, error) { return filter.Delete(), nil },
			module.Words(bare[DeleteConfig]), example(`{"filter": "delete"}`)),
		module.New(namespace+".hash", "Puts a short hash in the place of a value.", nil,
			func(*module.Env, *HashConfig) (*filter.Filter, error) { return filter.Hash(), nil },
			module.Words(bare[HashConfig]), example(`{"filter": "hash"}`)),
		module.New(namespace+".rename", "Gives a field another name.", nil,
			func(_ *module.Env, c *RenameConfig) (*filter.Filter, error) { return filter.Rename(c.Name), nil },
			module.Words(renameWords), example(`{"filter": "rename", "name": "address"}`)),
		module.New(namespace+".replace", "Puts a text in the place of a value.", nil,
			func(_ *module.Env, c *ReplaceConfig) (*filter.Filter, error) { return filter.Replace(c.Value), nil },
			module.Words(replaceWords), example(`{"filter": "replace", "value": "REDACTED"}`)),
		module.New(namespace+".ip_mask", "Sets the host part of IP addresses to zero.", nil,
			func(_ *module.Env, c *MaskConfig) (*filter.Filter, error) { return filter.IPMask(c.IPv4, c.IPv6), nil },
			module.Words(maskWords), example(`{"filter": "ip_mask", "ipv4_cidr": 24, "ipv6_cidr": 48}`)),
		module.New(namespace+".query", "Replaces, hashes or removes parameters in the query of a URI.", nil, compileQuery,
			module.Words(queryWords), example(`{"filter": "query", "actions": [{"type": "replace", "parameter": "token", "value": "REDACTED"}, {"type": "hash", "parameter": "user"}, {"type": "delete", "parameter": "debug"}]}`)),
		module.New(namespace+".cookie", "Replaces, hashes or removes cookies of a Cookie header.", nil,
			func(_ *module.Env, c *CookieConfig) (*filter.Filter, error) { return filter.Cookie(c.actions()), nil },
			module.Words(cookieWords), example(`{"filter": "cookie", "actions": [{"type": "hash", "name": "session"}]}`)),
		module.New(namespace+".set_cookie", "Replaces or hashes the cookies of Set-Cookie headers, or removes the headers.", nil,
			func(_ *module.Env, c *SetCookieConfig) (*filter.Filter, error) {
				return filter.SetCookie(c.actions()), nil
			},
			module.Words(setCookieWords), example(`{"filter": "set_cookie", "actions": [{"type": "delete", "name": "session"}]}`)),
		module.New(namespace+".regexp", "Replaces what matches a regular expression.", nil, compileRegexp,
			module.Words(regexpWords), example(`{"filter": "regexp", "regexp": "Bearer .+", "value": "Bearer REDACTED"}`)),
		module.New(namespace+".multi_regexp", "Replaces what matches one regular expression after the other.", nil, compileMultiRegexp,
			module.Words(multiRegexpWords), example(`{"filter": "multi_regexp", "operations": [{"regexp": "secret", "value": "REDACTED"}, {"regexp": "\\d+", "value": "NUM"}]}`)),
	}
}

// verb is the meaning of a type that the schema has let through.
func verb(name string) filter.Verb {
	switch name {
	case "hash":
		return filter.HashValue
	case "delete":
		return filter.DeleteValue
	}
	return filter.ReplaceValue
}

func compileQuery(_ *module.Env, c *QueryConfig) (*filter.Filter, error) {
	actions := make([]filter.Action, len(c.Actions))
	for i, a := range c.Actions {
		actions[i] = filter.Action{Verb: verb(a.Type), Name: a.Parameter, Value: a.Value}
	}
	return filter.Query(actions), nil
}

func (c *CookieConfig) actions() []filter.Action {
	actions := make([]filter.Action, len(c.Actions))
	for i, a := range c.Actions {
		actions[i] = filter.Action{Verb: verb(a.Type), Name: a.Name, Value: a.Value}
	}
	return actions
}

func compileRegexp(_ *module.Env, c *RegexpConfig) (*filter.Filter, error) {
	re, problem := c.compile()
	if problem != nil {
		return nil, schema.Problems{*problem}
	}
	return filter.Regexp(re, c.Value), nil
}

// compile compiles the expression, or returns a problem with its field.
func (c *RegexpConfig) compile() (*regexp.Regexp, *schema.Problem) {
	re, err := regexp.Compile(c.Regexp)
	if err != nil {
		return nil, &schema.Problem{Pointer: "/regexp", Message: err.Error(), Found: c.Regexp, Expected: "a regular expression in the syntax of RE2"}
	}
	return re, nil
}

func compileMultiRegexp(_ *module.Env, c *MultiRegexpConfig) (*filter.Filter, error) {
	if n := len(c.Operations); n == 0 || n > filter.MaxOperations {
		return nil, schema.Problems{{Pointer: "/operations", Message: fmt.Sprintf("multi_regexp has %d operations", n), Expected: fmt.Sprintf("1 to %d operations", filter.MaxOperations)}}
	}
	var ps schema.Problems
	ops := make([]filter.Operation, len(c.Operations))
	for i, op := range c.Operations {
		at := "/operations/" + strconv.Itoa(i)
		if n := len(op.Regexp); n == 0 || n > maxPattern {
			ps = append(ps, schema.Problem{Pointer: at + "/regexp", Message: fmt.Sprintf("the expression has %d bytes", n), Expected: fmt.Sprintf("1 to %d bytes", maxPattern)})
			continue
		}
		re, problem := op.compile()
		if problem != nil {
			problem.Pointer = at + problem.Pointer
			ps = append(ps, *problem)
		}
		ops[i] = filter.Operation{Regexp: re, Value: op.Value}
	}
	if len(ps) > 0 {
		return nil, ps
	}
	return filter.MultiRegexp(ops), nil
}
