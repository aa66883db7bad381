package encode

import (
	"net/http"
	"strconv"
	"strings"
)

// element takes the first element off an Accept-Encoding line: the name as it is
// written, without space around it, and its parameters.
func element(line string) (name, params, rest string, more bool) {
	end, semicolon := len(line), -1
	for i := range len(line) { // faster than two searches in so short a text
		if c := line[i]; c == ',' {
			end = i
			break
		} else if c == ';' && semicolon < 0 {
			semicolon = i
		}
	}
	name = line[:end]
	if semicolon >= 0 {
		name, params = line[:semicolon], line[semicolon+1:end]
	}
	if end < len(line) {
		rest, more = line[end+1:], true
	}
	return strings.TrimSpace(name), params, rest, more
}

// weightOf is the client's weight of an element. Only the first parameter
// counts, and only if it is a weight from 0 to 1; else the weight is 1.
func weightOf(params string) float64 {
	if params == "" {
		return 1
	}
	first, _, _ := strings.Cut(params, ";")
	first = strings.TrimSpace(first)
	if len(first) < 2 || first[0]|0x20 != 'q' || first[1] != '=' {
		return 1
	}
	q, err := strconv.ParseFloat(first[2:], 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 1
	}
	return q
}

// offer is an encoding with its place in the server's preference.
type offer struct {
	*Encoding
	rank int
}

// choose returns the encoding for the answer to a request, nil for none.
func (h *handler) choose(r *http.Request) *Encoding {
	lines := r.Header["Accept-Encoding"]
	if len(lines) == 0 || len(r.Header["Sec-Websocket-Key"]) > 0 || noTransform(r.Header) {
		return nil
	}
	if e, ok := h.known[lines[0]]; ok {
		return e
	}
	return h.negotiate(lines[0])
}

// common are lines that many clients send: browsers, then tools.
var common = [...]string{"gzip, deflate, br, zstd", "gzip, deflate, br", "gzip, deflate", "gzip", "deflate, gzip, br, zstd"}

// prepare negotiates what can be negotiated before there is a request.
func (h *handler) prepare() {
	h.known = make(map[string]*Encoding, len(common))
	for _, line := range common {
		h.known[line] = h.negotiate(line)
	}
}

// negotiate returns the encoding with the highest weight, among equals the one
// that the server prefers, among those the one that the client names first.
func (h *handler) negotiate(line string) *Encoding {
	var best *offer
	var most float64
	for more := true; more; {
		var name, params string
		name, params, line, more = element(line)
		o := h.find(name)
		if o == nil {
			continue
		}
		weight := weightOf(params)
		if weight > most || (weight == most && best != nil && o.rank < best.rank) {
			best, most = o, weight
		}
	}
	if best == nil {
		return nil
	}
	return best.Encoding
}

func (h *handler) find(name string) *offer {
	for i := range h.offers {
		if equalFold(name, h.offers[i].token) {
			return &h.offers[i]
		}
	}
	return nil
}

// equalFold compares with a lower-case text, ASCII letters without regard to
// case.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
