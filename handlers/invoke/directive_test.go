package invoke_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	const named = "&(common) {\n\theader A b\n}\n"
	const stored = `"named_routes":{"common":{"handle":[{"handler":"headers","response":{"set":{"A":["b"]}}}]}}`
	for _, c := range []struct{ name, text, want string }{
		{"a name", "invoke common", `[{"handle":[{"handler":"invoke","name":"common"}]}]`},
		{"a path", "invoke /c/* common", `[{"match":[{"path":["/c/*"]}],"handle":[{"handler":"invoke","name":"common"}]}]`},
		{"a named matcher", "@p method POST\ninvoke @p common", `[{"match":[{"method":["POST"]}],"handle":[{"handler":"invoke","name":"common"}]}]`},
		{"in a block", "handle {\n\tinvoke common\n}", `[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"invoke","name":"common"}]}]}]}]`},
		{"before handlers that answer", "respond hi\ninvoke common", `[{"handle":[{"handler":"invoke","name":"common"},{"handler":"static_response","body":"hi"}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			adapttest.Same(t, adapttest.Full(t, named+":80 {\n"+c.text+"\n}"),
				`{"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":`+c.want+`,`+stored+`}}}}}`)
		})
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"without a name", "invoke", "parsing caddyfile tokens for 'invoke': wrong argument count or unexpected line ending after 'invoke', at Caddyfile:2"},
		{"a matcher alone", "\ninvoke /x", "wrong argument count or unexpected line ending after 'invoke', at Caddyfile:3"},
		{"two names", "invoke a b", "wrong argument count or unexpected line ending after 'b', at Caddyfile:2"},
		{"a block", "invoke a {\n\tb\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"a name that is not there", "invoke ghost", "cannot invoke named route 'ghost', which was not defined"},
		{"a name that is not there, in a block", "route {\n\tinvoke ghost\n}", "cannot invoke named route 'ghost', which was not defined"},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Fails(t, ":80 {\n"+c.text+"\n}", c.want) })
	}
}
