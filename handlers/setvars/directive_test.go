package setvars_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestScalars(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"7", "7"}, {"-7", "-7"}, {"+7", "7"}, {"007", "7"}, {`"7"`, `"7"`}, {"`7`", `"7"`},
		{"1.25", "1.25"}, {"2e3", "2000"}, {".5", "0.5"}, {`"1.25"`, `"1.25"`},
		{"true", "true"}, {"True", "true"}, {"T", "true"}, {"t", "true"}, {"false", "false"}, {"F", "false"}, {`"true"`, `"true"`},
		{"1", "1"}, {"0", "0"}, // integers before truth
		{"tRUE", `"tRUE"`}, {"yes", `"yes"`}, {"0x1f", `"0x1f"`}, {`""`, `""`}, {"1_000", "1000"}, {"1,000", `"1,000"`},
		{"{query.n}", `"{http.request.uri.query.n}"`},
	} {
		t.Run(c.text, func(t *testing.T) {
			adapttest.Same(t, adapttest.Body(t, "vars k "+c.text), `[{"handle":[{"handler":"vars","k":`+c.want+`}]}]`)
		})
	}
}

func TestDirectives(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a block", "vars {\n\ta 1\n\tb x\n\tc \"2\"\n}", `[{"handle":[{"handler":"vars","a":1,"b":"x","c":"2"}]}]`},
		{"line and block", "vars a 1 {\n\tb 2\n}", `[{"handle":[{"handler":"vars","a":1,"b":2}]}]`},
		{"the last of a name wins", "vars a 1 {\n\ta 2\n\ta 3\n}", `[{"handle":[{"handler":"vars","a":3}]}]`},
		{"placeholders in names", "vars {host}-x 1", `[{"handle":[{"handler":"vars","{http.request.host}-x":1}]}]`},
		{"a matcher", "vars /m a 1", `[{"match":[{"path":["/m"]}],"handle":[{"handler":"vars","a":1}]}]`},
		{"everything", "vars * a 1", `[{"handle":[{"handler":"vars","a":1}]}]`},
		{"no variables", "vars", `[{"handle":[{"handler":"vars"}]}]`},
		{"the least specific first, equal ones from the last", "vars /long/path a 1\nvars /s a 2\nvars b 3\nvars c 4", `[
			{"handle":[{"handler":"vars","c":4},{"handler":"vars","b":3}]},
			{"match":[{"path":["/s"]}],"handle":[{"handler":"vars","a":2}]},
			{"match":[{"path":["/long/path"]}],"handle":[{"handler":"vars","a":1}]}]`},
		{"root", "root /var/www", `[{"handle":[{"handler":"vars","root":"/var/www"}]}]`},
		{"root of everything", "root * web", `[{"handle":[{"handler":"vars","root":"web"}]}]`},
		{"a lone star is a path", "root *", `[{"handle":[{"handler":"vars","root":"*"}]}]`},
		{"a lone name is a path", "root @site", `[{"handle":[{"handler":"vars","root":"@site"}]}]`},
		{"a root for a path", "root /img/* /srv/img", `[{"match":[{"path":["/img/*"]}],"handle":[{"handler":"vars","root":"/srv/img"}]}]`},
		{"a root for a matcher", "@h header A b\nroot @h {vars.dir}", `[{"match":[{"header":{"A":["b"]}}],"handle":[{"handler":"vars","root":"{http.vars.dir}"}]}]`},
		{"roots exclude each other", "root /a\nroot /b/* /b", `[
			{"group":"group1","match":[{"path":["/b/*"]}],"handle":[{"handler":"vars","root":"/b"}]},
			{"group":"group1","handle":[{"handler":"vars","root":"/a"}]}]`},
		{"log_skip", "log_skip", `[{"handle":[{"handler":"vars","log_skip":true}]}]`},
		{"log_skip for a path", "log_skip /ping", `[{"match":[{"path":["/ping"]}],"handle":[{"handler":"vars","log_skip":true}]}]`},
		{"log_skip for everything", "log_skip *", `[{"handle":[{"handler":"vars","log_skip":true}]}]`},
		{"skip_log", "skip_log /ping", `[{"match":[{"path":["/ping"]}],"handle":[{"handler":"vars","log_skip":true}]}]`},
		{"root with two paths, of which the second is ignored", "root a b", `[{"handle":[{"handler":"vars","root":"a"}]}]`},
		{"log_name", "log_name audit", `[{"handle":[{"handler":"vars","access_logger_names":["audit"]}]}]`},
		{"several names", "log_name /pay/* audit \"money 1\"", `[{"match":[{"path":["/pay/*"]}],"handle":[{"handler":"vars","access_logger_names":["audit","money 1"]}]}]`},
		{"log_name without names", "log_name", `[{"handle":[{"handler":"vars","access_logger_names":null}]}]`},
		{"order", "log_name b\nlog_skip\nroot /r\nvars a 1", `[{"handle":[
			{"handler":"vars","a":1},{"handler":"vars","root":"/r"},{"handler":"vars","log_skip":true},{"handler":"vars","access_logger_names":["b"]}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a name without value", "vars a", "parsing caddyfile tokens for 'vars': wrong argument count or unexpected line ending after 'a', at Caddyfile:2"},
		{"two values", "\nvars a 1 2", "wrong argument count or unexpected line ending after '2', at Caddyfile:3"},
		{"a name without value in the block", "vars {\n\tb 1\n\ta\n}", "wrong argument count or unexpected line ending after 'a', at Caddyfile:4"},
		{"two values in the block", "vars {\n\ta 1 2\n}", "wrong argument count or unexpected line ending after '2', at Caddyfile:3"},
		{"a block in the block", "vars {\n\ta 1 {\n\t\tb 2\n\t}\n}", "unexpected token '{', expecting argument, at Caddyfile:3"},
		{"not a number", "vars {\n\ta NaN\n}", "NaN is not a number that JSON can hold; quote it if it is meant as text, at Caddyfile:3"},
		{"infinity", "vars a -Inf", "-Inf is not a number that JSON can hold; quote it if it is meant as text, at Caddyfile:2"},
		{"the name that the document needs", "vars handler x", "a variable cannot be named 'handler'"},
		{"root without a path", "root", "parsing caddyfile tokens for 'root': too few arguments; root needs a path, at Caddyfile:2"},
		{"root with three arguments", "root * /a /b", "too many arguments; should only be a matcher and a path, at Caddyfile:2"},
		{"root with an unknown matcher", "root @no /a", "unrecognized matcher name: @no, at Caddyfile:2"},
		{"root with a block", "root /a {\n\tb\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"log_skip with an argument", "log_skip audit", "parsing caddyfile tokens for 'log_skip': wrong argument count or unexpected line ending after 'audit', at Caddyfile:2"},
		{"log_skip with a block", "log_skip /a {\n\tb\n}", "log_skip directive does not accept blocks, at Caddyfile:2"},
		{"skip_log with a block", "skip_log {\n\tb\n}", "log_skip directive does not accept blocks, at Caddyfile:2"},
		{"log_name with a block", "log_name a {\n\tb\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"fs", "fs", "wrong argument count or unexpected line ending after 'fs'"},
		{"fs with two names", "fs a b", "wrong argument count or unexpected line ending after 'b'"},
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
		{"vars a 1", 0, ""},
		{"vars", 2, "vars without a variable changes nothing"},
		{"vars /x", 2, "vars without a variable changes nothing"},
		{"log_skip", 0, ""},
		{"skip_log", 2, "skip_log is an older spelling; use log_skip"},
		{"log_name a", 0, ""},
		{"root a b", 2, "'b' is ignored: of two arguments of root the first is a matcher: *, a path that begins with / or a name that begins with @"},
		{"log_name *", 2, "log_name without names has no effect"},
	} {
		t.Run(c.text, func(t *testing.T) { adapttest.Warns(t, c.text, c.line, c.want) })
	}
}
