package errorhandler_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a status", "error 451", `[{"handle":[{"handler":"error","status_code":451}]}]`},
		{"a quoted status", "error `502`", `[{"handle":[{"handler":"error","status_code":502}]}]`},
		{"a message", `error "out of order"`, `[{"handle":[{"handler":"error","error":"out of order"}]}]`},
		{"four digits are a message", "error 4040", `[{"handle":[{"handler":"error","error":"4040"}]}]`},
		{"zero is a message", "error 000", `[{"handle":[{"handler":"error","error":"000"}]}]`},
		{"three letters are a message", "error bad", `[{"handle":[{"handler":"error","error":"bad"}]}]`},
		{"message and status", "error closed 423", `[{"handle":[{"handler":"error","error":"closed","status_code":423}]}]`},
		{"placeholders", "error {path} {vars.code}", `[{"handle":[{"handler":"error","error":"{http.request.uri.path}","status_code":"{http.vars.code}"}]}]`},
		{"message in the block", "error 507 {\n\tmessage full\n}", `[{"handle":[{"handler":"error","error":"full","status_code":507}]}]`},
		{"an empty block", "error 507 {\n}", `[{"handle":[{"handler":"error","status_code":507}]}]`},
		{"a path", "error /secret/* 404", `[{"match":[{"path":["/secret/*"]}],"handle":[{"handler":"error","status_code":404}]}]`},
		{"everything", "error * /secret", `[{"handle":[{"handler":"error","error":"/secret"}]}]`},
		{"before respond", "respond hi\nerror /e 400", `[{"match":[{"path":["/e"]}],"handle":[{"handler":"error","status_code":400}]},{"handle":[{"handler":"static_response","body":"hi"}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"without arguments", "error", "parsing caddyfile tokens for 'error': wrong argument count or unexpected line ending after 'error', at Caddyfile:2"},
		{"a matcher alone", "\nerror /x", "wrong argument count or unexpected line ending after 'error', at Caddyfile:3"},
		{"without arguments but a block", "error {\n\tmessage x\n}", "wrong argument count or unexpected line ending after 'error', at Caddyfile:2"},
		{"three arguments", "error a 400 b", "wrong argument count or unexpected line ending after 'b', at Caddyfile:2"},
		{"message twice", "error no 403 {\n\tmessage x\n}", "message already specified, at Caddyfile:3"},
		{"message twice in the block", "error 403 {\n\tmessage x\n\tmessage y\n}", "message already specified, at Caddyfile:4"},
		{"message without text", "error 403 {\n\tmessage\n}", "wrong argument count or unexpected line ending after 'message', at Caddyfile:3"},
		{"message with two texts", "error 403 {\n\tmessage not now\n}", "wrong argument count or unexpected line ending after 'now', at Caddyfile:3"},
		{"unknown line", "error 403 {\n\tmesage x\n}", "unrecognized subdirective 'mesage', at Caddyfile:3 (did you mean 'message'?)"},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Fails(t, ":80 {\n"+c.text+"\n}", c.want) })
	}
}
