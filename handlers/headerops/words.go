package headerops

import (
	"net/http"
	"strings"
)

// Words adds one operation as a Caddyfile writes it: a field with its prefix, a
// value or regular expression, and a replacement, nil if there is none. "+F v"
// adds, "-F" deletes, "F find repl" replaces, "F v" and ">F v" set. Names of
// fields that are set or added become canonical. It reports whether the prefix
// asks for the operation to be deferred, which is for the caller to obey.
func (o *Ops) Words(field, value string, replacement *string) (deferred bool) {
	switch {
	case strings.HasPrefix(field, "+"):
		put(&o.Add, field[1:], value, true)
	case strings.HasPrefix(field, "-"):
		o.Delete = append(o.Delete, field[1:])
		return true
	case replacement != nil:
		if o.Replace == nil {
			o.Replace = map[string][]Replacement{}
		}
		name := strings.TrimLeft(field, "+-?>")
		o.Replace[name] = append(o.Replace[name], Replacement{SearchRegexp: value, Replace: *replacement})
		return strings.HasPrefix(field, ">")
	case strings.HasPrefix(field, ">"):
		put(&o.Set, field[1:], value, false)
		return true
	default:
		put(&o.Set, field, value, false)
	}
	return false
}

func put(fields *map[string][]string, name, value string, more bool) {
	if *fields == nil {
		*fields = map[string][]string{}
	}
	name = http.CanonicalHeaderKey(name)
	if more {
		(*fields)[name] = append((*fields)[name], value)
	} else {
		(*fields)[name] = []string{value}
	}
}
