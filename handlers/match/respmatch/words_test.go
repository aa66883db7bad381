package respmatch

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// read reads the criteria that the first token of text is followed by, and
// checks that it is followed by nothing else.
func read(t *testing.T, text string) (*Config, error) {
	t.Helper()
	tokens, err := caddyfile.Lex(text+"\nend", &caddyfile.Origin{File: "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	c := &Config{}
	if err := c.Words(d); err != nil {
		return nil, err
	}
	if d.Next(); d.Val() != "end" {
		t.Errorf("%s: left at %q", text, d.Val())
	}
	return c, nil
}

func TestWords(t *testing.T) {
	tests := []struct{ text, want string }{
		{"match status 404", `{"status_code":[404]}`},
		{"match status 3xx 5xx 418", `{"status_code":[3,5,418]}`},
		{"match header x-cache HIT*", `{"headers":{"X-Cache":["HIT*"]}}`},
		{"match header !x-cache", `{"headers":{"x-cache":null}}`},
		{"match", `{}`},
		{"@r {\n}", `{}`},
		{"@r {\nstatus 2xx\nheader content-type text/*\nstatus 304\nheader Content-Type *json\nheader !Set-Cookie\n}",
			`{"status_code":[2,304],"headers":{"Content-Type":["text/*","*json"],"Set-Cookie":null}}`},
	}
	for _, tt := range tests {
		c, err := read(t, tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		got, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

func TestWordErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"match satus 200", "unrecognized response matcher satus, at Caddyfile:1 (did you mean 'status'?)"},
		{"@r {\nstatus 200\nmethod GET\n}", "unrecognized response matcher method, at Caddyfile:3"},
		{"match status", "wrong argument count or unexpected line ending after 'status'"},
		{"match status 20x", "bad status value '20x'; it is a number such as 404, or a class such as 5xx, at Caddyfile:1"},
		{"match status xxx", "bad status value 'xxx'"},
		{"match status 200 header A b", "bad status value 'header'"},
		{"match status {\n200\n}", "malformed status matcher: blocks are not supported"},
		{"@r {\nstatus 200 {\nx\n}\n}", "malformed status matcher: blocks are not supported, at Caddyfile:2"},
		{"match header", "malformed header matcher: expected both field and value"},
		{"match header A", "malformed header matcher: expected both field and value"},
		{"match header A b c", "malformed header matcher: expected both field and value; a line takes one value"},
		{"match header !", "malformed header matcher: must have field name following ! character"},
		{"match header !A b", "malformed header matcher: null matching headers cannot have a field value"},
		{"match header {\nA b\n}", "malformed header matcher: blocks are not supported"},
		{"match header A {\nb\n}", "malformed header matcher: blocks are not supported"},
		{"match header A b {\n}", "malformed header matcher: blocks are not supported"},
		{"match header !A {\n}", "malformed header matcher: blocks are not supported"},
	}
	for _, tt := range tests {
		c, err := read(t, tt.text)
		if err == nil {
			t.Errorf("%s: no error, but %+v", tt.text, c)
		} else if !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]int{"1xx": 1, "5xx": 5, "5": 5, "404": 404} {
		if n, err := ParseStatus(text); n != want || err != nil {
			t.Errorf("%s = %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "x", "5XX", "55xx", "xx", "4x4", "1e2", "-5", "99999999999999999999", "{status}"} {
		if n, err := ParseStatus(text); err == nil {
			t.Errorf("%q = %d", text, n)
		} else if want := "bad status value '" + text + "'"; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
