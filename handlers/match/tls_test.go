package match

import (
	"net/http"
	"testing"
)

func TestTLS(t *testing.T) {
	plain := func(*http.Request) {}
	for _, c := range []struct {
		json string
		with func(*http.Request)
		want bool
	}{
		{`{}`, plain, false}, {`{}`, withTLS(true), true}, {`{}`, withTLS(false), true},
		{`{"handshake_complete":true}`, plain, false}, {`{"handshake_complete":true}`, withTLS(true), true}, {`{"handshake_complete":true}`, withTLS(false), false},
		{`{"handshake_complete":false}`, plain, false}, {`{"handshake_complete":false}`, withTLS(true), false}, {`{"handshake_complete":false}`, withTLS(false), true},
		{`{"handshake_complete":null}`, withTLS(false), true},
	} {
		check(t, "tls", c.json, request(t, "/", c.with), c.want)
	}
}
