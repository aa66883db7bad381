package urlpattern

import (
	"slices"
	"strings"
)

// Component is a part of a URL.
type Component uint8

// The components in the order in which a URL has them.
const (
	Protocol Component = iota
	Username
	Password
	Hostname
	Port
	Pathname
	Search
	Hash
	count
)

var names = [count]string{"protocol", "username", "password", "hostname", "port", "pathname", "search", "hash"}

// String is the name of the component.
func (c Component) String() string { return names[c] }

// ComponentOf finds a component by its name.
func ComponentOf(name string) (Component, bool) {
	i := slices.Index(names[:], name)
	return Component(max(i, 0)), i >= 0
}

// split is a pattern for each component that one is given for.
type split struct {
	text  [count]string
	given [count]bool
}

func (s *split) set(c Component, text string) { s.text[c], s.given[c] = text, true }

func (s *split) none(components ...Component) bool {
	return !slices.ContainsFunc(components, func(c Component) bool { return s.given[c] })
}

// The states of a splitter that are not those of a component.
const (
	initial = count + iota
	authority
	done
)

// splitter divides the pattern of a whole URL into those of its components.
type splitter struct {
	input   []rune
	tokens  []token
	result  split
	state   Component
	start   int // the token at which the component begins
	at      int
	step    int
	depth   int // of groups
	bracket int // of IPv6 addresses
	special bool
	// pathOnly says that there is nothing before the path.
	pathOnly bool
}

// splitPattern divides a pattern: of a whole URL, or of what begins with a path.
func splitPattern(input string, pathOnly bool) (split, error) {
	s := &splitter{input: []rune(input), state: initial, pathOnly: pathOnly}
	s.tokens, _ = tokenize(s.input, true)
	for ; s.at < len(s.tokens); s.at += s.step {
		s.step = 1
		if s.tokens[s.at].kind == endToken {
			if s.end() {
				break
			}
			continue
		}
		switch kind := s.tokens[s.at].kind; {
		case kind == openToken:
			s.depth++
			continue
		case s.depth > 0 && kind == closeToken:
			s.depth--
		case s.depth > 0:
			continue
		}
		if err := s.advance(); err != nil {
			return s.result, err
		}
	}
	if s.result.given[Hostname] && !s.result.given[Port] {
		s.result.set(Port, "")
	}
	return s.result, nil
}

// end handles the last token, and reports whether that was all.
func (s *splitter) end() bool {
	switch s.state {
	case initial:
		s.rewind()
		switch {
		case s.is(s.at, "#"):
			s.enter(Hash, 1)
		case s.isSearch():
			s.enter(Search, 1)
		default:
			s.enter(Pathname, 0)
		}
		return false
	case authority:
		s.rewindTo(Hostname)
		return false
	}
	s.enter(done, 0)
	return true
}

// advance looks at a token outside groups.
func (s *splitter) advance() error {
	switch s.state {
	case initial:
		if !s.pathOnly && s.is(s.at, ":") {
			s.rewindTo(Protocol)
		}
	case Protocol:
		if s.is(s.at, ":") {
			return s.endProtocol()
		}
	case authority:
		switch {
		case s.is(s.at, "@"):
			s.rewindTo(Username)
		case s.is(s.at, "/"), s.isSearch(), s.is(s.at, "#"):
			s.rewindTo(Hostname)
		}
	case Username:
		switch {
		case s.is(s.at, ":"):
			s.enter(Password, 1)
		case s.is(s.at, "@"):
			s.enter(Hostname, 1)
		}
	case Password:
		if s.is(s.at, "@") {
			s.enter(Hostname, 1)
		}
	case Hostname:
		switch {
		case s.is(s.at, "["):
			s.bracket++
		case s.is(s.at, "]"):
			s.bracket--
		case s.is(s.at, ":") && s.bracket == 0:
			s.enter(Port, 1)
		default:
			s.behindHost()
		}
	default:
		s.behindHost()
	}
	return nil
}

// behindHost looks for the components that can follow hostname or a later one.
func (s *splitter) behindHost() {
	switch {
	case s.state < Pathname && s.is(s.at, "/"):
		s.enter(Pathname, 0)
	case s.state < Search && s.isSearch():
		s.enter(Search, 1)
	case s.state < Hash && s.is(s.at, "#"):
		s.enter(Hash, 1)
	}
}

func (s *splitter) endProtocol() error {
	p, err := compileComponent(Protocol, s.text(), false, false)
	if err != nil {
		return err
	}
	s.special = p.matchesSpecial()
	switch {
	case s.is(s.at+1, "/") && s.is(s.at+2, "/"):
		s.enter(authority, 3)
	case s.special:
		s.enter(authority, 1)
	default:
		s.enter(Pathname, 1)
	}
	return nil
}

func (s *splitter) rewind() { s.at, s.step = s.start, 0 }

func (s *splitter) rewindTo(state Component) {
	s.rewind()
	s.state = state
}

// enter ends a component and begins another one, skipping tokens.
func (s *splitter) enter(state Component, skip int) {
	if s.state < count {
		s.result.set(s.state, s.text())
	}
	if s.state != initial && state < count {
		before := s.state
		if before == authority {
			before = Protocol
		}
		fill := func(c Component, text string) {
			if before < c && state > c && !s.result.given[c] {
				s.result.set(c, text)
			}
		}
		if before < Hostname && state >= Port {
			fill(Hostname, "")
		}
		root := ""
		if s.special {
			root = "/"
		}
		fill(Pathname, root)
		fill(Search, "")
	}
	s.state = state
	s.at += skip
	s.start, s.step = s.at, 0
}

// text is the pattern of the component that ends at the current token.
func (s *splitter) text() string {
	if s.start >= len(s.tokens) {
		return ""
	}
	return string(s.input[s.tokens[s.start].start:s.tokens[min(s.at, len(s.tokens)-1)].start])
}

// is reports whether a token is the plain character.
func (s *splitter) is(i int, char string) bool {
	if i >= len(s.tokens) {
		return false
	}
	t := s.tokens[i]
	return t.value == char && (t.kind == charToken || t.kind == escapedToken || t.kind == invalidToken)
}

// isSearch tells the "?" that begins a query from the one that is a modifier.
func (s *splitter) isSearch() bool {
	if s.is(s.at, "?") {
		return true
	}
	if s.at >= len(s.tokens) || s.tokens[s.at].value != "?" || s.tokens[s.at].kind != modifierToken {
		return false
	}
	if s.at == 0 {
		return true
	}
	switch s.tokens[s.at-1].kind {
	case nameToken, regexpToken, closeToken, asteriskToken:
		return false
	}
	return true
}

// escape writes a text as a pattern that is only the text.
func escape(text string) string {
	var out strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`+*?:{}()\`, r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}
