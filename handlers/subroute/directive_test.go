package subroute_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirectives(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"handle", "handle {\n\trespond a\n}", `[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"static_response","body":"a"}]}]}]}]`},
		{"handle without a block", "handle /x", `[{"match":[{"path":["/x"]}],"handle":[{"handler":"subroute"}]}]`},
		{"handle with an empty block", "handle {\n}", `[{"handle":[{"handler":"subroute"}]}]`},
		{"handle sorts", "handle {\n\trespond b\n\trespond /a a\n\tvars k 1\n}", `[{"handle":[{"handler":"subroute","routes":[
			{"handle":[{"handler":"vars","k":1}]},
			{"match":[{"path":["/a"]}],"handle":[{"handler":"static_response","body":"a"}]},
			{"handle":[{"handler":"static_response","body":"b"}]}]}]}]`},
		{"route does not", "route {\n\trespond b\n\trespond /a a\n\tvars k 1\n}", `[{"handle":[{"handler":"subroute","routes":[
			{"handle":[{"handler":"static_response","body":"b"}]},
			{"match":[{"path":["/a"]}],"handle":[{"handler":"static_response","body":"a"}]},
			{"handle":[{"handler":"vars","k":1}]}]}]}]`},
		{"route without a block", "route", `[{"handle":[{"handler":"subroute"}]}]`},
		{"route with an empty block", "route /x/* {\n}", `[{"match":[{"path":["/x/*"]}],"handle":[{"handler":"subroute"}]}]`},
		{"a named matcher", "@m method PURGE\nroute @m {\n\tabort\n}", `[{"match":[{"method":["PURGE"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"static_response","abort":true}]}]}]}]`},
		{"matchers of the block", "@m method GET\nhandle {\n\t@n header A b\n\trespond @m 1\n\trespond @n 2\n}", `[{"handle":[{"handler":"subroute","routes":[
			{"match":[{"method":["GET"]}],"handle":[{"handler":"static_response","body":"1"}]},
			{"match":[{"header":{"A":["b"]}}],"handle":[{"handler":"static_response","body":"2"}]}]}]}]`},
		{"unused matchers only", "route {\n\t@n header A b\n}", `[{"handle":[{"handler":"subroute"}]}]`},
		{"handle_path", "handle_path /v1/* {\n\trespond {path}\n}", `[{"match":[{"path":["/v1/*"]}],"handle":[{"handler":"subroute","routes":[
			{"handle":[{"handler":"rewrite","strip_path_prefix":"/v1"}]},
			{"handle":[{"handler":"static_response","body":"{http.request.uri.path}"}]}]}]}]`},
		{"handle_path with a star alone", "handle_path /v1* {\n}", `[{"match":[{"path":["/v1*"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rewrite","strip_path_prefix":"/v1"}]}]}]}]`},
		{"handle_path without a star", "handle_path /v1", `[{"match":[{"path":["/v1"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rewrite","strip_path_prefix":"/v1"}]}]}]}]`},
		{"handle_path with a slash", "handle_path /v1/ {\n}", `[{"match":[{"path":["/v1/"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rewrite","strip_path_prefix":"/v1/"}]}]}]}]`},
		{"handle_path of everything", "handle_path /* {\n}", `[{"match":[{"path":["/*"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rewrite"}]}]}]}]`},
		{"stripping has no part in the groups", "handle_path /p/* {\n\trewrite * /q\n}", `[{"match":[{"path":["/p/*"]}],"handle":[{"handler":"subroute","routes":[
			{"handle":[{"handler":"rewrite","strip_path_prefix":"/p"}]},
			{"group":"group0","handle":[{"handler":"rewrite","uri":"/q"}]}]}]}]`},
		{"handle and handle_path exclude each other and sort together", "handle {\n}\nhandle_path /b/* {\n}\nhandle /longest* {\n}", `[
			{"group":"group3","match":[{"path":["/longest*"]}],"handle":[{"handler":"subroute"}]},
			{"group":"group3","match":[{"path":["/b/*"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rewrite","strip_path_prefix":"/b"}]}]}]},
			{"group":"group3","handle":[{"handler":"subroute"}]}]`},
		{"routes do not exclude each other", "route /a {\n}\nroute /ab {\n}\nroute {\n}", `[
			{"match":[{"path":["/ab"]}],"handle":[{"handler":"subroute"}]},
			{"match":[{"path":["/a"]}],"handle":[{"handler":"subroute"}]},
			{"handle":[{"handler":"subroute"}]}]`},
		{"handles within a route keep their order", "route {\n\thandle {\n\t}\n\thandle /a {\n\t}\n}", `[{"handle":[{"handler":"subroute","routes":[
			{"group":"group2","handle":[{"handler":"subroute"}]},
			{"group":"group2","match":[{"path":["/a"]}],"handle":[{"handler":"subroute"}]}]}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"handle with an argument", "handle x {\n}", "parsing caddyfile tokens for 'handle': wrong argument count or unexpected line ending after 'x', at Caddyfile:2"},
		{"handle with two paths", "handle /x /y {\n}", "wrong argument count or unexpected line ending after '/y', at Caddyfile:2"},
		{"route with an argument", "\nroute x {\n}", "parsing caddyfile tokens for 'route': wrong argument count or unexpected line ending after 'x', at Caddyfile:3"},
		{"handle_path without a path", "handle_path {\n}", "parsing caddyfile tokens for 'handle_path': wrong argument count or unexpected line ending after 'handle_path', at Caddyfile:2"},
		{"handle_path with a name", "@a path /a\nhandle_path @a {\n}", "path matcher must begin with '/', got @a, at Caddyfile:3"},
		{"handle_path with a star", "handle_path * {\n}", "path matcher must begin with '/', got *, at Caddyfile:2"},
		{"handle_path with a word", "handle_path v1/* {\n}", "path matcher must begin with '/', got v1/*, at Caddyfile:2"},
		{"handle_path with two paths", "handle_path /a /b {\n}", "wrong argument count or unexpected line ending after '/b', at Caddyfile:2"},
		{"an unknown matcher", "handle @a {\n}", "unrecognized matcher name: @a, at Caddyfile:2"},
		{"matchers of another block", "handle {\n\t@a path /a\n}\nhandle {\n\trespond @a 200\n}", "unrecognized matcher name: @a, at Caddyfile:6"},
		{"matchers defined again", "@a path /a\nroute {\n\t@a path /b\n}", "matcher is defined more than once: @a, at Caddyfile:4"},
		{"an unknown directive", "handle {\n\trespnd x\n}", "unrecognized directive: respnd - are you sure your Caddyfile structure (nesting and braces) is correct?"},
		{"an unknown directive, where", "handle {\n\trespnd x\n}", "at Caddyfile:3"},
		{"an error in the block", "handle_path /a* {\n\trespond hi\n\tabort x\n}", "wrong argument count or unexpected line ending after 'x', at Caddyfile:4"},
		{"bind in handle", "handle {\n\tbind ::1\n}", "directive 'bind' is not an ordered HTTP handler, so it cannot be used here"},
		{"log in route", "route {\n\tlog\n}", "log directive returned something other than an HTTP route or subroute: "},
		{"handle_errors in handle_path", "handle_path /a* {\n\thandle_errors {\n\t}\n}", "directive 'handle_errors' is not an ordered HTTP handler, so it cannot be used here"},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Fails(t, ":80 {\n"+c.text+"\n}", c.want) })
	}
}
