package handlers

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// An Exchange is the scope of everything that is expanded at request time.
var _ vars.StringScope = (*Exchange)(nil)

// found is what a placeholder stands for. A plain text, or a number that was
// one, stays unboxed.
type found struct {
	text   string
	number int
	other  any
	state  state
}

type state uint8

const (
	unknown state = iota
	isText
	isNumber // with its text
	isOther
)

func textOf(s string) found { return found{text: s, state: isText} }
func valueOf(v any) found   { return found{other: v, state: isOther} }
func (f found) known() bool { return f.state != unknown }
func (f found) value() any {
	switch f.state {
	case isText:
		return f.text
	case isNumber:
		return f.number
	}
	return f.other
}

// Lookup returns the value of a placeholder, given without braces: names that
// need no request first (see Globals), then what was Set, then the names of the
// request, its response and its variables. A name may be known and have no
// value: nil, true. The value follows the request as handlers change it.
//
// {http.request.body} reads the body, which stays readable, and
// {http.request.uuid} makes a UUID and a log field; no other name has an
// effect.
func (x *Exchange) Lookup(name string) (value any, known bool) {
	f := x.find(name)
	return f.value(), f.known()
}

// LookupString is Lookup for where only the text is needed. It copies nothing
// where the value is a string that exists as it is.
func (x *Exchange) LookupString(name string) (text string, known, ok bool) {
	f := x.find(name)
	if f.state == isOther {
		return vars.ToString(f.other), true, true
	}
	return f.text, f.known(), true
}

func (x *Exchange) find(name string) found {
	rest, http := strings.CutPrefix(name, "http.")
	if !http {
		if f := x.findGlobal(name); f.known() {
			return f
		}
	}
	if v, ok := x.set[name]; ok {
		return valueOf(v)
	}
	for _, s := range slices.Backward(x.scopes) {
		if v, known := s.Lookup(name); known {
			return valueOf(v)
		}
	}
	if !http {
		return found{}
	}
	if name, ok := strings.CutPrefix(rest, "request."); ok {
		return x.findRequest(name)
	}
	if name, ok := strings.CutPrefix(rest, "vars."); ok {
		return x.findVar(name)
	}
	if name, ok := strings.CutPrefix(rest, "response.header."); ok {
		if x.Response == nil {
			return textOf("")
		}
		return textOf(headerText(x.Response.Header(), name))
	}
	switch rest {
	case "shutting_down":
		return valueOf(!x.shutdownAt().IsZero())
	case "time_until_shutdown":
		if at := x.shutdownAt(); !at.IsZero() {
			return valueOf(time.Until(at))
		}
		return valueOf(nil)
	}
	return found{}
}

func (x *Exchange) findGlobal(name string) found {
	if x.Globals == nil {
		return found{}
	}
	if s, ok := x.Globals.(vars.StringScope); ok {
		if text, known, ok := s.LookupString(name); ok && !known {
			return found{}
		} else if ok {
			return textOf(text)
		}
	}
	if v, known := x.Globals.Lookup(name); known {
		return valueOf(v)
	}
	return found{}
}

// findVar always knows the name.
func (x *Exchange) findVar(name string) found {
	if _, own := x.vars[name]; !own && name == "client_ip" {
		ip, _ := x.ClientIP()
		return textOf(ip)
	}
	return valueOf(x.Var(name))
}

func (x *Exchange) shutdownAt() time.Time {
	if x.Server == nil {
		return time.Time{}
	}
	return x.Server.ShutdownAt()
}

// headerText is all values of a field, joined with commas. The name may be in
// any case.
func headerText(h http.Header, name string) string {
	switch values := headerValues(h, name); len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ",")
	}
}

// headerValues is h.Values without an allocation for a name in another case.
func headerValues(h http.Header, name string) []string {
	var buf [64]byte
	if len(name) > len(buf) {
		return h[http.CanonicalHeaderKey(name)]
	}
	upper := true
	for i := range len(name) {
		c := name[i]
		switch {
		case !isTokenByte(c):
			return h[name] // as the canonical form of an invalid name is itself
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case !upper && 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		buf[i] = c
		upper = c == '-'
	}
	return h[string(buf[:len(name)])]
}

// isTokenByte reports whether c may stand in a token (RFC 9110, 5.6.2).
func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
