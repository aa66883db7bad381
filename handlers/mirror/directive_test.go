package mirror_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"mirror shadow:8080", `[{"handle":[{"handler":"mirror","upstreams":[{"dial":"shadow:8080"}]}]}]`},
		{"mirror /api/* shadow unix//run/b.sock {\npercent 12.5%\nmax_body 4KiB\nmax_concurrent 3\nqueue 4\ntimeout 5s\n}",
			`[{"match":[{"path":["/api/*"]}],"handle":[{"handler":"mirror","upstreams":[{"dial":"shadow:80"},{"dial":"unix//run/b.sock"}],"percent":12.5,"max_body":4096,"max_concurrent":3,"queue":4,"timeout":5000000000}]}]`},
		{"mirror {\nto https://shadow\n}", `[{"handle":[{"handler":"mirror","upstreams":[{"dial":"shadow:443"}],"transport":{"protocol":"http","tls":{}}}]}]`},
		{"mirror h2c://shadow:1 {\npercent 0\n}", `[{"handle":[{"handler":"mirror","upstreams":[{"dial":"shadow:1"}],"percent":0,"transport":{"protocol":"http","versions":["h2c","2"]}}]}]`},
		{"mirror shadow:1 {\ntransport http {\ndial_timeout 1s\n}\n}", `[{"handle":[{"handler":"mirror","upstreams":[{"dial":"shadow:1"}],"transport":{"protocol":"http","dial_timeout":1000000000}}]}]`},
		{"reverse_proxy app:80\nmirror shadow:1", `[{"handle":[{"handler":"mirror","upstreams":[{"dial":"shadow:1"}]},{"handler":"reverse_proxy","upstreams":[{"dial":"app:80"}]}]}]`},
	} {
		adapttest.Same(t, adapttest.Body(t, tt.text), tt.want)
	}
	for _, tt := range []struct{ text, want string }{
		{"mirror", "mirror needs an upstream"}, {"mirror a:1-2", "a range of ports is not possible"}, {"mirror http://a https://b", "must use the same scheme"},
		{"mirror a {\npercent x\n}", "bad percentage 'x'"}, {"mirror a {\npercentage 1\n}", "did you mean 'percent'?"}, {"mirror ws://a", "parsing upstream 'ws://a'"},
		{"mirror https://a {\ntransport http\n}", "stands for a transport of its own"}, {"mirror a {\ntransport x\n}", "http.reverse_proxy.transport.x"},
	} {
		adapttest.Fails(t, ":80 {\n"+tt.text+"\n}\n", tt.want)
	}
}
