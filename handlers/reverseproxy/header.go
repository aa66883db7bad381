package reverseproxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// hopByHop reports whether a field in canonical spelling concerns one connection only (REQ-5, RFC 9110 section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Alt-Svc", "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// endToEnd copies the fields of src that are not hop-by-hop. Value lists are shared with src and full, so that they are
// copied before anything is added to them; nobody changes one in place. room is for the values of fields to come, see
// [header.set].
func endToEnd(src http.Header, room []string) header {
	h := header{fields: make(http.Header, len(src)+len(room)/2), room: room}
	for name, values := range src {
		if !hopByHop(name) { // a nil list stays one: an earlier handler has blocked the field (REQ-11)
			h.fields[name] = values[:len(values):len(values)]
		}
	}
	dropNamed(h.fields, src["Connection"])
	return h
}

// header is a set of fields with room for values, so that a field costs no allocation of its own.
type header struct {
	fields http.Header
	room   []string
}

// set gives a field one value.
func (h *header) set(name, value string) {
	if len(h.room) == 0 {
		h.fields[name] = []string{value}
		return
	}
	one := h.room[:1:1]
	h.room = h.room[1:]
	one[0] = value
	h.fields[name] = one
}

// dropNamed removes from h the fields that a Connection header names.
func dropNamed(h http.Header, connection []string) {
	for _, line := range connection {
		for line != "" {
			var token string
			token, line, _ = strings.Cut(line, ",")
			if token = textproto.TrimString(token); token != "" {
				h.Del(token)
			}
		}
	}
}

// upgradeType returns the protocol that a message asks to switch to, "" if none (REQ-7).
func upgradeType(h http.Header) string {
	upgrade := h["Upgrade"]
	if len(upgrade) == 0 || !httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade") {
		return ""
	}
	return upgrade[0]
}

// sameProtocol compares two upgrade types: printable ASCII, letters without regard to case, no Unicode folding (UP-1).
func sameProtocol(requested, offered string) bool {
	if requested == "" || len(requested) != len(offered) {
		return false
	}
	for i := range len(requested) {
		a, b := requested[i], offered[i]
		if a < 0x20 || a > 0x7e || lower(a) != lower(b) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func lowerASCII(s string) string {
	for i := range len(s) {
		if lower(s[i]) != s[i] {
			b := []byte(s)
			for j := range b {
				b[j] = lower(b[j])
			}
			return string(b)
		}
	}
	return s
}

// spellWebSocket gives the fields of a WebSocket handshake the spelling of RFC 6455, which some servers insist on.
func spellWebSocket(h http.Header) {
	for _, f := range [...][2]string{
		{"Sec-Websocket-Accept", "Sec-WebSocket-Accept"},
		{"Sec-Websocket-Extensions", "Sec-WebSocket-Extensions"},
		{"Sec-Websocket-Key", "Sec-WebSocket-Key"},
		{"Sec-Websocket-Protocol", "Sec-WebSocket-Protocol"},
		{"Sec-Websocket-Version", "Sec-WebSocket-Version"},
	} {
		if values, ok := h[f[0]]; ok {
			delete(h, f[0])
			h[f[1]] = values
		}
	}
}

// via is the value of our Via line for a message of the given version (REQ-12, RESP-12, RFC 9110 section 7.6.3).
func via(major, minor int) string {
	switch {
	case major == 1 && minor == 1:
		return "1.1 " + product
	case major == 1 && minor == 0:
		return "1.0 " + product
	case major == 2:
		return "2.0 " + product
	case major == 3:
		return "3.0 " + product
	}
	return "0.0 " + product
}

const product = "sluice"
