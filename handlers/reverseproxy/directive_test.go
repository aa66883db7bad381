package reverseproxy_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

// proxy is a directive with a block, for ":80".
func proxy(args string, block ...string) string {
	if block == nil {
		return "reverse_proxy " + args
	}
	return "reverse_proxy " + args + " {\n" + strings.Join(block, "\n") + "\n}"
}

// handler is the routes with one handler, which has one upstream besides the members.
func handler(members string) string {
	if members != "" {
		members = "," + members
	}
	return `[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"orders:9000"}]` + members + `}]}]`
}

// loader builds what Caddyfiles make.
type loader struct{ module.Builder }

func newLoader(t *testing.T) *loader {
	table, err := module.NewTable(standard.Specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, upstream.NewPool(nil))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	module.Provide(services, logs.NewSwitch(logs.Process{}))
	module.Provide[upstream.ClientCertificates](services, struct{ upstream.ClientCertificates }{})
	return &loader{module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}, Services: services}}}
}

// same checks the routes that a body makes, and that the handler of them loads.
func (l *loader) same(t *testing.T, body, want string) {
	t.Helper()
	got := adapttest.Body(t, body)
	adapttest.Same(t, got, want)
	routes, _, err := config.Parse([]byte(got), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	members := maps.Collect(find(routes).Members())
	delete(members, "handler")
	if ps := l.Build(nil, "http.handlers.reverse_proxy", config.NewObject(members), module.Options{}).Problems; len(ps) > 0 {
		t.Errorf("%s does not load: %v", got, ps)
	}
}

func TestDirective(t *testing.T) {
	l := newLoader(t)
	tests := []struct{ body, want string }{
		{proxy(""), `[{"handle":[{"handler":"reverse_proxy"}]}]`},
		{proxy("orders:9000"), handler("")},
		{proxy("orders:9000", ""), handler("")},
		{proxy("", "to orders:9000"), handler("")},
		{proxy("* orders:9000"), handler("")},
		{proxy("orders stock", "to bills:9000 unix//run/tax.sock", "to depot:1-2"),
			`[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"orders:80"},{"dial":"stock:80"},{"dial":"bills:9000"},` +
				`{"dial":"unix//run/tax.sock"},{"dial":"depot:1"},{"dial":"depot:2"}]}]}]`},
		{proxy("/orders/* orders:9000"),
			`[{"match":[{"path":["/orders/*"]}],"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"orders:9000"}]}]}]`},
		{"@put method PUT\n" + proxy("@put orders:9000", "flush_interval 2s"),
			`[{"match":[{"method":["PUT"]}],"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"orders:9000"}],"flush_interval":2000000000}]}]`},
		{proxy("{host}:{env.PORT}"), `[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"{http.request.host}:{env.PORT}"}]}]}]`},
		{proxy("_orders._tcp.example.com:9000"), `[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"_orders._tcp.example.com:9000"}]}]}]`},

		{proxy("orders:9000", "lb_retries 4", "lb_try_duration 6s", "lb_try_interval 150ms"),
			handler(`"load_balancing":{"retries":4,"try_duration":6000000000,"try_interval":150000000}`)},
		{proxy("orders:9000", "lb_retry_match {", "method PUT", "path /orders/*", "}", "lb_retry_match method POST", "lb_retry_match"),
			handler(`"load_balancing":{"retry_match":[{"method":["PUT"],"path":["/orders/*"]},{"method":["POST"]},{}]}`)},

		{proxy("orders:9000", "flush_interval -1", "stream_timeout 1d", "stream_close_delay 90s"),
			handler(`"flush_interval":-1,"stream_timeout":86400000000000,"stream_close_delay":90000000000`)},
		{proxy("orders:9000", "flush_interval 7", "stream_timeout 8", "stream_close_delay 9"),
			handler(`"flush_interval":7,"stream_timeout":8,"stream_close_delay":9`)},
		{proxy("orders:9000", "request_buffers 6KB", "response_buffers 3MiB", "stream_buffer_size 100", "verbose_logs"),
			handler(`"request_buffers":6000,"response_buffers":3145728,"stream_buffer_size":100,"verbose_logs":true`)},
		{proxy("orders:9000", "request_buffers unlimited", "response_buffers unlimited", "stream_buffer_size unlimited"),
			handler(`"request_buffers":-1,"response_buffers":-1,"stream_buffer_size":-1`)},
		{proxy("orders:9000", "trusted_proxies 10.9.0.0/16", "trusted_proxies private_ranges 2001:db8::/32"),
			handler(`"trusted_proxies":["10.9.0.0/16","192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1","2001:db8::/32"]`)},
		{proxy("orders:9000", "method PUT"), handler(`"rewrite":{"method":"PUT"}`)},
		{proxy("orders:9000", "rewrite /v2{uri}", "method POST"), handler(`"rewrite":{"method":"POST","uri":"/v2{http.request.uri}"}`)},

		{proxy("orders:9000", "header_up x-tenant {host}", "header_up X-Tenant red", "header_up X-None", "header_up >X-Late 1"),
			handler(`"headers":{"request":{"set":{"X-Tenant":["red"],"X-None":[""],"X-Late":["1"]}}}`)},
		{proxy("orders:9000", "header_up +x-via a", "header_up +X-Via b ignored", "header_up -x-secret", "header_up -X-Key ignored"),
			handler(`"headers":{"request":{"add":{"X-Via":["a","b"]},"delete":["x-secret","X-Key"]}}`)},
		{proxy("orders:9000", "header_up x-path ^/old /new", "header_up x-path b c"),
			handler(`"headers":{"request":{"replace":{"x-path":[{"search_regexp":"^/old","replace":"/new"},{"search_regexp":"b","replace":"c"}]}}}`)},
		{proxy("orders:9000", "header_up Host {upstream_hostport}", "header_up X-Colon: v"),
			handler(`"headers":{"request":{"set":{"Host":["{http.reverse_proxy.upstream.hostport}"],"X-Colon:":["v"]}}}`)},
		{proxy("orders:9000", "header_up Upgrade {>Upgrade}"), handler(`"headers":{"request":{"set":{"Upgrade":["{http.request.header.Upgrade}"]}}}`)},
		{proxy("orders:9000", "header_down -Server", "header_down >X-Late 1", "header_down +Vary Cookie", "header_down >Location http: https:"),
			handler(`"headers":{"response":{"delete":["Server"],"set":{"X-Late":["1"]},"add":{"Vary":["Cookie"]},` +
				`"replace":{"Location":[{"search_regexp":"http:","replace":"https:"}]}}}`)},
		{proxy("orders:9000", "header_up -A", "header_down -B"), handler(`"headers":{"request":{"delete":["A"]},"response":{"delete":["B"]}}`)},
	}
	for _, tt := range tests {
		t.Run("", func(t *testing.T) { l.same(t, tt.body, tt.want) })
	}
}

func TestDirectiveTransport(t *testing.T) {
	l := newLoader(t)
	const h2c = `"transport":{"protocol":"http","versions":["h2c","2"]}`
	one := func(line, want string) [2]string {
		return [2]string{proxy("orders:9000", "transport http {", line, "}"), handler(`"transport":{"protocol":"http",` + want + `}`)}
	}
	tests := [][2]string{
		{proxy("orders:9000", "transport http"), handler("")},
		{proxy("orders:9000", "transport http {", "}"), handler("")},
		{proxy("orders:9000", "transport http {", "compression on", "}"), handler("")},
		{proxy("http://orders:9000", "transport http"), handler("")},
		{proxy("h2c://orders:9000"), handler(h2c)},
		{proxy("h2c://orders:9000", "transport http"), handler(h2c)},
		{proxy("h2c://orders:9000", "transport http {", "versions 1.1", "dial_timeout 7s", "}"),
			handler(`"transport":{"protocol":"http","dial_timeout":7000000000,"versions":["h2c","2"]}`)},
		{proxy("unix+h2c//run/orders.sock"),
			`[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"unix//run/orders.sock"}],` + h2c + `}]}]`},
		{proxy("orders", "to h2c://stock:9000 unix+h2c//run/tax.sock"),
			`[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"orders:80"},{"dial":"stock:9000"},{"dial":"unix//run/tax.sock"}],` + h2c + `}]}]`},
		one("read_buffer 6KiB\nwrite_buffer 5k", `"read_buffer_size":6144,"write_buffer_size":5000`),
		one("read_timeout 6s\nwrite_timeout 5s", `"read_timeout":6000000000,"write_timeout":5000000000`),
		one("max_response_header 2MB", `"max_response_header_size":2000000`),
		one("dial_timeout 3s\ndial_fallback_delay -1s", `"dial_timeout":3000000000,"dial_fallback_delay":-1000000000`),
		one("response_header_timeout 8s\nexpect_continue_timeout 9s", `"response_header_timeout":8000000000,"expect_continue_timeout":9000000000`),
		one("keepalive off", `"keep_alive":{"enabled":false}`),
		one("keepalive 70s\nkeepalive_interval -1s", `"keep_alive":{"idle_timeout":70000000000,"probe_interval":-1000000000}`),
		one("keepalive_idle_conns 60\nkeepalive_idle_conns_per_host 50", `"keep_alive":{"max_idle_conns":60,"max_idle_conns_per_host":50}`),
		one("versions 1.1 2\nversions h2c", `"versions":["h2c"]`),
		one("versions 3\ntls", `"versions":["3"],"tls":{}`),
		one("compression off", `"compression":false`),
		one("max_conns_per_host 6\nlocal_address 10.20.0.9", `"max_conns_per_host":6,"local_address":"10.20.0.9"`),

		one("resolvers 10.0.0.53 tcp/10.0.0.54\nresolvers 10.0.0.55", `"resolver":{"addresses":["10.0.0.53","tcp/10.0.0.54","10.0.0.55"]}`),
		one("proxy_protocol v2", `"proxy_protocol":"v2"`),
		one("network_proxy none", `"network_proxy":{"from":"none"}`),
		one("network_proxy url http://proxy:3128", `"network_proxy":{"from":"url","url":"http://proxy:3128"}`),
		one("forward_proxy_url http://proxy:3128", `"network_proxy":{"from":"url","url":"http://proxy:3128"}`),
		one("tls", `"tls":{}`),
		one("tls_insecure_skip_verify", `"tls":{"insecure_skip_verify":true}`),
		one("tls_client_auth orders.internal", `"tls":{"client_certificate_automate":"orders.internal"}`),
		one("tls_curves x25519\ntls_curves secp256r1", `"tls":{"curves":["x25519","secp256r1"]}`),
		one("tls_timeout 4s\ntls_server_name {host}\ntls_renegotiation once\ntls_except_ports 80 8080",
			`"tls":{"handshake_timeout":4000000000,"server_name":"{http.request.host}","renegotiation":"once","except_ports":["80","8080"]}`),
		{proxy("https://orders"), `[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"orders:443"}],"transport":{"protocol":"http","tls":{}}}]}]`},
		{proxy("https://orders:9000", "transport http"), handler(`"transport":{"protocol":"http","tls":{}}`)},
		{proxy("https://orders:9000", "transport http {", "tls_server_name inner", "dial_timeout 1s", "}"),
			handler(`"transport":{"protocol":"http","tls":{"server_name":"inner"},"dial_timeout":1000000000}`)},
		{proxy("https://orders:9000", "transport http {", "keepalive off", "}"),
			handler(`"transport":{"protocol":"http","tls":{},"keep_alive":{"enabled":false}}`)},

		// the older dialect
		one("read_buffer_size 6KiB\nwrite_buffer_size 5k", `"read_buffer_size":6144,"write_buffer_size":5000`),
		one("max_idle_conns 60\nmax_idle_conns_per_host 50\nidle_conn_timeout 40s", `"keep_alive":{"max_idle_conns":60,"max_idle_conns_per_host":50,"idle_timeout":40000000000}`),
	}
	for _, tt := range tests {
		t.Run("", func(t *testing.T) { l.same(t, tt[0], tt[1]) })
	}
}

func TestDirectivePolicies(t *testing.T) {
	l := newLoader(t)
	tests := []struct{ line, want string }{
		{"random", `{"policy":"random"}`},
		{"round_robin", `{"policy":"round_robin"}`},
		{"least_conn", `{"policy":"least_conn"}`},
		{"first", `{"policy":"first"}`},
		{"ip_hash", `{"policy":"ip_hash"}`},
		{"client_ip_hash", `{"policy":"client_ip_hash"}`},
		{"uri_hash", `{"policy":"uri_hash"}`},
		{"random_choose 5", `{"policy":"random_choose","choose":5}`},
		{"random_choose 2", `{"policy":"random_choose","choose":2}`},
		{"weighted_round_robin 6 0 1", `{"policy":"weighted_round_robin","weights":[6,0,1]}`},
		{"header X-Tenant", `{"policy":"header","field":"X-Tenant"}`},
		{"header X-Tenant {\nfallback uri_hash\n}", `{"policy":"header","field":"X-Tenant","fallback":{"policy":"uri_hash"}}`},
		{"query tenant", `{"policy":"query","key":"tenant"}`},
		{"query tenant {\nfallback weighted_round_robin 5 4\n}", `{"policy":"query","key":"tenant","fallback":{"policy":"weighted_round_robin","weights":[5,4]}}`},
		{"query tenant {\nfallback header X-Tenant {\nfallback cookie pin\n}\n}",
			`{"policy":"query","key":"tenant","fallback":{"policy":"header","field":"X-Tenant","fallback":{"policy":"cookie","name":"pin"}}}`},
		{"cookie", `{"policy":"cookie"}`},
		{"cookie pin", `{"policy":"cookie","name":"pin"}`},
		{"cookie pin {env.PIN_KEY}", `{"policy":"cookie","name":"pin","secret":"{env.PIN_KEY}"}`},
		{"cookie {\nmax_age 2d\nfallback first\n}", `{"policy":"cookie","max_age":172800000000000,"fallback":{"policy":"first"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			l.same(t, proxy("orders:9000", "lb_policy "+tt.line, "lb_retries 2"), handler(`"load_balancing":{"retries":2,"selection_policy":`+tt.want+`}`))
		})
	}
}

func TestDirectiveHealth(t *testing.T) {
	l := newLoader(t)
	tests := []struct{ lines, want string }{
		{"health_uri /up?full=1", `"active":{"uri":"/up?full=1"}`},
		{"health_path /up", `"active":{"uri":"/up"}`},
		{"health_path /up\nhealth_uri /up", `"active":{"uri":"/up"}`},
		{"health_port 9001\nhealth_interval 6s\nhealth_timeout 3s\nhealth_passes 2\nhealth_fails 4",
			`"active":{"port":9001,"interval":6000000000,"timeout":3000000000,"passes":2,"fails":4}`},
		{"health_uri /\nhealth_upstream 10.20.0.9:9001", `"active":{"uri":"/","upstream":"10.20.0.9:9001"}`},
		{"health_port 9001\nhealth_upstream 10.20.0.9:9001", `"active":{"port":9001,"upstream":"10.20.0.9:9001"}`},
		{"health_uri /\nhealth_status 2xx", `"active":{"uri":"/","expect_status":2}`},
		{"health_uri /\nhealth_status 418\nhealth_body ^fine$", `"active":{"uri":"/","expect_status":418,"expect_body":"^fine$"}`},
		{"health_uri /\nhealth_method POST\nhealth_request_body ping\nhealth_follow_redirects",
			`"active":{"uri":"/","method":"POST","body":"ping","follow_redirects":true}`},
		{"health_uri /\nhealth_headers {\nx-key {env.KEY} b\nX-Empty\nx-key c\n}\nhealth_headers {\nHost orders.test\n}",
			`"active":{"uri":"/","headers":{"x-key":["{env.KEY}","b","c"],"X-Empty":[""],"Host":["orders.test"]}}`},
		{"health_uri /\nhealth_initial down\nhealth_jitter 0", `"active":{"uri":"/","initial":"down","jitter":0}`},
		{"fail_duration 20s\nmax_fails 3\nunhealthy_latency 2s\nunhealthy_request_count 80",
			`"passive":{"fail_duration":20000000000,"max_fails":3,"unhealthy_latency":2000000000,"unhealthy_request_count":80}`},
		{"unhealthy_status 5xx 429\nunhealthy_status 404", `"passive":{"unhealthy_status":[5,429,404]}`},
		{"health_interval 5s\nunhealthy_status 5xx", `"active":{"interval":5000000000},"passive":{"unhealthy_status":[5]}`},
		{"health_uri /\nmin_healthy 2", `"active":{"uri":"/"},"min_healthy":2`},
	}
	for _, tt := range tests {
		t.Run(tt.lines, func(t *testing.T) {
			l.same(t, proxy("orders:9000", tt.lines), handler(`"health_checks":{`+tt.want+`}`))
		})
	}
	for _, tt := range breakerTests {
		t.Run(tt[0], func(t *testing.T) {
			l.same(t, proxy("orders:9000", tt[0]), handler(`"circuit_breaker":{"type":"window"`+tt[1]+`}`))
		})
	}
}

// breakerTests is lines and what they make beside the type.
var breakerTests = [][2]string{
	{"circuit_breaker window", ``},
	{"circuit_breaker window {\nlatency 2s\nslow_rate 20%\nerror_rate 0.25\n}", `,"latency":2000000000,"slow_rate":0.2,"error_rate":0.25`},
	{"circuit_breaker window {\nwindow 1m\nmin_requests 5\nerror_status 5xx 429\nopen_for 30s\ntrials 1\n}",
		`,"window":60000000000,"min_requests":5,"error_status":[5,429],"open_for":30000000000,"trials":1`},
}

func TestDirectiveErrors(t *testing.T) {
	const count = "wrong argument count or unexpected line ending after "
	transport := func(lines ...string) string {
		return proxy("orders:9000", "transport http {\n"+strings.Join(lines, "\n")+"\n}")
	}
	policy := func(line string) string { return proxy("orders:9000", "lb_policy "+line) }
	tests := []struct{ body, want string }{
		// upstreams
		{proxy("http://orders/v1"), "parsing upstream 'http://orders/v1': for now, URLs for proxy upstreams only support scheme, host, and port components"},
		{proxy("", "to orders:5-4"), "parsing upstream 'orders:5-4': end port must not be less than start port"},
		{proxy("orders:web"), "parsing upstream 'orders:web': invalid start port: "},
		{proxy("http://orders stock"), "for now, all proxy upstreams must use the same scheme (transport protocol); expecting 'http://' but got '://'"},
		{proxy("http://orders", "to h2c://stock"), "expecting 'http://' but got 'h2c://'"},
		{proxy("unix+h2c//run/orders.sock", "to http://stock"), "expecting 'h2c://' but got 'http://'"},
		{proxy("", "to"), count + "'to'"},
		{proxy("orders:1-4000 orders:4001-9000"), "the ranges of ports make more than 4096 upstreams"},
		{proxy("@nope orders"), "unrecognized matcher name: @nope"},

		// lines
		{proxy("orders", "lb_policies first"), "unrecognized subdirective lb_policies"},
		{proxy("orders", "lb_policies first"), "did you mean 'lb_policy'?"},
		{proxy("orders", "lb_policy first", "lb_policy random"), "load balancing selection policy already specified"},
		{proxy("orders", "lb_policy"), count + "'lb_policy'"},
		{proxy("orders", "lb_policy best"), "http.reverse_proxy.selection_policies.best"},
		{proxy("orders", "lb_retries"), count + "'lb_retries'"},
		{proxy("orders", "lb_retries many"), "'many'"},
		{proxy("orders", "lb_retries 1 2"), count + "'2'"},
		{proxy("orders", "lb_try_duration 5"), "bad duration value '5'"},
		{proxy("orders", "lb_try_interval soon"), "bad duration value 'soon'"},
		{proxy("orders", "lb_retry_match nope"), "nope"},
		{proxy("orders", "flush_interval often"), "bad duration value 'often'"},
		{proxy("orders", "flush_interval"), count + "'flush_interval'"},
		{proxy("orders", "stream_timeout 1.5"), "bad duration value '1.5'"},
		{proxy("orders", "request_buffers all"), "invalid size 'all'"},
		{proxy("orders", "stream_buffer_size -1"), "invalid size '-1'"},
		{proxy("orders", "verbose_logs", "verbose_logs"), "verbose_logs already specified"},
		{proxy("orders", "verbose_logs on"), count + "'on'"},
		{proxy("orders", "trusted_proxies"), count + "'trusted_proxies'"},
		{proxy("orders", "header_up"), count + "'header_up'"},
		{proxy("orders", "header_up A b c d"), count + "'d'"},
		{proxy("orders", "header_down A b c d"), count + "'d'"},
		{proxy("orders", "header_up ?A b"), "the default header modifier ('?') can only be used on response headers"},
		{proxy("orders", "header_down ?A b"), "the default header modifier ('?')"},
		{proxy("orders", "method"), count + "'method'"},
		{proxy("orders", "rewrite /a /b"), count + "'/b'"},
		{proxy("orders", "transport http", "transport http"), "transport already specified"},
		{proxy("orders", "transport"), count + "'transport'"},
		{proxy("orders", "transport http now"), count + "'now'"},
		{proxy("orders", "transport carrier"), "http.reverse_proxy.transport.carrier"},

		// health
		{proxy("orders", "health_uri"), count + "'health_uri'"},
		{proxy("orders", "health_uri /a", "health_path /b"), "the health check has the URI '/a' already"},
		{proxy("orders", "health_upstream 10.20.0.9"), "health_upstream is malformed '10.20.0.9'"},
		{proxy("orders", "health_upstream 10.20.0.9:http"), "bad port number 'http'"},
		{proxy("orders", "health_upstream a:1", "health_port 2"), "the 'health_port' subdirective is ignored if 'health_upstream' is used!"},
		{proxy("orders", "health_port 70000"), "bad port number '70000'"},
		{proxy("orders", "health_interval 5"), "bad duration value '5'"},
		{proxy("orders", "health_passes two"), "'two'"},
		{proxy("orders", "health_status fine"), "bad status value 'fine'"},
		{proxy("orders", "health_follow_redirects yes"), count + "'yes'"},
		{proxy("orders", "health_headers A b"), count + "'b'"},
		{proxy("orders", "health_headers {", "A b {", "c", "}", "}"), "has no block"},
		{proxy("orders", "health_initial maybe"), "bad initial health 'maybe'"},
		{proxy("orders", "health_jitter 2"), "bad jitter '2'"},
		{proxy("orders", "health_inteval 5s"), "did you mean 'health_interval'?"},
		{proxy("orders", "max_fails many"), "'many'"},
		{proxy("orders", "fail_duration"), count + "'fail_duration'"},
		{proxy("orders", "unhealthy_status"), count + "'unhealthy_status'"},
		{proxy("orders", "unhealthy_status 5xx bad"), "bad status value 'bad'"},
		{proxy("orders", "circuit_breaker"), count + "'circuit_breaker'"},
		{proxy("orders", "circuit_breaker fuse"), "http.reverse_proxy.circuit_breakers.fuse"},
		{proxy("orders", "circuit_breaker window now"), count + "'now'"},
		{proxy("orders", "circuit_breaker window", "circuit_breaker window"), "circuit_breaker already specified"},
		{proxy("orders", "circuit_breaker window {\nerror_rate 0\n}"), "bad rate '0'"},
		{proxy("orders", "circuit_breaker window {\nerror_rate 120%\n}"), "bad rate '120%'"},
		{proxy("orders", "circuit_breaker window {\nopen 1s\n}"), "unrecognized subdirective open"},

		// transport
		{transport("dial_timeouts 1s"), "unrecognized subdirective dial_timeouts"},
		{transport("dial_timeout"), count + "'dial_timeout'"},
		{transport("read_buffer big"), "invalid size 'big'"},
		{transport("keepalive on"), "bad duration value 'on'"},
		{transport("keepalive_idle_conns x"), "'x'"},
		{transport("versions"), count + "'versions'"},
		{transport("compression"), count + "'compression'"},
		{transport("local_address a b"), count + "'b'"},

		// policies
		{policy("random 1"), count + "'1'"},
		{policy("first {\nfallback random\n}"), "unrecognized subdirective fallback"},
		{policy("random_choose"), count + "'random_choose'"},
		{policy("random_choose two"), "'two'"},
		{policy("random_choose 2 3"), count + "'3'"},
		{policy("weighted_round_robin"), count + "'weighted_round_robin'"},
		{policy("weighted_round_robin 1 -2"), "invalid weight value '-2': weight should be non-negative"},
		{policy("weighted_round_robin 1 b"), "invalid weight value 'b'"},
		{policy("header"), count + "'header'"},
		{policy("header A B"), count + "'B'"},
		{policy("query"), count + "'query'"},
		{policy("query a b"), count + "'b'"},
		{policy("cookie a b c"), count + "'c'"},
		{policy("header A {\nfallback first\nfallback random\n}"), "fallback selection policy already specified"},
		{policy("header A {\nfallback\n}"), count + "'fallback'"},
		{policy("header A {\nfallback best\n}"), "http.reverse_proxy.selection_policies.best"},
		{policy("header A {\nmax_age 1h\n}"), "unrecognized subdirective max_age"},
		{policy("cookie {\nmax_age 0s\n}"), "invalid duration"},
		{policy("cookie {\nmax_age -1h\n}"), "invalid duration"},
		{policy("cookie {\nmax_age 5\n}"), "bad duration value '5'"},
		{policy("cookie {\nmax_age 1h\nmax_age 2h\n}"), "cookie max_age already specified"},
	}
	for _, tt := range tests {
		t.Run("", func(t *testing.T) { adapttest.Fails(t, ":80 {\n"+tt.body+"\n}\n", tt.want) })
	}
}

// An error says the directive, and the line of the word.
func TestDirectiveErrorPlace(t *testing.T) {
	got := adapttest.Error(t, ":80\nreverse_proxy orders {\n\tto stock\n\tto tax:web\n}\n")
	for _, want := range []string{"parsing caddyfile tokens for 'reverse_proxy': parsing upstream 'tax:web'", "Caddyfile:4"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
}

// What the transport cannot be, or cannot be together.
func TestDirectiveTransportErrors(t *testing.T) {
	in := func(upstreams string, lines ...string) string {
		return ":80\n" + proxy(upstreams, append(append([]string{"transport http {"}, lines...), "}")...) + "\n"
	}
	for _, tt := range [][2]string{
		{in("http://orders", "tls"), "upstream address scheme is HTTP but transport is configured for HTTP+TLS (HTTPS)"},
		{in("orders", "tls x"), "wrong argument count"},
		{in("orders", "tls_client_auth"), "wrong argument count"},
		{in("orders", "tls_renegotiation always"), "renegotiation \"always\" is unknown"},
		{in("orders", "proxy_protocol v3"), "invalid proxy protocol version 'v3'"},
		{in("orders", "network_proxy ftp"), "caddy.network_proxy.ftp"},
		{in("orders", "network_proxy none x"), "wrong argument count"},
		{in("orders", "network_proxy none", "forward_proxy_url http://a"), "specified twice"},
		{in("orders", "forward_proxy_url http://a", "network_proxy none"), "specified twice"},
		{in("orders", "resolvers"), "wrong argument count"},
	} {
		adapttest.Fails(t, tt[0], tt[1])
	}
}

func TestDirectiveWarnings(t *testing.T) {
	doc, err := adapttest.Adapt(t, ":80\n\n"+strings.Join([]string{
		"reverse_proxy orders/v1 {",
		"\ttransport http {",
		"\t\tread_buffer_size 1",
		"\t\twrite_buffer_size 1",
		"\t\tmax_idle_conns 1",
		"\t\tmax_idle_conns_per_host 1",
		"\t\tidle_conn_timeout 1s",
		"\t\tcompression best",
		"\t}",
		"\thealth_path /up",
		"}\n",
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"network 'orders'", "use read_buffer", "use write_buffer", "use keepalive_idle_conns", "use keepalive_idle_conns_per_host", "use keepalive", "compression best", "use health_uri"}
	lines := []int{3, 5, 6, 7, 8, 9, 10, 12}
	if len(doc.Warnings) != len(want) {
		t.Fatalf("%d warnings: %v", len(doc.Warnings), doc.Warnings)
	}
	for i, w := range doc.Warnings {
		if !strings.Contains(w.Message, want[i]) || w.Line != lines[i] {
			t.Errorf("warning %+v: want %q on line %d", w, want[i], lines[i])
		}
	}
}

// Nodes of the handler know the lines that they come from.
func TestDirectivePlaces(t *testing.T) {
	doc, err := adapttest.Adapt(t, ":80\n\n"+strings.Join([]string{
		"reverse_proxy h2c://orders {",
		"\tto h2c://stock:1-2 \\",
		"\t\th2c://tax",
		"\tto h2c://depot",
		"\tlb_policy header A {",
		"\t\tfallback first",
		"\t}",
		"\tlb_retry_match method PUT",
		"\tlb_retry_match {",
		"\t\tpath /x",
		"\t}",
		"}\n",
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	const at = "/apps/http/servers/srv0/routes/0/handle/0"
	for pointer, want := range map[string]int{
		at: 3, at + "/upstreams/0": 3, at + "/upstreams/1/dial": 4, at + "/upstreams/2": 4, at + "/upstreams/4": 6, at + "/transport": 6,
		at + "/load_balancing/selection_policy": 7, at + "/load_balancing/selection_policy/fallback": 8,
		at + "/load_balancing/retry_match/0": 10, at + "/load_balancing/retry_match/1": 11,
	} {
		file, line, ok := doc.Locate(pointer)
		if !ok || line != want || file != "Caddyfile" {
			t.Errorf("%s: %s:%d, %t; want line %d", pointer, file, line, ok, want)
		}
	}
}

// The files that this kind of proxy is for; those with what comes later are refused for just that.
func TestDirectiveMission(t *testing.T) {
	const dir = "../../../shared/mission/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the mission files are not here")
	}
	dial := func(list ...string) string {
		var out []string
		for _, d := range list {
			out = append(out, fmt.Sprintf(`{"dial":%q}`, d))
		}
		return `"upstreams":[` + strings.Join(out, ",") + `]`
	}
	local := dial("localhost:3000")
	tests := []struct{ file, handler, refused string }{
		{"01_*", local, ""},
		{"02_*", dial("unix//run/app.sock"), ""},
		{"03_*", dial("localhost:3000", "localhost:3001", "localhost:3002"), ""},
		{"04_*", dial("localhost:3000", "localhost:3001", "localhost:3002") + `,"load_balancing":{"selection_policy":{"policy":"round_robin"}}`, ""},
		{"05_*", dial("localhost:3000", "localhost:3001") + `,"load_balancing":{"selection_policy":{"policy":"round_robin"}},` +
			`"health_checks":{"active":{"uri":"/healthz","interval":10000000000,"timeout":5000000000}}`, ""},
		{"06_*", local + `,"headers":{"request":{"set":{"Host":["{http.reverse_proxy.upstream.hostport}"],"X-Real-Ip":["{http.request.remote.host}"],` +
			`"X-Forwarded-For":["{http.request.remote.host}"],"X-Forwarded-Proto":["{http.request.scheme}"]}}}`, ""},
		{"07_*", local + `,"headers":{"response":{"delete":["Server","X-Powered-By"]}}`, ""},
		{"10_*", local, ""},
		{"11_*", local + `,"headers":{"request":{"set":{"Connection":["{http.request.header.Connection}"],"Upgrade":["{http.request.header.Upgrade}"]}}}`, ""},
		{"12_*", dial("localhost:50051") + `,"transport":{"protocol":"http","versions":["h2c"]}`, ""},
		{"13_*", local + `,"transport":{"protocol":"http","dial_timeout":5000000000,"response_header_timeout":30000000000,"read_buffer_size":8192,` +
			`"write_buffer_size":8192,"keep_alive":{"max_idle_conns":100,"idle_timeout":60000000000}}`, ""},
		{"14_*", local + `,"flush_interval":-1`, ""},
		{"15_*", local + `,"flush_interval":1000000000`, ""},
		{"16_*", `"dynamic_upstreams":{"source":"srv","name":"_api._tcp.example.com"},"load_balancing":{"selection_policy":{"policy":"round_robin"}}`, ""},
		{"17_*", local + `,"health_checks":{"passive":{"fail_duration":10000000000,"max_fails":3,"unhealthy_status":[5],"unhealthy_latency":5000000000}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			names, _ := filepath.Glob(dir + tt.file)
			if len(names) != 1 {
				t.Fatalf("there are the files %q", names)
			}
			text, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			plain := strings.Replace(string(text), "example.com {", "http://example.com {", 1)
			if tt.refused != "" {
				adapttest.Fails(t, plain, "'"+tt.refused+"' is not supported yet")
				return
			}
			doc, err := adapttest.Adapt(t, plain)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, string(find(doc.Root).AppendJSON(nil)), `{"handler":"reverse_proxy",`+tt.handler+`}`)
		})
	}
}

// find returns the first node of a handler reverse_proxy.
func find(n *config.Node) *config.Node {
	if n.Get("handler").Str() == "reverse_proxy" {
		return n
	}
	for _, e := range n.Elements() {
		if found := find(e); found != nil {
			return found
		}
	}
	for _, v := range n.Members() {
		if found := find(v); found != nil {
			return found
		}
	}
	return nil
}
