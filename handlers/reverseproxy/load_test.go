package reverseproxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/upstream"
)

// Section 20, and what a later version brings.
func TestLoadProblems(t *testing.T) {
	w := newWorld(t)
	policy := func(s string) string { return `{"load_balancing":{"selection_policy":` + s + `}}` }
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
		{transport(`"versions":["1.1","3"]`), "/transport/versions/1"},
		{transport(`"local_address":"udp/127.0.0.1"`), "/transport/local_address"},
		{transport(`"local_address":"127.0.0.1:1-2"`), "/transport/local_address"},
		{`{"trusted_proxies":["10.0.0.0/8","private_ranges"]}`, "/trusted_proxies/1"},
		{`{"headers":{"request":{"replace":{"X":[{"search_regexp":"("}]}}}}`, "/headers/request/replace/X/0"},
		{`{"headers":{"response":{"replace":{"X":[{"search_regexp":"("}]}}}}`, "/headers/response/replace/X/0"},
		{`{"rewrite":{"path_regexp":[{"find":"("}]}}`, "/rewrite/path_regexp/0"},
		{`{"load_balancing":{"retry_match":[{"nope":1}]}}`, "/load_balancing/retry_match/0/nope"},
		{`{"circuit_breaker":{"type":"x"}}`, "circuit_breaker is not supported yet"},
		{`{"health_checks":{"active":{"uri":"/"}}}`, "health_checks is not supported yet"},
		{`{"dynamic_upstreams":{"source":"srv"}}`, "dynamic_upstreams is not supported yet"},
		{`{"handle_response":[{"status_code":410}]}`, "handle_response is not supported yet"},
		{transport(`"tls":{}`), "tls is not supported yet"},
		{transport(`"resolver":{"addresses":["1.1.1.1"]}`), "resolver is not supported yet"},
		{transport(`"proxy_protocol":"v1"`), "proxy_protocol is not supported yet"},
		{transport(`"network_proxy":{"from":"none"}`), "network_proxy is not supported yet"},
		{transport(`"forward_proxy_url":"http://a"`), "forward_proxy_url is not supported yet"},
	}
	for _, tt := range tests {
		if got := w.problems(tt.config); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q does not have %q", tt.config, got, tt.want)
		}
	}
	for _, config := range []string{
		`{}`, `{"upstreams":[{"dial":"127.0.0.1:80-81"},{"dial":""}]}`, `{"handle_response":[]}`,
		policy(`{"policy":"weighted_round_robin","weights":[0,2,1]}`), transport(`"versions":["h2c","2","1.1"]`), transport(`"local_address":"tcp4/127.0.0.1"`),
		`{"headers":{"request":{"replace":{"X":[{"search":"a","search_regexp":"b"}]}}}}`,
		`{"trusted_proxies":["10.1.2.3/8","::1"],"stream_timeout":"1d","stream_close_delay":"5m","stream_buffer_size":100,"verbose_logs":true}`,
	} {
		if got := w.problems(config); got != "" {
			t.Errorf("%s: %s", config, got)
		}
	}
}

func TestTransportDefaultsAndOptions(t *testing.T) {
	d := upstream.DefaultHTTPOptions()
	if got := (&TransportConfig{Compression: true}).options(); got != d {
		t.Errorf("a config that states nothing gives %+v, want %+v", got, d)
	}
	off := false
	got := (&TransportConfig{
		DialTimeout: module.Duration(time.Second), ReadTimeout: 1, WriteTimeout: 2, ResponseHeaderTimeout: 3, ExpectContinueTimeout: 4,
		DialFallbackDelay: -1, MaxResponseHeaderSize: 5, WriteBufferSize: 6, ReadBufferSize: 7, MaxConnsPerHost: 8, LocalAddress: "::1",
		KeepAlive: KeepAlive{Enabled: &off, ProbeInterval: -1, MaxIdleConns: 9, MaxIdleConnsPerHost: 10, IdleTimeout: 11},
	}).options()
	want := upstream.HTTPOptions{
		DialTimeout: time.Second, ReadTimeout: 1, WriteTimeout: 2, ResponseHeaderTimeout: 3, ExpectContinueTimeout: 4,
		DialFallbackDelay: -1, MaxResponseHeaderSize: 5, WriteBufferSize: 6, ReadBufferSize: 7, MaxConnsPerHost: 8, LocalAddress: "::1",
		ProbeInterval: -1, MaxIdleConns: 9, MaxIdleConnsPerHost: 10, IdleTimeout: 11,
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
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
