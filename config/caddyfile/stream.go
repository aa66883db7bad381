package caddyfile

// stream is the tokens that are still to be read: a stack of frames, one for
// each import that is being read, the innermost on top. To import is to push a
// frame, which costs nothing for the tokens that follow.
type stream struct {
	frames []frame
	cur    Token
	prev   Token
	// started is false before the first token, fresh before the second.
	started, fresh bool
}

type frame struct {
	tokens []Token
	pos    int
}

func newStream(tokens []Token) *stream {
	return &stream{frames: []frame{{tokens: tokens}}}
}

// peek returns the token after the current one.
func (s *stream) peek() (Token, bool) {
	for len(s.frames) > 0 {
		f := &s.frames[len(s.frames)-1]
		if f.pos < len(f.tokens) {
			return f.tokens[f.pos], true
		}
		s.frames = s.frames[:len(s.frames)-1]
	}
	return Token{}, false
}

// next goes to the next token. At the end it returns false and the current
// token stays.
func (s *stream) next() bool {
	t, ok := s.peek()
	if !ok {
		return false
	}
	s.frames[len(s.frames)-1].pos++
	s.prev, s.cur = s.cur, t
	s.fresh, s.started = !s.started, true
	return true
}

// push puts tokens before all that are still to be read.
func (s *stream) push(tokens []Token) {
	if len(tokens) > 0 {
		s.frames = append(s.frames, frame{tokens: tokens})
	}
}

// newLine reports whether the current token is the first of its line.
func (s *stream) newLine() bool {
	return s.fresh || !s.prev.SameLine(s.cur)
}

// endsLine reports whether the current token is the last of its line.
func (s *stream) endsLine() bool {
	t, ok := s.peek()
	return !ok || !s.cur.SameLine(t)
}

// nextArg goes to the next token if it is on the same line and does not open a
// block.
func (s *stream) nextArg() bool {
	t, ok := s.peek()
	if !ok || t.Opens() || !s.cur.SameLine(t) {
		return false
	}
	return s.next()
}

// block reads a block that opens on the current line, if there is one, and
// returns what is between its braces. As in every block of a directive, a brace
// counts only as the last token of its line. closed is false if the tokens end
// before the block does.
func (s *stream) block() (tokens []Token, opened, closed bool) {
	if t, ok := s.peek(); !ok || !t.Opens() || !s.cur.SameLine(t) {
		return nil, false, true
	}
	s.next()
	for depth := 1; s.next(); tokens = append(tokens, s.cur) {
		switch {
		case s.cur.Closes() && s.endsLine():
			depth--
		case s.cur.Opens() && s.endsLine():
			depth++
		}
		if depth == 0 {
			return tokens, true, true
		}
	}
	return tokens, true, false
}

// body reads the tokens between the current opening brace and its closing one,
// every unquoted brace counted.
func (s *stream) body() (tokens []Token, ok bool) {
	for depth := 1; s.next(); tokens = append(tokens, s.cur) {
		switch {
		case s.cur.Opens():
			depth++
		case s.cur.Closes():
			depth--
		}
		if depth == 0 {
			return tokens, true
		}
	}
	return tokens, false
}
