package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// promised are the modules of the HTTP app, its files, its logs and the proxy,
// and those of TLS, written down here once more so that none is lost by a mistake in the table.
const promised = `
http
caddy.filesystems
caddy.listeners: tls proxy_protocol http_redirect
caddy.logging.writers: stdout stderr discard file net
caddy.logging.encoders: json console filter append
caddy.logging.encoders.filter: delete hash rename replace ip_mask query cookie set_cookie regexp multi_regexp
http.ip_sources: static
http.matchers: host path path_regexp method query header header_regexp protocol not remote_ip client_ip vars vars_regexp file url_pattern expression tls
http.handlers: static_response file_server error subroute rewrite encode headers vars map request_body authentication intercept log_append metrics tracing templates push invoke
http.handlers: copy_response copy_response_headers timeouts reverse_proxy rate_limit mirror acme_server
http.precompressed: gzip zstd br
http.encoders: gzip zstd br
http.authentication.providers: http_basic
http.authentication.hashes: bcrypt argon2id
http.reverse_proxy.transport: http fastcgi
http.reverse_proxy.upstreams: a srv multi
http.reverse_proxy.circuit_breakers: window
http.reverse_proxy.selection_policies: random random_choose least_conn round_robin weighted_round_robin first ip_hash client_ip_hash uri_hash query header cookie
events
pki
tls
caddy.storage: file_system bolt
caddy.config_loaders: http
tls.certificates: automate load_files load_folders load_pem load_storage
tls.issuance: acme internal zerossl
tls.get_certificate: http tailscale
tls.permission: http
tls.handshake_match: sni sni_regexp remote_ip local_ip
tls.client_auth.verifier: leaf
tls.leaf_cert_loader: file folder pem storage
tls.stek: standard distributed
tls.ca_pool.source: inline file system combined http pki_root pki_intermediate
dns.providers: rfc2136
`

func TestListModules(t *testing.T) {
	t.Parallel()
	h := newHome(t, freePorts(t, 1)[0])
	out, err := h.command(filepath.Join(tools, "sluice"), "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Fields(string(out))
	for line := range strings.Lines(strings.TrimSpace(promised)) {
		namespace, names, _ := strings.Cut(strings.TrimSpace(line), ":")
		ids := []string{namespace}
		if names != "" {
			ids = ids[:0]
			for _, name := range strings.Fields(names) {
				ids = append(ids, namespace+"."+name)
			}
		}
		for _, id := range ids {
			if !slices.Contains(have, id) {
				t.Errorf("list-modules has no %s", id)
			}
		}
	}
}
