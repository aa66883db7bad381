package schema

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a document: where it stands, what
// was found there, what would be right.
type Problem struct {
	// Pointer is the JSON Pointer (RFC 6901) of the value, relative to whatever
	// the receiver of the problem was given; the engine makes it relative to
	// the whole document.
	Pointer string `json:"pointer"`
	// Line and Column say where the value starts in the submitted text, from 1;
	// 0 where the value was not part of that text.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// File is set when the document was adapted from a file.
	File string `json:"file,omitempty"`
	// Message is the whole problem in one clause.
	Message string `json:"message"`
	// Found and Expected are the short forms, where they apply.
	Found    string `json:"found,omitempty"`
	Expected string `json:"expected,omitempty"`
	// Nearest is the valid name that is most like the one found.
	Nearest string `json:"nearest,omitempty"`
}

// String renders the problem in one line, position included: the place, the
// message, and what would be right unless the message says so itself. Where a
// near name is known, that is it, and not the list of all.
func (p Problem) String() string {
	var b strings.Builder
	if p.Pointer != "" {
		b.WriteString(p.Pointer)
	} else {
		b.WriteString("/")
	}
	b.WriteString(p.place())
	b.WriteString(": ")
	b.WriteString(p.Message)
	if p.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Nearest)
	} else if p.Expected != "" && !strings.Contains(p.Message, p.Expected) {
		fmt.Fprintf(&b, " (expected: %s)", shortened(p.Expected))
	}
	return b.String()
}

// maxExpected is how many bytes of what would be right a line has: it may be a
// list of many names.
const maxExpected = 240

// shortened cuts a long list behind one of its members.
func shortened(list string) string {
	if len(list) <= maxExpected {
		return list
	}
	head := list[:maxExpected]
	if i := strings.LastIndex(head, ", "); i > 0 {
		head = head[:i]
	}
	return strings.ToValidUTF8(head, "") + ", ..."
}

// place is where the problem stands, in parentheses. A line without a column is
// that of a file which was adapted, so the file is named; a line with one is
// that of the text in hand.
func (p Problem) place() string {
	switch {
	case p.Line > 0 && p.Column > 0:
		return fmt.Sprintf(" (line %d, column %d)", p.Line, p.Column)
	case p.Line > 0 && p.File != "":
		return fmt.Sprintf(" (%s:%d)", p.File, p.Line)
	case p.Line > 0:
		return fmt.Sprintf(" (line %d)", p.Line)
	}
	return ""
}

// Problems is every problem of a document. As an error it prints the first
// ones, and how many more there are.
type Problems []Problem

const shownProblems = 5

// Error lists the first few problems, separated by semicolons.
func (ps Problems) Error() string {
	lines := make([]string, 0, shownProblems+1)
	for i, p := range ps {
		if i == shownProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(ps)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "; ")
}

// Under returns the problems with prefix put before each pointer.
func (ps Problems) Under(prefix string) Problems {
	if prefix == "" {
		return ps
	}
	out := make(Problems, len(ps))
	for i, p := range ps {
		p.Pointer = prefix + p.Pointer
		out[i] = p
	}
	return out
}

// Nearest returns the candidate most like name, or "" if none is near enough
// to be a likely misspelling.
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	low := strings.ToLower(name)
	for _, c := range candidates {
		if d := distance(low, strings.ToLower(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the edit distance of a and b with transpositions (optimal string
// alignment), or limit if it is at least that.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var rows [3][65]int
	prev2, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
