package headers_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestHeader(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"set", "header server none", `{"set":{"Server":["none"]}}`},
		{"set nothing", "header X-Empty", `{"set":{"X-Empty":[""]}}`},
		{"set with a placeholder", "header X-H {host}", `{"set":{"X-H":["{http.request.host}"]}}`},
		{"set a brace", `header X-B "{"`, `{"set":{"X-B":["{"]}}`},
		{"a colon of the first line stays", "header X-A: 1", `{"set":{"X-A:":["1"]}}`},
		{"add", "header +vary Origin", `{"add":{"Vary":["Origin"]}}`},
		{"add nothing", "header +Vary", `{"add":{"Vary":[""]}}`},
		{"add takes one value", "header +Vary Origin Accept", `{"add":{"Vary":["Origin"]}}`},
		{"delete", "header -x-powered-by", `{"delete":["x-powered-by"],"deferred":true}`},
		{"delete by pattern", "header -X-Debug-*", `{"delete":["X-Debug-*"],"deferred":true}`},
		{"delete takes no value", "header -Etag a b", `{"delete":["Etag"],"deferred":true}`},
		{"default", "header ?cache-control no-store", `{"require":{"headers":{"cache-control":null}},"set":{"Cache-Control":["no-store"]}}`},
		{"default takes one value", "header ?Age 1 2", `{"require":{"headers":{"Age":null}},"set":{"Age":["1"]}}`},
		{"late", "header >server none", `{"set":{"Server":["none"]},"deferred":true}`},
		{"replace", `header location http:// https://`, `{"replace":{"location":[{"search_regexp":"http://","replace":"https://"}]}}`},
		{"replace with nothing", `header Link "; x" ""`, `{"replace":{"Link":[{"search_regexp":"; x"}]}}`},
		{"replace late", `header >Link a b`, `{"replace":{"Link":[{"search_regexp":"a","replace":"b"}]},"deferred":true}`},
		{"more than three arguments", "header Link a b c d", `{"replace":{"Link":[{"search_regexp":"a","replace":"b"}]}}`},
		{"the last value wins", "header {\n\tx-a 1\n\tX-A 2\n}", `{"set":{"X-A":["2"]}}`},
		{"values are added", "header {\n\t+X-A 1\n\t+x-a 2\n}", `{"add":{"X-A":["1","2"]}}`},
		{"one colon in a block goes", "header {\n\tX-A: 1\n\t+X-B:: 2\n\t-X-C:\n}", `{"set":{"X-A":["1"]},"add":{"X-B:":["2"]},"delete":["X-C"],"deferred":true}`},
		{"replacements of a field", "header {\n\tLink a b\n\tLink c d\n\t>link e f\n}", `{"replace":{
			"Link":[{"search_regexp":"a","replace":"b"},{"search_regexp":"c","replace":"d"}],
			"link":[{"search_regexp":"e","replace":"f"}]},"deferred":true}`},
		{"defer", "header {\n\tA b\n\tdefer\n}", `{"set":{"A":["b"]},"deferred":true}`},
		{"defer behind the first line", "header A b {\n\tdefer\n}", `{"set":{"A":["b"]},"deferred":true}`},
		{"match behind the first line", "header A b {\n\tmatch status 5xx\n}", `{"set":{"A":["b"]},"require":{"status_code":[5]}}`},
		{"match", "header {\n\tA b\n\tmatch header Content-Type text/*\n}", `{"set":{"A":["b"]},"require":{"headers":{"Content-Type":["text/*"]}}}`},
		{"match of many lines", "header {\n\tmatch {\n\t\tstatus 2xx 304\n\t\theader !Etag\n\t}\n\tA b\n\tmatch status 404\n}",
			`{"set":{"A":["b"]},"require":{"status_code":[2,304,404],"headers":{"Etag":null}}}`},
		{"default with match", "header ?A b {\n\tmatch status 200\n}", `{"set":{"A":["b"]},"require":{"status_code":[200],"headers":{"A":null}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			adapttest.Same(t, adapttest.Body(t, c.text), `[{"handle":[{"handler":"headers","response":`+c.want+`}]}]`)
		})
	}
}

func TestHeaderHandlers(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a path", "header /s/* A b", `[{"match":[{"path":["/s/*"]}],"handle":[{"handler":"headers","response":{"set":{"A":["b"]}}}]}]`},
		{"everything", "header * A b", `[{"handle":[{"handler":"headers","response":{"set":{"A":["b"]}}}]}]`},
		{"defaults in a handler of their own", "header {\n\t?A: 1\n\tB 2\n\t?c 3\n\tdefer\n\tmatch status 200\n}", `[{"handle":[
			{"handler":"headers","response":{"set":{"B":["2"]},"deferred":true,"require":{"status_code":[200]}}},
			{"handler":"headers","response":{"set":{"A":["1"],"C":["3"]},"require":{"headers":{"A":null,"c":null}}}}]}]`},
		{"only defaults", "header {\n\t?A 1\n\tdefer\n}", `[{"handle":[{"handler":"headers","response":{"set":{"A":["1"]},"require":{"headers":{"A":null}}}}]}]`},
		{"lines are handlers of one route", "header A 1\nheader -B\nheader A 2", `[{"handle":[
			{"handler":"headers","response":{"set":{"A":["1"]}}},
			{"handler":"headers","response":{"delete":["B"],"deferred":true}},
			{"handler":"headers","response":{"set":{"A":["2"]}}}]}]`},
		{"without a field", "header /x\nrespond hi", `[{"handle":[{"handler":"static_response","body":"hi"}]}]`},
		{"without a field but a block", "header {\n\tdefer\n}\nrespond hi", `[{"handle":[{"handler":"static_response","body":"hi"}]}]`},
		{"request: set", "request_header x-real-ip {remote_host}", `[{"handle":[{"handler":"headers","request":{"set":{"X-Real-Ip":["{http.request.remote.host}"]}}}]}]`},
		{"request: nothing", "request_header X-A", `[{"handle":[{"handler":"headers","request":{"set":{"X-A":[""]}}}]}]`},
		{"request: one colon goes", "request_header X-A:: 1", `[{"handle":[{"handler":"headers","request":{"set":{"X-A:":["1"]}}}]}]`},
		{"request: add", "request_header +via 1.1:  x", `[{"handle":[{"handler":"headers","request":{"add":{"Via":["1.1:"]}}}]}]`},
		{"request: delete", "request_header -X-Secret-*:", `[{"handle":[{"handler":"headers","request":{"delete":["X-Secret-*"]}}]}]`},
		{"request: late is plain", "request_header >X-A 1", `[{"handle":[{"handler":"headers","request":{"set":{"X-A":["1"]}}}]}]`},
		{"request: replace", "request_header Cookie sid=.* sid=x", `[{"handle":[{"handler":"headers","request":{"replace":{"Cookie":[{"search_regexp":"sid=.*","replace":"sid=x"}]}}}]}]`},
		{"request: replace with a prefix", "request_header >Cookie a b", `[{"handle":[{"handler":"headers","request":{"replace":{"Cookie":[{"search_regexp":"a","replace":"b"}]}}}]}]`},
		{"request: matcher", "@q query debug=1\nrequest_header @q X-Debug 1", `[{"match":[{"query":{"debug":["1"]}}],"handle":[{"handler":"headers","request":{"set":{"X-Debug":["1"]}}}]}]`},
		{"order", "request_header A 1\nrewrite * /x\nheader A 2", `[
			{"handle":[{"handler":"headers","response":{"set":{"A":["2"]}}}]},
			{"group":"group0","handle":[{"handler":"rewrite","uri":"/x"}]},
			{"handle":[{"handler":"headers","request":{"set":{"A":["1"]}}}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"line and block", "header A b {\n\tdefer\n\tC d\n}", "parsing caddyfile tokens for 'header': cannot specify headers in both arguments and block, at Caddyfile:4"},
		{"line and default", "header A b {\n\t?C d\n}", "cannot specify headers in both arguments and block, at Caddyfile:3"},
		{"a prefix alone", "header - Server", "the name of the header field is missing in '-'"},
		{"a prefix alone in the block", "header {\n\t+: b\n}", "the name of the header field is missing in '+'"},
		{"defer with an argument", "header {\n\tdefer yes\n}", "wrong argument count or unexpected line ending after 'yes', at Caddyfile:3"},
		{"match without criteria", "header A b {\n\tmatch\n}", "wrong argument count or unexpected line ending after 'match', at Caddyfile:3"},
		{"match with an unknown criterion", "header A b {\n\tmatch path /x\n}", "unrecognized response matcher path, at Caddyfile:3"},
		{"match with a bad status", "header A b {\n\tmatch status ok\n}", "bad status value 'ok'"},
		{"a block in the block", "header {\n\tA b {\n\t\tc\n\t}\n}", "unexpected token '{', expecting argument, at Caddyfile:3"},
		{"a block behind match", "header {\n\tmatch status 200 {\n\t\tc\n\t}\n}", "malformed status matcher: blocks are not supported, at Caddyfile:3"},
		{"unknown matcher", "header @x A b", "unrecognized matcher name: @x, at Caddyfile:2"},
		{"request: nothing", "request_header", "parsing caddyfile tokens for 'request_header': wrong argument count or unexpected line ending after 'request_header', at Caddyfile:2"},
		{"request: a matcher alone", "\nrequest_header /x", "wrong argument count or unexpected line ending after 'request_header', at Caddyfile:3"},
		{"request: four arguments", "request_header A b c d", "wrong argument count or unexpected line ending after 'd', at Caddyfile:2"},
		{"request: default", "request_header ?A b", "the default header modifier ('?') can only be used on response headers; "},
		{"request: default at its place", "\n\nrequest_header ?A b", ", at Caddyfile:4"},
		{"request: a block", "request_header A b {\n\tdefer\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"request: only a block", "request_header {\n\tA b\n}", "wrong argument count or unexpected line ending after 'request_header', at Caddyfile:2"},
		{"request: a prefix alone", "request_header + A", "the name of the header field is missing in '+'"},
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
		{"header A b c", 0, ""},
		{"header A b c d e", 2, "'d' is ignored: A takes at most 2 arguments"},
		{"header +A b c", 2, "'c' is ignored: +A takes at most 1 arguments"},
		{"header {\n\tA b\n\t?B c d\n}", 4, "'d' is ignored: ?B takes at most 1 arguments"},
		{"header -A b", 2, "'b' is ignored: -A takes at most 0 arguments"},
		{"request_header -A b", 2, "'b' is ignored: -A takes at most 0 arguments"},
		{"request_header A b c", 0, ""},
		{"header /x", 2, "header without a field changes nothing"},
		{"header /x {\n\tdefer\n}", 2, "header without a field changes nothing"},
	} {
		t.Run(c.text, func(t *testing.T) { adapttest.Warns(t, c.text, c.line, c.want) })
	}
}
