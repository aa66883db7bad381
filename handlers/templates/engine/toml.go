package engine

import (
	"bytes"
	"errors"

	"github.com/BurntSushi/toml"
)

// maxNesting is how deep brackets may be nested in TOML, and of how many parts
// the keys of one line may be. The time to read it grows with the square of
// both.
const maxNesting = 100

var errNesting = errors.New("brackets are nested too deeply, or keys have too many parts")

func parseTOML(text []byte, into *map[string]any) error {
	if err := checkNesting(text); err != nil {
		return err
	}
	return toml.Unmarshal(text, into)
}

func checkNesting(text []byte) error {
	depth, dots := 0, 0
	for len(text) > 0 {
		c := text[0]
		switch c {
		case '"', '\'':
			text = afterString(text)
			continue
		case '#':
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				return nil
			}
			text = text[end:]
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '.':
			dots++
		case '\n':
			dots = 0
		}
		if depth > maxNesting || dots > maxNesting {
			return errNesting
		}
		text = text[1:]
	}
	return nil
}

// afterString is what follows the string that text begins with.
func afterString(text []byte) []byte {
	quote := text[:1]
	if len(text) > 2 && text[1] == quote[0] && text[2] == quote[0] {
		quote = text[:3]
	}
	for i := len(quote); i < len(text); i++ {
		switch {
		case quote[0] == '"' && text[i] == '\\':
			i++
		case bytes.HasPrefix(text[i:], quote):
			return text[i+len(quote):]
		case len(quote) == 1 && text[i] == '\n':
			return text[i:] // which is no string
		}
	}
	return nil
}
