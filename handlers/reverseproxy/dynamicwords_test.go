package reverseproxy_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// handlerOf is the routes with a proxy that has these members.
func handlerOf(members string) string {
	return `[{"handle":[{"handler":"reverse_proxy",` + members + `}]}]`
}

// Sections 6.34.5 and 11.
func TestDynamicWords(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"reverse_proxy {\ndynamic a app 8080\n}", `"dynamic_upstreams":{"source":"a","name":"app","port":"8080"}`},
		{"reverse_proxy {\ndynamic a {\nname app\nport 8080\nrefresh 5s\nresolvers 10.0.0.1 10.0.0.2\nresolvers 10.0.0.3\ndial_timeout 1s\ndial_fallback_delay 2s\nversions ipv4 ipv6\n}\n}",
			`"dynamic_upstreams":{"source":"a","name":"app","port":"8080","refresh":5000000000,"resolver":{"addresses":["10.0.0.1","10.0.0.2","10.0.0.3"]},"dial_timeout":1000000000,"dial_fallback_delay":2000000000,"versions":{"ipv4":true,"ipv6":true}}`},
		{"reverse_proxy {\ndynamic srv {\nservice api\nproto tcp\nname example.com\nrefresh 1m\ngrace_period 1d\nresolvers 10.0.0.1\ndial_timeout 1s\ndial_fallback_delay 2s\n}\n}",
			`"dynamic_upstreams":{"source":"srv","service":"api","proto":"tcp","name":"example.com","refresh":60000000000,"grace_period":86400000000000,"resolver":{"addresses":["10.0.0.1"]},"dial_timeout":1000000000,"dial_fallback_delay":2000000000}`},
		{"reverse_proxy {\ndynamic multi {\nsrv _x._tcp.example.com {\nrefresh 10s\n}\na backup 8080 {\nversions ipv4\n}\n}\n}",
			`"dynamic_upstreams":{"source":"multi","sources":[{"source":"srv","name":"_x._tcp.example.com","refresh":10000000000},{"source":"a","name":"backup","port":"8080","versions":{"ipv4":true}}]}`},
		{"reverse_proxy app:80 {\ndynamic a one\ndynamic a two\n}", `"upstreams":[{"dial":"app:80"}],"dynamic_upstreams":{"source":"a","name":"two"}`},
		{"reverse_proxy {\nto _api._tcp.example.com\n}", `"dynamic_upstreams":{"source":"srv","name":"_api._tcp.example.com"}`},
		{"reverse_proxy _api._tcp.example.com", `"dynamic_upstreams":{"source":"srv","name":"_api._tcp.example.com"}`},
		{"reverse_proxy _api._tcp.example.com _b._tcp.example.com", `"dynamic_upstreams":{"source":"multi","sources":[{"source":"srv","name":"_api._tcp.example.com"},{"source":"srv","name":"_b._tcp.example.com"}]}`},
		{"reverse_proxy _api._tcp.example.com:80 _api.example.com", `"upstreams":[{"dial":"_api._tcp.example.com:80"},{"dial":"_api.example.com:80"}]`},
	} {
		adapttest.Same(t, adapttest.Body(t, tt.text), handlerOf(tt.want))
	}
	for _, tt := range []struct{ text, want string }{
		{"reverse_proxy {\ndynamic\n}", "wrong argument count"},
		{"reverse_proxy {\ndynamic b\n}", "module not registered: http.reverse_proxy.upstreams.b"},
		{"reverse_proxy {\ndynamic a app 80 x\n}", "wrong argument count"},
		{"reverse_proxy {\ndynamic srv app x\n}", "wrong argument count"},
		{"reverse_proxy {\ndynamic multi x\n}", "wrong argument count"},
		{"reverse_proxy {\ndynamic a app {\nname app\n}\n}", "name has already been specified"},
		{"reverse_proxy {\ndynamic a app 80 {\nport 80\n}\n}", "port has already been specified"},
		{"reverse_proxy {\ndynamic srv {\nservice a\nservice a\n}\n}", "service has already been specified"},
		{"reverse_proxy {\ndynamic srv {\nproto a\nproto a\n}\n}", "proto has already been specified"},
		{"reverse_proxy {\ndynamic srv a {\nname a\n}\n}", "name has already been specified"},
		{"reverse_proxy {\ndynamic a app {\nversions ipv5\n}\n}", "unknown version ipv5"},
		{"reverse_proxy {\ndynamic a app {\nrefresh soon\n}\n}", "soon"},
		{"reverse_proxy {\ndynamic a app {\nresolvers\n}\n}", "wrong argument count"},
		{"reverse_proxy {\ndynamic a app {\ngrace_period 1s\n}\n}", "unrecognized subdirective grace_period"},
		{"reverse_proxy {\ndynamic multi {\nb\n}\n}", "module not registered: http.reverse_proxy.upstreams.b"},
		{"reverse_proxy app:80 _api._tcp.example.com", "names of SRV records cannot be used beside other upstreams"},
		{"reverse_proxy _api._tcp.example.com {\nto app:80\n}", "names of SRV records cannot be used beside other upstreams"},
		{"reverse_proxy _api._tcp.example.com {\ndynamic a app\n}", "names of SRV records cannot be used beside other upstreams"},
	} {
		adapttest.Fails(t, ":80 {\n"+tt.text+"\n}\n", tt.want)
	}
}

