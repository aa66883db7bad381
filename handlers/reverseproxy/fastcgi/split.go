package fastcgi

import "strings"

// splitAt returns where the name of the script ends in a path, -1 if there is no script (FC-1). Letters are compared
// byte by byte and only ASCII ones without regard to case: a name that merely looks like .php once Unicode is folded must
// never be run, and offsets must not shift.
func (t *Transport) splitAt(path string) int {
	if len(t.split) == 0 {
		return 0
	}
	for _, text := range t.split {
		for i := 0; i+len(text) <= len(path); i++ {
			if equalLower(path[i:i+len(text)], text) {
				return i + len(text)
			}
		}
	}
	return -1
}

// equalLower compares with a text in lower case.
func equalLower(s, lower string) bool {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// script is a path cut into what CGI calls its parts.
type script struct {
	name string // SCRIPT_NAME
	info string // PATH_INFO
	uri  string // DOCUMENT_URI
}

// cut splits a path.
func (t *Transport) cut(path string) script {
	s := script{name: path, uri: path}
	if at := t.splitAt(path); at >= 0 {
		s = script{name: path[:at], info: path[at:], uri: path[:at]}
	}
	if s.name != "" && !strings.HasPrefix(s.name, "/") {
		s.name = "/" + s.name
	}
	return s
}
