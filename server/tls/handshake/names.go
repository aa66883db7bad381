package handshake

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// normalName is the form in which names are compared: lower case and, of international names, the ASCII form.
func normalName(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || 'A' <= c && c <= 'Z' {
			plain = false
			break
		}
	}
	if plain || len(name) > maxName {
		return name
	}
	name = strings.ToLower(name)
	if ascii, err := idna.ToASCII(name); err == nil {
		return ascii
	}
	return name
}

// maxName is more than any name in the DNS has, in bytes, also before it is made ASCII.
const maxName = 1024

// pattern is one name of a matcher sni.
type pattern struct {
	stars  int    // labels at the front that are any label
	suffix string // what follows them
}

// parsePattern reads a name whose first labels may be "*".
func parsePattern(text string) (pattern, error) {
	if len(text) > maxName {
		return pattern{}, fmt.Errorf("the name is longer than %d bytes", maxName)
	}
	ascii, err := idna.ToASCII(strings.ToLower(text))
	if err != nil {
		return pattern{}, fmt.Errorf("converting the name to ASCII: %w", err)
	}
	p := pattern{suffix: ascii}
	for p.suffix == "*" || strings.HasPrefix(p.suffix, "*.") {
		p.stars++
		_, p.suffix, _ = strings.Cut(p.suffix, ".")
	}
	return p, nil
}

// match reports whether a name, in its normal form, fits.
func (p pattern) match(name string) bool {
	for range p.stars {
		if name == "" {
			return false
		}
		var label string
		if label, name, _ = strings.Cut(name, "."); label == "" {
			return false
		}
	}
	return name == p.suffix
}

// Keys of the index: the kind, then the name or what follows "*.".
const (
	exactKey = '='
	wildKey  = '*'
)

// key is where the pattern stands in the index; ok is false if it cannot stand there.
func (p pattern) key() (key string, ok bool) {
	switch p.stars {
	case 0:
		return string(exactKey) + p.suffix, true
	case 1:
		return string(wildKey) + p.suffix, true
	}
	return "", false
}

// wildSuffix is what follows the first label; ok is false if that is empty.
func wildSuffix(name string) (suffix string, ok bool) {
	label, suffix, _ := strings.Cut(name, ".")
	return suffix, label != ""
}
