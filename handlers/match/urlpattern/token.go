package urlpattern

import (
	"errors"
	"fmt"
	"unicode"
)

type tokenKind uint8

const (
	charToken tokenKind = iota
	escapedToken
	openToken
	closeToken
	regexpToken
	nameToken
	modifierToken
	asteriskToken
	invalidToken
	endToken
)

// token is one word of a pattern. Its value is without what marks its kind.
type token struct {
	kind  tokenKind
	value string
	// start is where it begins, in characters.
	start int
}

// tokenize splits a pattern. If lenient, what makes no sense becomes a token of
// its own; else it is an error.
func tokenize(input []rune, lenient bool) ([]token, error) {
	tokens := make([]token, 0, len(input)+1)
	add := func(kind tokenKind, start int, value string) { tokens = append(tokens, token{kind, value, start}) }
	for i := 0; i < len(input); {
		start, next := i, i+1
		var err error
		switch c := input[i]; c {
		case '*':
			add(asteriskToken, start, "*")
		case '+', '?':
			add(modifierToken, start, string(c))
		case '{':
			add(openToken, start, "{")
		case '}':
			add(closeToken, start, "}")
		case '\\':
			if next == len(input) {
				err = errors.New("a backslash stands at the end")
				break
			}
			add(escapedToken, start, string(input[next]))
			next++
		case ':':
			next = nameEnd(input, next)
			if next == start+1 {
				err = errors.New(`a ":" must be followed by a name; write "\:" for the character`)
				break
			}
			add(nameToken, start, string(input[start+1:next]))
		case '(':
			var end int
			if end, err = regexpEnd(input, next); err == nil {
				add(regexpToken, start, string(input[next:end-1]))
				next = end
			}
		default:
			add(charToken, start, string(c))
		}
		if err != nil {
			if !lenient {
				return nil, fmt.Errorf("character %d: %w", start+1, err)
			}
			next = start + 1
			add(invalidToken, start, string(input[start]))
		}
		i = next
	}
	add(endToken, len(input), "")
	return tokens, nil
}

func nameEnd(input []rune, i int) int {
	for first := true; i < len(input) && isNameRune(input[i], first); first = false {
		i++
	}
	return i
}

func isNameRune(r rune, first bool) bool {
	if r == '$' || r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) {
		return true
	}
	return !first && (unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc) || r == '\u200c' || r == '\u200d')
}

// regexpEnd finds what is behind the ")" of a regular expression that begins at
// i.
func regexpEnd(input []rune, i int) (int, error) {
	if i < len(input) && input[i] == '?' {
		return 0, errors.New(`a regular expression cannot begin with "?"`)
	}
	start, depth := i, 1
	for ; i < len(input); i++ {
		c := input[i]
		switch {
		case c > unicode.MaxASCII:
			return 0, errors.New("a regular expression must be ASCII")
		case c == '\\':
			i++
			if i == len(input) || input[i] > unicode.MaxASCII {
				return 0, errors.New("a regular expression must escape an ASCII character")
			}
		case c == ')':
			depth--
			if depth > 0 {
				continue
			}
			if i == start {
				return 0, errors.New("a regular expression is empty")
			}
			return i + 1, nil
		case c == '(':
			depth++
			if i+1 == len(input) || input[i+1] != '?' {
				return 0, errors.New(`a group within a regular expression must begin with "(?:"`)
			}
		}
	}
	return 0, errors.New(`a "(" has no ")"`)
}
