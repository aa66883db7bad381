package reverseproxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Section 20, and what a later version brings.
func TestLoadProblems(t *testing.T) {
	w := newWorld(t)
	policy := func(s string) string { return `{"load_balancing":{"selection_policy":` + s + `}}` }
	active := func(s string) string { return `{"health_checks":{"active":{` + s + `}}}` }
	transport := func(s string) string { return `{"transport":{"protocol":"http",` + s + `}}` }
	tests := []struct{ config, want string }{
		{`{"nonsense":1}`, "/nonsense"},
		{policy(`{}`), "/load_balancing/selection_policy"},
		{policy(`{"policy":"best"}`), "best"},
		{policy(`{"policy":"random","x":1}`), "/load_balancing/selection_policy/x"},
		{policy(`{"policy":"random_choose","choose":1}`), "/load_balancing/selection_policy/choose"},
		{policy(`{"policy":"weighted_round_robin","weights":[]}`), "/weights"},
		{policy(`{"policy":"weighted_round_robin","weights":[0,0]}`), "/weights"},
		{policy(`{"policy":"weighted_round_robin","weights":[2,-1]}`), "/weights/1"},
		{policy(`{"policy":"header"}`), "field"},
		{policy(`{"policy":"header","field":""}`), "/field"},
		{policy(`{"policy":"query","key":""}`), "/key"},
		{policy(`{"policy":"cookie","name":"a b"}`), "/name"},
		{`{"transport":{}}`, "protocol"},
		{`{"transport":{"protocol":"carrier"}}`, "carrier"},
		{transport(`"versions":["4"]`), `unknown version "4"; the versions are 1.1, 2, h2c and 3`},
		{transport(`"versions":["1.1","3"]`), "/transport/versions/1: version 3 stands alone"},
		{transport(`"versions":["3","h2c"]`), "/transport/versions/0: version 3 stands alone"},
		{transport(`"local_address":"udp/127.0.0.1"`), "/transport/local_address"},
		{transport(`"local_address":"127.0.0.1:1-2"`), "/transport/local_address"},
		{`{"trusted_proxies":["10.0.0.0/8","private_ranges"]}`, "/trusted_proxies/1"},
		{`{"headers":{"request":{"replace":{"X":[{"search_regexp":"("}]}}}}`, "/headers/request/replace/X/0"},
		{`{"headers":{"response":{"replace":{"X":[{"search_regexp":"("}]}}}}`, "/headers/response/replace/X/0"},
		{`{"rewrite":{"path_regexp":[{"find":"("}]}}`, "/rewrite/path_regexp/0"},
		{`{"load_balancing":{"retry_match":[{"nope":1}]}}`, "/load_balancing/retry_match/0/nope"},
		{`{"circuit_breaker":{}}`, "/circuit_breaker"},
		{`{"circuit_breaker":{"type":"x"}}`, "/circuit_breaker"},
		{`{"circuit_breaker":{"type":"window","error_rate":2}}`, "/circuit_breaker/error_rate"},
		{active(`"uri":"/%zz"`), "/health_checks/active/uri"},
		{active(`"path":"/","method":"A B"`), "/health_checks/active/method"},
		{active(`"uri":"/","expect_body":"("`), "/health_checks/active/expect_body"},
		{active(`"uri":"/","upstream":"10.20.0.1"`), "/health_checks/active/upstream"},
		{active(`"uri":"/","upstream":"10.20.0.1:80-81"`), "/health_checks/active/upstream"},
		{active(`"port":70000`), "/health_checks/active/port"},
		{active(`"uri":"/","interval":"-1s"`), "/health_checks/active/interval"},
		{active(`"uri":"/","jitter":1.5`), "/health_checks/active/jitter"},
		{active(`"uri":"/","initial":"sideways"`), "/health_checks/active/initial"},
		{active(`"uri":"/","passes":-1`), "/health_checks/active/passes"},
		{active(`"url":"/"`), "/health_checks/active/url"},
		{active(`"uri":"/","timeout":-1`), "/health_checks/active/timeout"},
		{`{"health_checks":{"passive":{"fail_duration":"-1s"}}}`, "/health_checks/passive/fail_duration"},
		{`{"health_checks":{"passive":{"unhealthy_latency":"-1s"}}}`, "/health_checks/passive/unhealthy_latency"},
		{`{"health_checks":{"passive":{"max_fails":-1}}}`, "/health_checks/passive/max_fails"},
		{`{"health_checks":{"passive":{"unhealthy_status":["5xx"]}}}`, "/health_checks/passive/unhealthy_status/0"},
		{`{"health_checks":{"min_healthy":-1}}`, "/health_checks/min_healthy"},
		{`{"dynamic_upstreams":{}}`, "/dynamic_upstreams"},
		{`{"dynamic_upstreams":{"source":"srv"}}`, "/dynamic_upstreams/name"},
		{`{"dynamic_upstreams":{"source":"srv","name":"a","proto":"tcp"}}`, "/dynamic_upstreams/service"},
		{`{"dynamic_upstreams":{"source":"srv","name":"a","service":"b"}}`, "/dynamic_upstreams/proto"},
		{`{"dynamic_upstreams":{"source":"srv","name":"a/b"}}`, "/dynamic_upstreams/name"},
		{`{"dynamic_upstreams":{"source":"srv","name":"a","dial_network":"udp"}}`, "/dynamic_upstreams/dial_network"},
		{`{"dynamic_upstreams":{"source":"srv","name":"a","refresh":-1}}`, "/dynamic_upstreams/refresh"},
		{`{"dynamic_upstreams":{"source":"srv","name":"a","resolver":{"addresses":["10.0.0.1","10.0.0.1:53-54"]}}}`, "/dynamic_upstreams/resolver/addresses/1"},
		{`{"dynamic_upstreams":{"source":"a"}}`, "/dynamic_upstreams/name"},
		{`{"dynamic_upstreams":{"source":"a","name":"b","port":"http"}}`, "/dynamic_upstreams/port"},
		{`{"dynamic_upstreams":{"source":"a","name":"b","grace_period":1}}`, "/dynamic_upstreams/grace_period"},
		{`{"dynamic_upstreams":{"source":"multi","sources":[{"source":"srv"}]}}`, "/dynamic_upstreams/sources/0/name"},
		{`{"dynamic_upstreams":{"source":"multi","sources":[{"source":"b"}]}}`, "/dynamic_upstreams/sources/0"},
		{`{"handle_response":[{"statuscode":410}]}`, "/handle_response/0/statuscode"},
		{`{"handle_response":[{"routes":[{"handle":[{"handler":"nope"}]}]}]}`, "/handle_response/0/routes/0/handle/0"},
		{transport(`"resolver":{"addresses":["1.1.1.1","1.1.1.2:53-54"]}`), "/transport/resolver/addresses/1"},
		{transport(`"resolver":{"addresses":["unix//run/dns"]}`), "/transport/resolver/addresses/0"},
		{transport(`"proxy_protocol":"v3"`), "/transport/proxy_protocol"},
		{transport(`"network_proxy":{}`), "/transport/network_proxy"},
		{transport(`"network_proxy":{"from":"url","url":"ftp://a"}`), "/transport/network_proxy/url"},
		{transport(`"network_proxy":{"from":"none"},"forward_proxy_url":"http://a"`), "/transport/forward_proxy_url"},
		{transport(`"forward_proxy_url":"http://"`), "/transport/forward_proxy_url"},
		{transport(`"tls":{"client_certificate_automate":"a b"}`), `/transport/tls/client_certificate_automate: no certificate can be for "a b"`},
		{transport(`"tls":{"client_certificate_automate":"{env.NONE}"}`), "/transport/tls/client_certificate_automate"},
		{transport(`"tls":{"client_certificate_automate":"a.internal","client_certificate_file":"a.pem"}`), "two certificates for one purpose"},
		{transport(`"tls":{"client_certificate_file":"a.pem"}`), "/transport/tls/client_certificate_file"},
		{transport(`"tls":{"client_certificate_key_file":"a.key"}`), "/transport/tls/client_certificate_key_file"},
		{transport(`"tls":{"client_certificate_file":"a.pem","client_certificate_key_file":"a.key"}`), "no files here"},
		{transport(`"tls":{"root_ca_pem_files":["a.pem"]}`), "/transport/tls/root_ca_pem_files/0"},
		{transport(`"tls":{"root_ca_pool":["!"]}`), "/transport/tls/root_ca_pool/0"},
		{transport(`"tls":{"ca":{"provider":"system"},"root_ca_pool":["x"]}`), "exclude each other"},
		{transport(`"tls":{"renegotiation":"always"}`), "/transport/tls/renegotiation"},
		{transport(`"tls":{"curves":["x25519","p256"]}`), "/transport/tls/curves/1"},
		{transport(`"tls":{"except_ports":["80","http"]}`), "/transport/tls/except_ports/1"},
	}
	for _, tt := range tests {
		if got := w.problems(tt.config); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q does not have %q", tt.config, got, tt.want)
		}
	}
	for _, config := range []string{
		`{}`, `{"upstreams":[{"dial":"127.0.0.1:80-81"},{"dial":""}]}`, `{"handle_response":[]}`,
		policy(`{"policy":"weighted_round_robin","weights":[0,2,1]}`), transport(`"versions":["h2c","2","1.1"]`), transport(`"local_address":"tcp4/127.0.0.1"`),
		transport(`"tls":{}`), transport(`"tls":{"renegotiation":"once","curves":["x25519","secp521r1","x25519"],"except_ports":["80","8080"],"server_name":"{http.request.host}"}`),
		transport(`"versions":["3"],"tls":{}`), transport(`"versions":["3"]`), transport(`"tls":{"client_certificate_automate":"Me.internal"}`),
		transport(`"proxy_protocol":"v1","resolver":{"addresses":["1.1.1.1","tcp/[::1]:5353"]},"forward_proxy_url":"socks5://{env.USER}@a"`),
		`{"headers":{"request":{"replace":{"X":[{"search":"a","search_regexp":"b"}]}}}}`,
		active(``), active(`"uri":"","passes":0`), active(`"upstream":"10.20.0.1:80"`), active(`"port":0`), `{"health_checks":{}}`,
		active(`"uri":"/x","path":"/y","port":1,"upstream":"unix//run/a.sock","method":"PUT","headers":{"A":["b"]},"body":"c","follow_redirects":true,` +
			`"interval":"1d","timeout":7,"jitter":0,"passes":2,"fails":3,"initial":"down","max_size":10,"expect_status":2,"expect_body":"d"`),
		`{"health_checks":{"passive":{"fail_duration":"1m","max_fails":0,"unhealthy_status":[5,429],"unhealthy_latency":"1s","unhealthy_request_count":9},"min_healthy":2}}`,
		`{"trusted_proxies":["10.1.2.3/8","::1"],"stream_timeout":"1d","stream_close_delay":"5m","stream_buffer_size":100,"verbose_logs":true}`,
	} {
		if got := w.problems(config); got != "" {
			t.Errorf("%s: %s", config, got)
		}
	}
}

