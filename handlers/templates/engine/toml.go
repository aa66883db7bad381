package engine

import (
	"errors"

	"github.com/BurntSushi/toml"
)

// maxNesting is how deep brackets may be nested in TOML. The time to read it
// grows with the square of that.
const maxNesting = 100

var errNesting = errors.New("brackets are nested too deeply")

func parseTOML(text []byte, into *map[string]any) error {
	depth := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if depth > maxNesting {
			return errNesting
		}
	}
	return toml.Unmarshal(text, into)
}
