package engine

import (
	"fmt"
	"strings"
	"sync"

	chromahtml "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/yuin/goldmark"
	highlighting "github.com/yuin/goldmark-highlighting/v2"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// converter turns Markdown into HTML. It is made at its first use, since that
// takes a while.
var converter = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(
			extension.GFM,
			extension.Footnote,
			highlighting.NewHighlighting(highlighting.WithFormatOptions(chromahtml.WithClasses(true))),
		),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(html.WithUnsafe()),
	)
})

// maxMarkdown is how long a Markdown text may be, in bytes; maxBlocks is how many
// quotes and lists may be within each other, for which the converter calls
// itself.
const (
	maxMarkdown = 2 << 20
	maxBlocks   = 200
)

func toHTML(input any) (string, error) {
	text := vars.ToString(input)
	if len(text) > maxMarkdown {
		return "", fmt.Errorf("rendering Markdown: the text is longer than %d bytes", maxMarkdown)
	}
	for line := range strings.Lines(text) {
		if blocks(line) > maxBlocks {
			return "", fmt.Errorf("rendering Markdown: more than %d quotes and lists are within each other", maxBlocks)
		}
	}
	var b strings.Builder
	if err := converter().Convert([]byte(text), &b); err != nil {
		return "", fmt.Errorf("rendering Markdown: %w", err)
	}
	return b.String(), nil
}

// blocks counts the marks of quotes and lists that a line begins with. It may
// count more than there are.
func blocks(line string) int {
	n := 0
	for i := range len(line) {
		switch c := line[i]; c {
		case '>':
			n++
		case '-', '+', '*', '.', ')':
			if i+1 < len(line) && (line[i+1] == ' ' || line[i+1] == '\t') {
				n++
			}
		case ' ', '\t', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		default:
			return n
		}
	}
	return n
}
