package match_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// TestDefinitions: definitions as they stand in a site, with the shorthands and
// the scopes that the adapter adds.
func TestDefinitions(t *testing.T) {
	const body = `
respond @late "before its definition"
@late path_regexp ^/late/(.+)$
@mixed {
	host a.test
	vars {scheme} https
	not {
		remote_ip private_ranges
		header X-Via {host}
	}
	host b.test
	vars {scheme} wss
	query token={header.X-Token}
	not protocol http/2+
}
@unused vars_regexp which ^a
@none
route {
	@inner client_ip 192.0.2.1
	respond @inner "{re.late.1}"
	respond @none "all"
	respond @mixed "mixed"
}`
	const want = `[
{"handle":[{"handler":"subroute","routes":[
	{"match":[{"client_ip":{"ranges":["192.0.2.1"]}}],"handle":[{"handler":"static_response","body":"{http.regexp.late.1}"}]},
	{"match":[{}],"handle":[{"handler":"static_response","body":"all"}]},
	{"match":[{"host":["a.test","b.test"],"query":{"token":["{http.request.header.X-Token}"]},"vars":{"{http.request.scheme}":["https","wss"]},
		"not":[{"header":{"X-Via":["{http.request.host}"]},"remote_ip":{"ranges":["192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1"]}},{"protocol":"http/2+"}]}],
		"handle":[{"handler":"static_response","body":"mixed"}]}
]}]},
{"match":[{"path_regexp":{"name":"late","pattern":"^/late/(.+)$"}}],"handle":[{"handler":"static_response","body":"before its definition"}]}]`
	adapttest.Same(t, adapttest.Body(t, body), want)
}

func TestDefinitionErrors(t *testing.T) {
	for text, want := range map[string]string{
		":80 {\n\t@a {\n\t\tpath /x\n\t\tnot {\n\t\t\tmethd GET\n\t\t}\n\t}\n}\n":        "getting matcher module 'methd': module not registered: http.matchers.methd, at Caddyfile:5 (did you mean 'method'?)",
		":80 {\n\troute {\n\t\t@a path_regexp\n\t}\n}\n":                                 "wrong argument count or unexpected line ending after 'path_regexp', at Caddyfile:3",
		"(s) {\n\t@a protocol {args[0]} {args[1]}\n}\n:80 {\n\timport s http https\n}\n": "expected exactly one protocol, at Caddyfile:2 import chain ['Caddyfile:5 (import s)']",
		":80 {\n\t@a {\n\t\theader X-A\n\t}\n}\n":                                        "malformed header matcher: expected both field and value, at Caddyfile:3",
	} {
		adapttest.Fails(t, text, want)
	}
}
