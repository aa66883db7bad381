package engine

import (
	"errors"
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

// maxMarkdown is how long a Markdown text may be, in bytes.
const maxMarkdown = 4 << 20

func toHTML(input any) (string, error) {
	text := vars.ToString(input)
	if len(text) > maxMarkdown {
		return "", errors.New("the Markdown text is too long")
	}
	var b strings.Builder
	if err := converter().Convert([]byte(text), &b); err != nil {
		return "", fmt.Errorf("rendering Markdown: %w", err)
	}
	return b.String(), nil
}
