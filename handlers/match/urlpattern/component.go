package urlpattern

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// component is the compiled pattern of one component.
type component struct {
	names []string // of the groups
	any   bool     // it matches everything, as the group names[0]
	fold  bool
	steps []step         // if re is nil
	re    *regexp.Regexp // of what steps cannot say
	index []int          // the subexpressions of re by group
}

// step is a literal and what is captured behind it.
type step struct {
	literal string
	capture captureKind
	stop    byte // the delimiter that ends a segment
}

type captureKind uint8

const (
	noCapture      captureKind = iota
	segmentCapture             // at least one byte, up to stop
	restCapture                // all that is left, perhaps nothing
	someCapture                // all that is left, at least one byte
)

// compileComponent compiles the pattern of a component. A path of a scheme that
// is not special is a text like any other.
func compileComponent(c Component, text string, special, fold bool) (*component, error) {
	delimiter, prefix := byte(0), ""
	var canonical func(string) (string, error)
	switch c {
	case Protocol:
		canonical = canonicalProtocol
	case Username, Password:
		canonical = canonicalUser
	case Hostname:
		delimiter, canonical = '.', canonicalHost
		if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{[") || strings.HasPrefix(text, `\[`) {
			canonical = canonicalIPv6
		}
	case Port:
		canonical = canonicalPort
	case Pathname:
		canonical = canonicalOpaque
		if special {
			delimiter, prefix, canonical = '/', "/", canonicalPath
		}
	case Search:
		canonical = canonicalSearch
	case Hash:
		canonical = canonicalHash
	}
	parts, err := parseParts(text, prefix, canonical)
	if err != nil {
		return nil, err
	}
	x := &component{fold: fold}
	for _, p := range parts {
		if p.kind != fixedPart {
			x.names = append(x.names, p.name)
		}
	}
	if len(parts) == 1 && parts[0] == (part{kind: wildPart, name: parts[0].name}) {
		x.any = true
		return x, nil
	}
	if x.steps = direct(parts, delimiter); x.steps != nil {
		return x, nil
	}
	return x, x.compileRegexp(parts, delimiter)
}

// direct makes steps of parts, or returns nil if that cannot be.
func direct(parts []part, delimiter byte) []step {
	steps := []step{}
	literal := ""
	for i, p := range parts {
		last := i == len(parts)-1
		if p.modifier != 0 || p.kind == regexpPart {
			return nil
		}
		if p.kind == fixedPart {
			literal += p.value
			continue
		}
		s := step{literal: literal + p.prefix, stop: delimiter}
		literal = p.suffix
		next := p.suffix
		if next == "" && !last {
			next = parts[i+1].value
			if parts[i+1].kind != fixedPart {
				next = parts[i+1].prefix
			}
		}
		switch ends := last && p.suffix == ""; {
		case p.kind == wildPart && ends:
			s.capture = restCapture
		case p.kind == wildPart:
			return nil
		case delimiter == 0 && ends:
			s.capture = someCapture
		case delimiter != 0 && (ends || next != "" && next[0] == delimiter):
			s.capture = segmentCapture
		default:
			return nil
		}
		steps = append(steps, s)
	}
	if literal != "" || len(steps) == 0 {
		steps = append(steps, step{literal: literal})
	}
	return steps
}

// groupName is how a group is called within the regular expression, where groups
// of the user may be too.
func groupName(i int) string { return "urlpattern_" + strconv.Itoa(i) }

func (x *component) compileRegexp(parts []part, delimiter byte) error {
	var out strings.Builder
	if x.fold {
		out.WriteString("(?i)")
	}
	out.WriteString("^")
	group := 0
	for _, p := range parts {
		if p.kind == fixedPart {
			text := regexp.QuoteMeta(p.value)
			if p.modifier != 0 {
				text = "(?:" + text + ")" + string(p.modifier)
			}
			out.WriteString(text)
			continue
		}
		out.WriteString(p.regexp(groupName(group), delimiter))
		group++
	}
	out.WriteString("$")
	re, err := regexp.Compile(out.String())
	if err != nil {
		return fmt.Errorf("compiling the regular expression: %w", err)
	}
	x.re = re
	for i := range group {
		n := re.SubexpIndex(groupName(i))
		if n < 0 {
			return errors.New("a regular expression is not balanced")
		}
		x.index = append(x.index, n)
	}
	return nil
}

// regexp is the part as a regular expression with a group of the name.
func (p part) regexp(name string, delimiter byte) string {
	value := p.value
	switch p.kind {
	case wildPart:
		value = ".*"
	case segmentPart:
		value = "(?s:.)+?"
		if delimiter != 0 {
			value = "[^" + regexp.QuoteMeta(string(delimiter)) + "]+?"
		}
	}
	open, modifier := "(?P<"+name+">", ""
	if p.modifier != 0 {
		modifier = string(p.modifier)
	}
	prefix, suffix := regexp.QuoteMeta(p.prefix), regexp.QuoteMeta(p.suffix)
	repeats := p.modifier == '*' || p.modifier == '+'
	switch {
	case prefix == "" && suffix == "" && repeats:
		return open + "(?:" + value + ")" + modifier + ")"
	case prefix == "" && suffix == "":
		return open + value + ")" + modifier
	case !repeats:
		return "(?:" + prefix + open + value + ")" + suffix + ")" + modifier
	}
	out := "(?:" + prefix + open + "(?:" + value + ")(?:" + suffix + prefix + "(?:" + value + "))*)" + suffix + ")"
	if p.modifier == '*' {
		out += "?"
	}
	return out
}

// cost orders components, those that are decided soonest first.
func (x *component) cost() int {
	if x.re != nil {
		return 1
	}
	return 0
}

// match matches a text and stores what the groups took.
func (x *component) match(text string, values []string) bool {
	if x.any {
		return true
	}
	if x.re != nil {
		found := x.re.FindStringSubmatchIndex(text)
		if found == nil {
			return false
		}
		for i, n := range x.index {
			if start := found[2*n]; start >= 0 {
				values[i] = text[start:found[2*n+1]]
			}
		}
		return true
	}
	group := 0
	for i := range x.steps {
		s := &x.steps[i]
		if !hasPrefix(text, s.literal, x.fold) {
			return false
		}
		text = text[len(s.literal):]
		n := 0
		switch s.capture {
		case noCapture:
			continue
		case restCapture:
			n = len(text)
		case someCapture:
			if n = len(text); n == 0 {
				return false
			}
		case segmentCapture:
			if n = strings.IndexByte(text, s.stop); n < 0 {
				n = len(text)
			}
			if n == 0 {
				return false
			}
		}
		values[group], text = text[:n], text[n:]
		group++
	}
	return text == ""
}

func hasPrefix(text, prefix string, fold bool) bool {
	if len(text) < len(prefix) {
		return false
	}
	if fold {
		return strings.EqualFold(text[:len(prefix)], prefix)
	}
	return text[:len(prefix)] == prefix
}

// matchesSpecial reports whether a protocol can be one whose URLs have a host
// and a path of segments.
func (x *component) matchesSpecial() bool {
	values := make([]string, len(x.names))
	for _, s := range []string{"http", "https", "ws", "wss", "ftp", "file"} {
		if x.match(s, values) {
			return true
		}
	}
	return false
}