func TestExamples(t *testing.T) {
	w := newWorld(t)
	for _, spec := range Specs() {
		if len(spec.Examples) == 0 {
			t.Errorf("%s has no example", spec.ID)
		}
		for _, e := range spec.Examples {
			config := strings.Replace(e.JSON, `"handler":"reverse_proxy",`, "", 1)
			switch {
			case strings.Contains(spec.ID, "selection_policies"):
				config = `{"load_balancing":{"selection_policy":` + e.JSON + `}}`
			case strings.Contains(spec.ID, "reverse_proxy.upstreams"):
				config = `{"dynamic_upstreams":` + e.JSON + `}`
			case strings.Contains(spec.ID, "circuit_breakers"):
				config = `{"circuit_breaker":` + e.JSON + `}`
			case strings.Contains(spec.ID, "network_proxy"):
				config = `{"transport":{"protocol":"http","network_proxy":` + e.JSON + `}}`
			case strings.Contains(spec.ID, "transport"):
				config = `{"transport":` + e.JSON + `}`
			}
			if got := w.problems(config); got != "" {
				t.Errorf("%s: %s", e.JSON, got)
			}
		}
	}
}

// Thousands of handlers alike have one transport and one host.
func TestManyHandlersShareOneTransport(t *testing.T) {
	w := newWorld(t)
	for i := range 1000 {
		w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":"10.20.0.1:80"}],"flush_interval":%d}`, i))
	}
	if n, l := w.transports.Len(), w.pool.List(); n != 1 || len(l) != 1 {
		t.Errorf("%d transports, %d hosts", n, len(l))
	}
}

func TestVerboseLogs(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "secret")
		io.WriteString(w, "ok")
	})
	for _, verbose := range []bool{false, true} {
		f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1},"verbose_logs":%v}`, up, dead(t), verbose)
		f.get("/", "Authorization", "secret", "Cookie", "secret").want(t, 200, "ok")
		for message, want := range map[string]int{"selected upstream": 2, "upstream roundtrip": 2, "trying again": 1, "copying response body": 1} {
			if strings.Contains(message, "ing ") && !verbose {
				want = 0
			}
			if n := f.logs.FilterMessage(message).Len(); n != want {
				t.Errorf("verbose %v: %d lines %q, want %d", verbose, n, message, want)
			}
		}
		for _, e := range f.logs.All() {
			if text := fmt.Sprint(e.ContextMap()); strings.Contains(text, "secret") {
				t.Errorf("a log line has credentials: %s", text)
			}
		}
	}
}
