package urlpattern

import (
	"fmt"
	"strconv"
	"strings"
)

type partKind uint8

const (
	fixedPart   partKind = iota
	regexpPart           // what a regular expression matches
	segmentPart          // one or more characters up to the delimiter
	wildPart             // anything
)

// part is a piece of the pattern of a component.
type part struct {
	kind           partKind
	value          string // of fixed text and regular expressions
	name           string
	prefix, suffix string
	modifier       byte // '?', '*', '+' or 0
}

// partParser reads the pattern of a component.
type partParser struct {
	tokens  []token
	at      int
	prefix  string // the character that belongs to the group behind it
	encode  func(string) (string, error)
	parts   []part
	pending strings.Builder
	number  int // of the next group without a name
}

func parseParts(input, prefix string, encode func(string) (string, error)) ([]part, error) {
	tokens, err := tokenize([]rune(input), false)
	if err != nil {
		return nil, err
	}
	p := &partParser{tokens: tokens, prefix: prefix, encode: encode}
	for {
		more, err := p.next()
		if err != nil {
			return nil, err
		}
		if !more {
			return p.parts, nil
		}
	}
}

func (p *partParser) next() (more bool, err error) {
	char := p.take(charToken)
	name := p.take(nameToken)
	if group := p.group(name); name != nil || group != nil {
		prefix := ""
		if char != nil {
			prefix = char.value
		}
		if prefix != p.prefix {
			p.pending.WriteString(prefix)
			prefix = ""
		}
		if err := p.flush(); err != nil {
			return false, err
		}
		return true, p.add(prefix, name, group, "", p.modifier())
	}
	if char == nil {
		char = p.take(escapedToken)
	}
	if char != nil {
		p.pending.WriteString(char.value)
		return true, nil
	}
	if p.take(openToken) != nil {
		prefix := p.text()
		name := p.take(nameToken)
		group := p.group(name)
		suffix := p.text()
		if p.take(closeToken) == nil {
			return false, p.unexpected(`"}"`)
		}
		return true, p.add(prefix, name, group, suffix, p.modifier())
	}
	if err := p.flush(); err != nil {
		return false, err
	}
	if p.take(endToken) == nil {
		return false, p.unexpected("the end")
	}
	return false, nil
}

func (p *partParser) unexpected(want string) error {
	t := p.tokens[p.at]
	if t.kind == endToken {
		return fmt.Errorf("expected %s, found the end", want)
	}
	return fmt.Errorf("character %d: expected %s, found %q", t.start+1, want, t.value)
}

// take returns the next token if it is of the kind.
func (p *partParser) take(kind tokenKind) *token {
	if p.at == len(p.tokens) || p.tokens[p.at].kind != kind {
		return nil
	}
	p.at++
	return &p.tokens[p.at-1]
}

// group takes a regular expression or, where there is no name, a wildcard.
func (p *partParser) group(name *token) *token {
	t := p.take(regexpToken)
	if t == nil && name == nil {
		t = p.take(asteriskToken)
	}
	return t
}

func (p *partParser) modifier() byte {
	t := p.take(modifierToken)
	if t == nil {
		t = p.take(asteriskToken)
	}
	if t == nil {
		return 0
	}
	return t.value[0]
}

func (p *partParser) text() string {
	var out strings.Builder
	for {
		t := p.take(charToken)
		if t == nil {
			t = p.take(escapedToken)
		}
		if t == nil {
			return out.String()
		}
		out.WriteString(t.value)
	}
}

// flush adds the fixed text so far.
func (p *partParser) flush() error {
	if p.pending.Len() == 0 {
		return nil
	}
	text, err := p.encode(p.pending.String())
	p.pending.Reset()
	p.parts = append(p.parts, part{value: text})
	return err
}

func (p *partParser) add(prefix string, name, group *token, suffix string, modifier byte) error {
	if name == nil && group == nil && modifier == 0 {
		p.pending.WriteString(prefix)
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	var err error
	if prefix, err = p.encode(prefix); err != nil {
		return err
	}
	if name == nil && group == nil {
		if prefix != "" {
			p.parts = append(p.parts, part{value: prefix, modifier: modifier})
		}
		return nil
	}
	if suffix, err = p.encode(suffix); err != nil {
		return err
	}
	out := part{kind: segmentPart, prefix: prefix, suffix: suffix, modifier: modifier}
	switch {
	case group == nil:
	case group.kind == asteriskToken || group.value == ".*":
		out.kind = wildPart
	default:
		out.kind, out.value = regexpPart, group.value
	}
	if name != nil {
		out.name = name.value
	} else {
		out.name = strconv.Itoa(p.number)
		p.number++
	}
	for _, q := range p.parts {
		if q.kind != fixedPart && q.name == out.name {
			return fmt.Errorf("the name %q is there twice", out.name)
		}
	}
	p.parts = append(p.parts, out)
	return nil
}
