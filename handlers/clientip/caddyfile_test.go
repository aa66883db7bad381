package clientip_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// TestTrustedProxies: the source of a server's trusted proxies in a document.
func TestTrustedProxies(t *testing.T) {
	adapttest.Same(t, adapttest.Full(t, "{\n\tservers {\n\t\ttrusted_proxies static 192.0.2.0/24 private_ranges\n\t}\n}\n:80\n"),
		`{"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"trusted_proxies":{"source":"static",
		"ranges":["192.0.2.0/24","192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1"]}}}}}}`)
	adapttest.Fails(t, "{\n\tservers {\n\t\ttrusted_proxies static\n\t}\n}\n:80\n", "wrong argument count or unexpected line ending after 'static', at Caddyfile:3")
	adapttest.Fails(t, "{\n\tservers {\n\t\ttrusted_proxies statics 192.0.2.1\n\t}\n}\n:80\n", "module not registered: http.ip_sources.statics, at Caddyfile:3 (did you mean 'static'?)")
}
