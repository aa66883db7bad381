package engine

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/dustin/go-humanize"
)

// pure is the functions that depend on their arguments alone.
var pure = template.FuncMap{
	"markdown":         toHTML,
	"splitFrontMatter": splitFrontMatter,
	"stripHTML":        stripHTML,
	"humanize":         humanized,
	"pathEscape":       url.PathEscape,
}

// stripHTML removes tags. A quoted ">" does not end one; what follows a "<" that
// never ends is removed as well.
func stripHTML(text string) string {
	var b strings.Builder
	depth, quote := 0, byte(0)
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '<':
			depth++
		case depth == 0:
			b.WriteByte(c)
		case c == '>':
			depth--
		case c == '"' || c == '\'':
			quote = c
		}
	}
	return b.String()
}

// humanized writes a size or a time as people do. The kind is size, time or
// time:LAYOUT.
func humanized(kind, data string) (string, error) {
	name, layout, _ := strings.Cut(kind, ":")
	switch name {
	case "size":
		n, err := strconv.ParseUint(data, 10, 64)
		if err != nil {
			return "", fmt.Errorf("humanize size: %w", err)
		}
		return humanize.Bytes(n), nil
	case "time":
		if layout == "" {
			layout = time.RFC1123Z
		}
		at, err := time.Parse(layout, data)
		if err != nil {
			return "", fmt.Errorf("humanize time: %w", err)
		}
		return humanize.Time(at), nil
	}
	return "", fmt.Errorf("humanize: unknown kind %q; it is size, time or time:LAYOUT", kind)
}
