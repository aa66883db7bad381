// Package oneline is the servers that one command line describes: one that
// always gives the same answer, one for files, and a proxy. It makes documents
// of their flags.
package oneline

import (
	"fmt"
	"strings"

	"github.com/sluiceproxy/sluice/config"
)

// object is a JSON object that is still being made.
type object = map[string]any

// document is one that leaves nothing behind but certificates: without an admin
// endpoint, and not kept in a file.
func document(apps object, debug bool) (*config.Node, error) {
	doc := object{
		"admin": object{"disabled": true, "config": object{"persist": false}},
		"apps":  apps,
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

// servers is the app http.
func servers(all object) object { return object{"http": object{"servers": all}} }

// shortServer is a server for trying things out, which bounds what clients may
// do more than others.
func shortServer(listen string, route object, accessLog bool) object {
	s := object{
		"listen": []any{listen}, "routes": []any{route},
		"read_header_timeout": "10s", "idle_timeout": "30s", "max_header_bytes": 10 << 10,
	}
	if accessLog {
		s["logs"] = object{}
	}
	return s
}

// routeTo is a route for a host, or for all hosts if that is empty.
func routeTo(host string, handle ...any) object {
	route := object{"handle": handle}
	if host != "" {
		route["match"] = []any{object{"host": []any{host}}}
		route["terminal"] = true
	}
	return route
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
