package encode

import (
	"net/http"
	"strconv"
	"strings"
)

// noTransform reports whether a header asks that the content be left as it is
// (RFC 9111, 5.2).
func noTransform(h http.Header) bool {
	for _, line := range h["Cache-Control"] {
		if strings.Contains(line, "no-transform") || strings.Contains(strings.ToLower(line), "no-transform") {
			return true
		}
	}
	return false
}

// addVary says that the response depends on Accept-Encoding, unless the header
// says so already. No value slice is changed in place.
func addVary(h http.Header) {
	lines := h["Vary"]
	for _, line := range lines {
		for more := true; more; {
			var name string
			name, line, more = strings.Cut(line, ",")
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Accept-Encoding") {
				return
			}
		}
	}
	if len(lines) == 0 {
		h["Vary"] = varyAcceptEncoding
		return
	}
	h["Vary"] = append(lines[:len(lines):len(lines)], "Accept-Encoding")
}

// varyAcceptEncoding is never written to; appending to it copies it.
var varyAcceptEncoding = []string{"Accept-Encoding"}

// rewrite changes the header of a response that is going to be encoded. The
// space is for the value of a field.
func (e *Encoding) rewrite(h http.Header, space *[1]string) {
	delete(h, "Accept-Ranges")
	h["Content-Encoding"] = e.field
	addVary(h)
	// A strong tag stands for these very bytes (RFC 9110, 8.8.3.3).
	if tags := h["Etag"]; len(tags) > 0 && strong(tags[0]) {
		space[0] = tags[0][:len(tags[0])-1] + e.suffix
		h["Etag"] = space[:]
	}
}

func strong(tag string) bool {
	return len(tag) >= 2 && tag[0] == '"' && tag[len(tag)-1] == '"'
}

// restoreTags takes the suffix off the strong tags of If-None-Match, so that who
// made them can compare them.
func (e *Encoding) restoreTags(h http.Header) {
	lines := h["If-None-Match"]
	for i, line := range lines {
		if !strings.Contains(line, e.suffix) {
			continue
		}
		if &lines[0] == &h["If-None-Match"][0] { // not ours to write to
			lines = append([]string(nil), lines...)
		}
		lines[i] = e.restore(line)
		h["If-None-Match"] = lines
	}
}

// restore rewrites one list of tags. A tag may hold commas, but no quotes.
func (e *Encoding) restore(line string) string {
	var b strings.Builder
	for line != "" {
		open := strings.IndexByte(line, '"')
		if open < 0 {
			break
		}
		end := strings.IndexByte(line[open+1:], '"')
		if end < 0 {
			break
		}
		end += open + 2
		tag := line[open:end]
		if !strings.HasSuffix(line[:open], "W/") {
			if short, ok := strings.CutSuffix(tag, e.suffix); ok {
				tag = short + `"`
			}
		}
		b.WriteString(line[:open])
		b.WriteString(tag)
		line = line[end:]
	}
	b.WriteString(line)
	return b.String()
}

// lengthOf is the length that a header states, -1 if it states none.
func lengthOf(h http.Header) int64 {
	if v := first(h, "Content-Length"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// first is the first value of a field, "" if there is none.
func first(h http.Header, field string) string {
	if v := h[field]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// isEventStream reports whether a type is that of server-sent events, with or
// without parameters.
func isEventStream(contentType string) bool {
	const name = "text/event-stream"
	t := strings.TrimLeft(contentType, " \t")
	if len(t) < len(name) || !equalFold(t[:len(name)], name) {
		return false
	}
	t = strings.TrimLeft(t[len(name):], " \t")
	return t == "" || t[0] == ';'
}

// hasBody reports whether a response of this status may have a body (RFC 9110,
// 6.4.1).
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
