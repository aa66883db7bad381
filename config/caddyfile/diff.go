package caddyfile

import (
	"slices"
	"strings"
)

// Unformatted returns the number, from 1, of the first line of input that
// Format would write differently. It returns 0 if there is none. Whether lines
// end in CRLF or LF makes no difference.
func Unformatted(input []byte) int {
	have, want := withoutCR(string(input)), string(Format(input))
	if have == want {
		return 0
	}
	line := 1
	for i := range min(len(have), len(want)) {
		if have[i] != want[i] {
			break
		}
		if have[i] == '\n' {
			line++
		}
	}
	return line
}

// maxEdits bounds the search for a short Diff. A text that differs more is
// shown as removed and added whole.
const maxEdits = 1000

// Diff returns every line of both texts: those in both after two spaces, those
// only in the old one after "- ", those only in the new one after "+ ".
func Diff(old, new []byte) string {
	a, b := lines(old), lines(new)
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out strings.Builder
	for _, l := range a[:head] {
		out.WriteString("  " + l + "\n")
	}
	for _, l := range script(a[head:len(a)-tail], b[head:len(b)-tail]) {
		out.WriteString(l + "\n")
	}
	for _, l := range a[len(a)-tail:] {
		out.WriteString("  " + l + "\n")
	}
	return out.String()
}

func lines(text []byte) []string {
	s := strings.TrimSuffix(string(text), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// script returns a shortest list of removed, added and kept lines, by Myers'
// greedy algorithm: furthest[d][k] is how far along a one gets on diagonal k
// with d edits.
func script(a, b []string) []string {
	var steps [][]int
	for d := 0; d <= min(len(a)+len(b), maxEdits); d++ {
		row := make([]int, 2*d+1)
		for k := -d; k <= d; k += 2 {
			x := start(steps, d, k)
			y := x - k
			for x < len(a) && y >= 0 && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			row[k+d] = x
			if x >= len(a) && y >= len(b) {
				return backtrack(append(steps, row), a, b)
			}
		}
		steps = append(steps, row)
	}
	var out []string
	for _, l := range a {
		out = append(out, "- "+l)
	}
	for _, l := range b {
		out = append(out, "+ "+l)
	}
	return out
}

// start returns where diagonal k begins with d edits: after one more added
// line, from the diagonal above, or removed line, from the one below.
func start(steps [][]int, d, k int) int {
	if d == 0 {
		return 0
	}
	prev := steps[d-1]
	at := func(k int) int { return prev[k+d-1] }
	if k == -d || k != d && at(k-1) < at(k+1) {
		return at(k + 1)
	}
	return at(k-1) + 1
}

// backtrack reads the script from the last step to the first.
func backtrack(steps [][]int, a, b []string) []string {
	var out []string
	x, y := len(a), len(b)
	for d := len(steps) - 1; d >= 0; d-- {
		from := start(steps, d, x-y)
		for k := x - y; x > from && x > 0 && y > 0 && x-k > from-k; {
			x, y = x-1, y-1
			out = append(out, "  "+a[x])
		}
		if d == 0 {
			break
		}
		prev := steps[d-1]
		if k := x - y; k == -d || k != d && prev[k-1+d-1] < prev[k+1+d-1] {
			y--
			out = append(out, "+ "+b[y])
		} else {
			x--
			out = append(out, "- "+a[x])
		}
	}
	slices.Reverse(out)
	return out
}