// Section 6.34.7.
func TestHandleResponseWords(t *testing.T) {
	const up = `"upstreams":[{"dial":"app:80"}],`
	for _, tt := range []struct{ text, want string }{
		{"handle_response {\nrespond no\n}", `[{"routes":[{"handle":[{"handler":"static_response","body":"no"}]}]}]`},
		{"handle_response", `[{"routes":[]}]`},
		{"handle_response @bad {\ncopy_response 503\n}\n@bad {\nstatus 5xx 404\nheader X-A b\n}", `[{"match":{"status_code":[5,404],"headers":{"X-A":["b"]}},"routes":[{"handle":[{"handler":"copy_response","status_code":503}]}]}]`},
		{"handle_response {\nrespond a\n}\nreplace_status 299\n@bad status 5xx\nhandle_response @bad {\nrespond {rp.status_code}\n}\nreplace_status @bad {rp.header.X}",
			`[{"match":{"status_code":[5]},"status_code":"{http.reverse_proxy.header.X}"},{"match":{"status_code":[5]},"routes":[{"handle":[{"handler":"static_response","body":"{http.reverse_proxy.status_code}"}]}]},{"status_code":299},{"routes":[{"handle":[{"handler":"static_response","body":"a"}]}]}]`},
	} {
		adapttest.Same(t, adapttest.Body(t, "reverse_proxy app:80 {\n"+tt.text+"\n}"), handlerOf(up+`"handle_response":`+tt.want))
	}
	for _, tt := range []struct{ text, want string }{
		{"replace_status", "must have one or two arguments: an optional response matcher, and a status code"},
		{"replace_status @a 1 2", "must have one or two arguments: an optional response matcher, and a status code"},
		{"replace_status @a 200", "no named response matcher defined with name 'a'"},
		{"replace_status a 200", "must use a named response matcher, starting with '@'"},
		{"replace_status 200 {\nrespond a\n}", "cannot define routes for 'replace_status'"},
		{"handle_response a {\n}", "must use a named response matcher, starting with '@'"},
		{"handle_response @a {\n}", "no named response matcher defined with name 'a'"},
		{"handle_response @a @b {\n}", "too many arguments for 'handle_response': only a single response matcher name is allowed, but got: [@a @b]"},
		{"@a status 200\n@a status 300", "matcher is defined more than once: @a"},
		{"handle_response {\nnope\n}", "unrecognized directive: nope"},
	} {
		adapttest.Fails(t, ":80 {\nreverse_proxy app:80 {\n"+tt.text+"\n}\n}\n", tt.want)
	}
}
