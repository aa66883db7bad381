package staticresponse_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirectives(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"abort", "abort", `{"handler":"static_response","abort":true}`},
		{"a status", "respond 418", `{"handler":"static_response","status_code":418}`},
		{"a quoted status", `respond "503"`, `{"handler":"static_response","status_code":503}`},
		{"three digits with a leading zero", "respond 099", `{"handler":"static_response","status_code":99}`},
		{"two digits are a body", "respond 42", `{"handler":"static_response","body":"42"}`},
		{"four digits are a body", "respond 1000", `{"handler":"static_response","body":"1000"}`},
		{"zero is a body", "respond 000", `{"handler":"static_response","body":"000"}`},
		{"a negative number is a body", "respond -50", `{"handler":"static_response","body":"-50"}`},
		{"three letters are a body", "respond yes", `{"handler":"static_response","body":"yes"}`},
		{"a body", `respond "see you"`, `{"handler":"static_response","body":"see you"}`},
		{"a brace as body", `respond "{"`, `{"handler":"static_response","body":"{"}`},
		{"an empty body", `respond ""`, `{"handler":"static_response"}`},
		{"a heredoc", "respond <<END\n\tone\n\ttwo\n\tEND", `{"handler":"static_response","body":"one\ntwo"}`},
		{"body and status", `respond gone 410`, `{"handler":"static_response","body":"gone","status_code":410}`},
		{"a status is not checked behind a body", `respond a teapot`, `{"handler":"static_response","body":"a","status_code":"teapot"}`},
		{"a status of zeros and digits is a number", `respond a 00204`, `{"handler":"static_response","body":"a","status_code":204}`},
		{"a placeholder as status", `respond a {vars.code}`, `{"handler":"static_response","body":"a","status_code":"{http.vars.code}"}`},
		{"body in the block", "respond 202 {\n\tbody accepted\n}", `{"handler":"static_response","body":"accepted","status_code":202}`},
		{"close", "respond bye {\n\tclose\n}", `{"handler":"static_response","body":"bye","close":true}`},
		{"everything", "respond 500 {\n\tclose\n\tbody {host}\n}", `{"handler":"static_response","body":"{http.request.host}","status_code":500,"close":true}`},
		{"an empty block", "respond 204 {\n}", `{"handler":"static_response","status_code":204}`},
		{"redirect", "redir https://b.example/", `{"handler":"static_response","status_code":302,"headers":{"Location":["https://b.example/"]}}`},
		{"temporary", "redir {uri}/ temporary", `{"handler":"static_response","status_code":302,"headers":{"Location":["{http.request.uri}/"]}}`},
		{"permanent", "redir * /new permanent", `{"handler":"static_response","status_code":301,"headers":{"Location":["/new"]}}`},
		{"a code", "redir * /new 308", `{"handler":"static_response","status_code":308,"headers":{"Location":["/new"]}}`},
		{"the least code", "redir * /new 300", `{"handler":"static_response","status_code":300,"headers":{"Location":["/new"]}}`},
		{"the greatest code", "redir * /new 399", `{"handler":"static_response","status_code":399,"headers":{"Location":["/new"]}}`},
		{"401", "redir * /login 401", `{"handler":"static_response","status_code":401,"headers":{"Location":["/login"]}}`},
		{"a placeholder as code", "redir * /new {vars.code}", `{"handler":"static_response","status_code":"{http.vars.code}","headers":{"Location":["/new"]}}`},
		{"more than two arguments", "redir * /new 307 and more", `{"handler":"static_response","status_code":307,"headers":{"Location":["/new"]}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			adapttest.Same(t, adapttest.Body(t, c.text), `[{"handle":[`+c.want+`]}]`)
		})
	}
}

func TestDirectivesWithMatchers(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"abort a path", "abort /wp-*", `[{"match":[{"path":["/wp-*"]}],"handle":[{"handler":"static_response","abort":true}]}]`},
		{"a quoted path is a matcher", `respond "/ping" pong`, `[{"match":[{"path":["/ping"]}],"handle":[{"handler":"static_response","body":"pong"}]}]`},
		{"everything, and a path as body", `respond * /ping`, `[{"handle":[{"handler":"static_response","body":"/ping"}]}]`},
		{"a named matcher", "@w method PUT PATCH\nrespond @w 405", `[{"match":[{"method":["PUT","PATCH"]}],"handle":[{"handler":"static_response","status_code":405}]}]`},
		{"path, status and block", "respond /v 200 {\n\tbody 7\n}", `[{"match":[{"path":["/v"]}],"handle":[{"handler":"static_response","body":"7","status_code":200}]}]`},
		{"redirect a path", "redir /docs /docs/", `[{"match":[{"path":["/docs"]}],"handle":[{"handler":"static_response","status_code":302,"headers":{"Location":["/docs/"]}}]}]`},
		{"order", "respond last\nabort /x\nredir /y /z", `[
			{"match":[{"path":["/y"]}],"handle":[{"handler":"static_response","status_code":302,"headers":{"Location":["/z"]}}]},
			{"match":[{"path":["/x"]}],"handle":[{"handler":"static_response","abort":true}]},
			{"handle":[{"handler":"static_response","body":"last"}]}]`},
		{"paths without wildcard first, longer ones first", "respond a\nrespond /s* b\nrespond /s c\nrespond /s/long d", `[
			{"match":[{"path":["/s/long"]}],"handle":[{"handler":"static_response","body":"d"}]},
			{"match":[{"path":["/s"]}],"handle":[{"handler":"static_response","body":"c"}]},
			{"match":[{"path":["/s*"]}],"handle":[{"handler":"static_response","body":"b"}]},
			{"handle":[{"handler":"static_response","body":"a"}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
}

func TestRedirPage(t *testing.T) {
	text := adapttest.Body(t, `redir https://b.example/?a="1"&b=<2>{uri} html`)
	var routes []struct {
		Handle []struct {
			Status  int                 `json:"status_code"`
			Headers map[string][]string `json:"headers"`
			Body    string              `json:"body"`
		} `json:"handle"`
	}
	if err := json.Unmarshal([]byte(text), &routes); err != nil || len(routes) != 1 || len(routes[0].Handle) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	h := routes[0].Handle[0]
	if h.Status != 200 || len(h.Headers) != 1 || strings.Join(h.Headers["Content-Type"], ",") != "text/html; charset=utf-8" {
		t.Errorf("status %d, headers %v; want 200 and text/html alone", h.Status, h.Headers)
	}
	const to = `https://b.example/?a=&#34;1&#34;&amp;b=&lt;2&gt;{http.request.uri}`
	for _, want := range []string{`href="` + to + `"`, `content="0; url=` + to + `"`, "window.location.replace("} {
		if !strings.Contains(h.Body, want) {
			t.Errorf("the page does not contain %s:\n%s", want, h.Body)
		}
	}
	if n := strings.Count(h.Body, "{"); n != strings.Count(h.Body, "{http.request.uri}") {
		t.Errorf("the page has braces of its own, which could be taken for placeholders:\n%s", h.Body)
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"abort with an argument", "abort now", "parsing caddyfile tokens for 'abort': wrong argument count or unexpected line ending after 'now', at Caddyfile:2"},
		{"abort with arguments behind a matcher", "\nabort /x now", "wrong argument count or unexpected line ending after 'now', at Caddyfile:3"},
		{"abort with a block", "abort {\n\tclose\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"respond without arguments", "respond", "parsing caddyfile tokens for 'respond': wrong argument count or unexpected line ending after 'respond', at Caddyfile:2"},
		{"a lone path is a matcher", "respond /only", "wrong argument count or unexpected line ending after 'respond', at Caddyfile:2"},
		{"a lone star is a matcher", "respond *", "wrong argument count or unexpected line ending after 'respond', at Caddyfile:2"},
		{"respond without arguments but a block", "respond {\n\tbody x\n}", "wrong argument count or unexpected line ending after 'respond', at Caddyfile:2"},
		{"respond with three arguments", "respond a 200 b", "wrong argument count or unexpected line ending after 'b', at Caddyfile:2"},
		{"three arguments and a block", "respond a 200 b {\n\tclose\n}", "wrong argument count or unexpected line ending after 'b', at Caddyfile:2"},
		{"body twice", "respond {vars.x} {\n\n\tbody x\n}", "body already specified, at Caddyfile:4"},
		{"body twice in the block", "respond 200 {\n\tbody x\n\tbody y\n}", "body already specified, at Caddyfile:4"},
		{"body without text", "respond 200 {\n\tbody\n}", "wrong argument count or unexpected line ending after 'body', at Caddyfile:3"},
		{"body with two texts", "respond 200 {\n\tbody a b\n}", "wrong argument count or unexpected line ending after 'b', at Caddyfile:3"},
		{"close twice", "respond 200 {\n\tclose\n\tclose\n}", "close already specified, at Caddyfile:4"},
		{"close with an argument", "respond 200 {\n\tclose yes\n}", "wrong argument count or unexpected line ending after 'yes', at Caddyfile:3"},
		{"unknown line", "respond 200 {\n\tclosed\n}", "unrecognized subdirective 'closed', at Caddyfile:3 (did you mean 'close'?)"},
		{"unknown matcher", "respond @w 200", "unrecognized matcher name: @w, at Caddyfile:2"},
		{"redir without arguments", "redir", "parsing caddyfile tokens for 'redir': wrong argument count or unexpected line ending after 'redir', at Caddyfile:2"},
		{"redir with a matcher alone", "redir /x", "wrong argument count or unexpected line ending after 'redir', at Caddyfile:2"},
		{"redir with a block", "redir https://b.example {\n\tcode 301\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"a code below", "\n\nredir https://b.example 299", "Redir code not in the 3xx range or 401: '299', at Caddyfile:4"},
		{"a code above", "redir https://b.example 400", "Redir code not in the 3xx range or 401: '400', at Caddyfile:2"},
		{"another code", "redir https://b.example 402", "Redir code not in the 3xx range or 401: '402', at Caddyfile:2"},
		{"no code", "redir https://b.example permanant", "Not a supported redir code type or not valid integer: 'permanant', at Caddyfile:2 (did you mean 'permanent'?)"},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Fails(t, ":80 {\n"+c.text+"\n}", c.want) })
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		want string
	}{
		{"redir * /new 307", 0, ""},
		{"redir * /new 307 and more", 2, "'and' is ignored: redir takes at most 2 arguments"},
	} {
		t.Run(c.text, func(t *testing.T) { adapttest.Warns(t, c.text, c.line, c.want) })
	}
}
