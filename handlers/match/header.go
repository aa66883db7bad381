package match

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// HeaderConfig names header fields and the values they may have. Every field
// must be there with one of its values in one of its lines. Names are taken in
// any case; in values case counts. "*" at the beginning or the end of a value
// stands for any text, so "*x*" is a value that contains x. Values may hold
// placeholders. An empty list asks only that the field is there, null that it is
// not. Host is the request's host with the port as sent. An empty object matches
// every request.
type HeaderConfig map[string][]string

func headerSpec() module.Spec {
	return module.New("http.matchers.header", "Matches header fields of a request.", nil, compileHeader, module.Words(headerWords),
		module.Examples(
			module.Example{Title: "WebSocket upgrades", JSON: `{"Connection": ["*Upgrade*"], "Upgrade": ["websocket"]}`},
			module.Example{Title: "A field that is absent", JSON: `{"Authorization": null}`},
		))
}

type headerField struct {
	name   string
	absent bool // the field must not be there
	values []headerValue
}

type header []headerField

func compileHeader(_ *module.Env, cfg *HeaderConfig) (handlers.Matcher, error) {
	var problems schema.Problems
	m := make(header, 0, len(*cfg))
	for _, key := range slices.Sorted(maps.Keys(*cfg)) {
		list := (*cfg)[key]
		texts, ps := parseTexts(pointerTo(key), list)
		problems = append(problems, ps...)
		f := headerField{name: http.CanonicalHeaderKey(key), absent: list == nil}
		for _, t := range texts {
			v := headerValue{template: t}
			if literal, ok := t.Literal(); ok {
				v = parseHeaderValue(literal)
			}
			f.values = append(f.values, v)
		}
		m = append(m, f)
	}
	return m, failed(problems)
}

// Match implements handlers.Matcher.
func (m header) Match(r *http.Request) (bool, error) {
	for i := range m {
		if !m[i].match(r) {
			return false, nil
		}
	}
	return true, nil
}

func (f *headerField) match(r *http.Request) bool {
	var one [1]string
	have, present := headerLines(r, f.name, &one)
	switch {
	case f.absent || !present:
		return f.absent && !present
	case len(f.values) == 0:
		return true
	}
	for i := range f.values {
		v := f.values[i]
		if v.form == templateForm {
			v = parseHeaderValue(v.template.Expand(scopeOf(r), vars.All, ""))
		}
		if slices.ContainsFunc(have, v.match) {
			return true
		}
	}
	return false
}

// headerLines returns the lines of a field with a canonical name, those included
// that net/http keeps elsewhere, and whether there are any. It may use one.
func headerLines(r *http.Request, name string, one *[1]string) ([]string, bool) {
	switch name {
	case "Host":
		one[0] = r.Host
		return one[:], true
	case "Transfer-Encoding":
		if len(r.TransferEncoding) > 0 {
			return r.TransferEncoding, true
		}
	}
	lines, ok := r.Header[name]
	return lines, ok
}

type headerForm uint8

const (
	templateForm headerForm = iota
	anyForm
	exactForm
	prefixForm
	suffixForm
	insideForm
)

type headerValue struct {
	form     headerForm
	text     string
	template vars.Text
}

func parseHeaderValue(s string) headerValue {
	rest, first := strings.CutPrefix(s, "*")
	inside, last := strings.CutSuffix(rest, "*")
	switch {
	case first && rest == "":
		return headerValue{form: anyForm}
	case first && last:
		return headerValue{form: insideForm, text: inside}
	case first:
		return headerValue{form: suffixForm, text: rest}
	case last:
		return headerValue{form: prefixForm, text: inside}
	}
	return headerValue{form: exactForm, text: s}
}

func (v *headerValue) match(line string) bool {
	switch v.form {
	case anyForm:
		return true
	case exactForm:
		return line == v.text
	case prefixForm:
		return strings.HasPrefix(line, v.text)
	case suffixForm:
		return strings.HasSuffix(line, v.text)
	}
	return strings.Contains(line, v.text)
}

// HeaderRegexpConfig gives regular expressions for header fields. Every field
// must be there, and one of its lines must match. Names are taken in any case.
// Host is the request's host with the port as sent. An empty object matches
// every request.
type HeaderRegexpConfig map[string]Regexp

func headerRegexpSpec() module.Spec {
	return module.New("http.matchers.header_regexp", "Matches header fields with regular expressions.", nil, compileHeaderRegexp, module.Words(headerRegexpWords),
		module.Examples(module.Example{Title: "Capture a session", JSON: `{"Cookie": {"name": "session", "pattern": "session=([0-9a-f]+)"}}`}))
}

type headerRegexp []keyed

func compileHeaderRegexp(_ *module.Env, cfg *HeaderRegexpConfig) (handlers.Matcher, error) {
	list, err := compileKeyed(*cfg, http.CanonicalHeaderKey)
	return headerRegexp(list), err
}

// Match implements handlers.Matcher.
func (m headerRegexp) Match(r *http.Request) (bool, error) {
	x := handlers.Of(r)
	for _, p := range m {
		var one [1]string
		lines, _ := headerLines(r, p.key, &one)
		if !slices.ContainsFunc(lines, func(line string) bool { return p.match(x, line) }) {
			return false, nil
		}
	}
	return true, nil
}
