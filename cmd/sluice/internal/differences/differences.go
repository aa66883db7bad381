// Package differences prints what tells two documents from each other.
package differences

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
)

// line is a difference in JSON.
type line struct {
	Op      string          `json:"op"`
	Pointer string          `json:"pointer"`
	Old     json.RawMessage `json:"old,omitempty"`
	New     json.RawMessage `json:"new,omitempty"`
}

// JSON prints a list of objects with op, pointer, old and new.
func JSON(to io.Writer, changes []config.Change) error {
	list := make([]line, len(changes))
	for i, c := range changes {
		list[i] = line{Op: c.Op, Pointer: c.Pointer}
		if c.Old != nil {
			list[i].Old = c.Old.AppendJSON(nil)
		}
		if c.New != nil {
			list[i].New = c.New.AppendJSON(nil)
		}
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(list)
}

// Text prints a line for each difference, in which nothing controls a terminal:
// what would be added after "+", what would be removed after "-", and both values
// of what would be replaced after "~".
func Text(to io.Writer, changes []config.Change) error {
	var b strings.Builder
	for _, c := range changes {
		at := c.Pointer
		if at == "" {
			at = "/"
		}
		switch c.Op {
		case "add":
			fmt.Fprintf(&b, "+ %s  %s\n", printable(at), brief(c.New))
		case "remove":
			fmt.Fprintf(&b, "- %s  %s\n", printable(at), brief(c.Old))
		default:
			fmt.Fprintf(&b, "~ %s  %s -> %s\n", printable(at), brief(c.Old), brief(c.New))
		}
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// maxBrief is how many bytes of a value a line shows.
const maxBrief = 120

func brief(n *config.Node) string {
	text := string(n.AppendJSON(nil))
	if len(text) > maxBrief {
		text = strings.ToValidUTF8(text[:maxBrief], "") + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return printable(text)
}

// printable escapes what could control a terminal.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
