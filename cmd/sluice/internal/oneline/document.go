// Package oneline makes documents of command lines: a server that answers one
// thing, a proxy to some upstreams.
package oneline

import (
	"fmt"
	"strings"

	"github.com/sluiceproxy/sluice/config"
)

// object is a JSON object that is still being made.
type object = map[string]any

// document is one that leaves nothing behind: without an admin endpoint, and not
// kept in a file.
func document(servers object, debug bool) (*config.Node, error) {
	doc := object{
		"admin": object{"disabled": true, "config": object{"persist": false}},
		"apps":  object{"http": object{"servers": servers}},
	}
	if debug {
		doc["logging"] = object{"logs": object{"default": object{"level": "DEBUG"}}}
	}
	n, err := config.FromGo(doc)
	if err != nil {
		return nil, fmt.Errorf("making the document: %w", err)
	}
	return n, nil
}

// fields reads the header fields of a flag that is given once for each.
func fields(flag string, lines []string) (object, error) {
	out := object{}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("%s %d: invalid format %q (expecting \"Field: value\")", flag, i, line)
		}
		have, _ := out[name].([]any)
		out[name] = append(have, value)
	}
	return out, nil
}
