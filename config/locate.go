package config

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Locate finds where the value at a JSON Pointer starts in a text that Parse accepts: its line and column, both from 1,
// columns counted in characters. Of members with the same key it takes the last, as Parse does. It reads the text again and
// is meant for error messages. Not ok means that there is no such value, or that the text or the pointer is malformed.
func Locate(text []byte, pointer string) (line, column int, ok bool) {
	path, ok := SplitPointer(pointer)
	if !ok {
		return 0, 0, false
	}
	p := &parser{text: text, lim: Limits{}.withDefaults()}
	for _, seg := range path {
		if !p.enter(seg) {
			return 0, 0, false
		}
	}
	if p.space() < 0 {
		return 0, 0, false
	}
	line, column = lineColumn(text, p.pos)
	return line, column, true
}

// lineColumn returns the place of the byte at offset; the end of the text counts as one.
func lineColumn(text []byte, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte{'\n'}), 1 + utf8.RuneCount(before[start:])
}

// enter moves from the start of an array or object to that of its element or of the last member named seg.
func (p *parser) enter(seg string) bool {
	found := -1
	index := 0
	isArray := p.space() == '['
	ok := p.members(func(key string, pos int) bool {
		if isArray {
			key = strconv.Itoa(index)
			index++
		}
		if key == seg {
			found = pos
		}
		return isArray && key == seg
	})
	if found < 0 || !ok {
		return false
	}
	p.pos = found
	return true
}

// members calls visit with the key (for arrays "") and the start of each value in the array or object at pos, until it
// returns true. It returns false if there is none at pos, or it is malformed.
func (p *parser) members(visit func(key string, pos int) bool) bool {
	open := p.space()
	if open != '{' && open != '[' {
		return false
	}
	for {
		p.pos++ // the bracket or a comma
		if c := p.space(); c == '}' || c == ']' {
			p.pos++
			return true
		}
		key := ""
		if open == '{' {
			if p.space() != '"' {
				return false
			}
			b, ok := p.str()
			if key = string(b); !ok || p.space() != ':' {
				return false
			}
			p.pos++
		}
		p.space()
		if visit(key, p.pos) {
			return true
		}
		if !p.skip() {
			return false
		}
		switch p.space() {
		case ',':
		case '}', ']':
			p.pos++
			return true
		default:
			return false
		}
	}
}

// skip moves past a value, of which it only tells the end: brackets and strings.
func (p *parser) skip() bool {
	depth := 0
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case '"':
			if _, ok := p.str(); !ok {
				return false
			}
			if depth == 0 {
				return true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return true
			}
			if depth--; depth == 0 {
				p.pos++
				return true
			}
		case ',':
			if depth == 0 {
				return true
			}
		}
		p.pos++
	}
	return depth == 0
}

// warnDuplicates adds a warning for each key of the object at start that was there before.
func warnDuplicates(warnings []Warning, text []byte, start int) []Warning {
	if len(warnings) >= maxWarnings {
		return warnings
	}
	seen := map[string]bool{}
	base := ""
	p := &parser{text: text, pos: start}
	p.members(func(key string, pos int) bool {
		if !seen[key] {
			seen[key] = true
			return false
		}
		if base == "" {
			base = pointerAt(text, start)
		}
		line, column := lineColumn(text, pos)
		warnings = append(warnings, Warning{Pointer: JoinPointer(base, key), Line: line, Column: column,
			Message: "key " + strconv.Quote(key) + " occurs more than once in the same object; the last one counts"})
		return len(warnings) >= maxWarnings
	})
	return warnings
}

// pointerAt returns the JSON Pointer of the value that starts at offset in a text that is well-formed up to there.
func pointerAt(text []byte, offset int) string {
	type frame struct {
		seg   string
		index int // of an array; -1 for an object
	}
	var frames []frame
	p := &parser{text: text}
	key := false // whether a string here is a key
	for p.pos < offset {
		switch text[p.pos] {
		case '"':
			b, ok := p.str()
			if !ok {
				return ""
			}
			if key {
				frames[len(frames)-1].seg, key = string(b), false
			}
			continue
		case '{':
			frames, key = append(frames, frame{index: -1}), true
		case '[':
			frames, key = append(frames, frame{}), false
		case '}', ']':
			frames, key = frames[:len(frames)-1], false
		case ',':
			if f := &frames[len(frames)-1]; f.index >= 0 {
				f.index++
			} else {
				key = true
			}
		}
		p.pos++
	}
	pointer := ""
	for _, f := range frames {
		if f.index >= 0 {
			f.seg = strconv.Itoa(f.index)
		}
		pointer = JoinPointer(pointer, f.seg)
	}
	return pointer
}
