package caddyfile

import "strings"

// heredoc reads a token that begins with <<. Only if the line ends right after
// a marker is it a heredoc; with a space before, or at the end of the text, it
// is an ordinary token.
func (l *lexer) heredoc(t Token) (Token, bool, error) {
	rest := l.input[l.pos:]
	end := strings.IndexAny(rest, " \n")
	if end < 0 || rest[end] == ' ' {
		if end < 0 {
			end = len(rest)
		}
		t.Text, t.End = strings.ReplaceAll(rest[:end], "\r", ""), t.Line
		l.pos += end
		return t, true, nil
	}
	marker := strings.ReplaceAll(rest[2:end], "\r", "")
	if err := checkMarker(t, marker, l.line+l.skipped); err != nil {
		return Token{}, false, err
	}
	opening := l.line + l.skipped
	body := rest[end+1:]
	at := strings.Index(body, marker)
	if at < 0 {
		t.Text = "<<" + marker
		return Token{}, false, t.Errf("incomplete heredoc <<%s on line #%d, expected ending marker %s",
			marker, opening+1+strings.Count(body, "\n"), marker)
	}
	text, err := strip(t, body[:at], marker, opening)
	if err != nil {
		return Token{}, false, err
	}
	l.pos += end + 1 + at + len(marker)
	l.line, l.skipped = opening+1+strings.Count(body[:at], "\n"), 0
	t.Text, t.Quote, t.End = text, Heredoc, int32(l.line)
	return t, true, nil
}

// checkMarker checks the marker of a heredoc that opens at t.
func checkMarker(t Token, marker string, line int) error {
	t.Text = "<<" + marker
	if marker == "" {
		return t.Errf("missing opening heredoc marker on line #%d; must contain only alphanumeric characters, dashes and underscores; got empty string", line)
	}
	if marker[0] == '<' {
		return t.Errf("too many '<' for heredoc on line #%d; only use two, for example <<END", line)
	}
	if !validMarker(marker) {
		return t.Errf("heredoc marker on line #%d must contain only alphanumeric characters, dashes and underscores; got '%s'", line, Shorten(marker))
	}
	return nil
}

// validMarker reports whether the text can be the marker of a heredoc.
func validMarker(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// strip takes from each line of a heredoc's body the padding that stands before
// the closing marker. opening is the line of the opening marker.
func strip(t Token, body, marker string, opening int) (string, error) {
	t.Text = "<<" + marker
	last := strings.LastIndexByte(body, '\n')
	padding := body[last+1:]
	var out strings.Builder
	out.Grow(len(body))
	line := opening
	for text := range strings.SplitSeq(body[:max(last, 0)], "\n") {
		if last < 0 {
			break
		}
		line++
		if line > opening+1 {
			out.WriteByte('\n')
		}
		if text == "" || text == "\r" {
			continue
		}
		kept, ok := strings.CutPrefix(text, padding)
		if !ok {
			return "", t.Errf("mismatched leading whitespace in heredoc <<%s on line #%d [%s], expected whitespace [%s] to match the closing marker",
				marker, line, Shorten(text), Shorten(padding))
		}
		for part := range strings.SplitSeq(kept, "\r") {
			out.WriteString(part)
		}
	}
	// The reference loses such text without a word.
	if strings.TrimSpace(padding) != "" {
		return "", t.Errf("text before the closing marker of heredoc <<%s on line #%d [%s]; the marker must stand at the start of its line",
			marker, line+1, Shorten(padding))
	}
	return out.String(), nil
}
