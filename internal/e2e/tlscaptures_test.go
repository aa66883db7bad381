package e2e

import "testing"

// What sni_regexp captures of the name in the handshake is known to routes, over every version of HTTP.
func TestCapturesOfTheServerName(t *testing.T) {
	x := newSecured(t, func(x *secured) object {
		doc := x.config(object{
			"match":  []any{object{"host": []string{"shard7.localhost", "plain.localhost"}}},
			"handle": []any{object{"handler": "static_response", "body": "<{tls.regexp.shard.1}> <{tls.regexp.n}>"}},
		})
		server := doc["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)
		server["tls_connection_policies"] = []any{
			object{"match": object{"sni_regexp": object{"name": "shard", "pattern": `^shard(?P<n>\d+)\.localhost$`}}}, object{},
		}
		return doc
	})
	for _, proto := range protocols {
		v := x.visitor(proto, x.trust())
		v.expect(x, "shard7.localhost", "<7> <7>")
		v.expect(x, "plain.localhost", "<{tls.regexp.shard.1}> <{tls.regexp.n}>") // unknown, as all placeholders that nobody sets
	}
}
