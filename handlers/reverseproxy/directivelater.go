package reverseproxy

import (
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// notYet is words of a Caddyfile that a later version will know, each with what to do instead.
type notYet map[string]string

// What is refused by name. An entry goes when its field in the config is there.
var (
	laterLines = notYet{
		"dynamic": "list the upstreams, or use placeholders in them",

		"health_uri":              noHealth,
		"health_path":             noHealth,
		"health_upstream":         noHealth,
		"health_port":             noHealth,
		"health_interval":         noHealth,
		"health_timeout":          noHealth,
		"health_passes":           noHealth,
		"health_fails":            noHealth,
		"health_status":           noHealth,
		"health_body":             noHealth,
		"health_method":           noHealth,
		"health_request_body":     noHealth,
		"health_follow_redirects": noHealth,
		"health_headers":          noHealth,
		"fail_duration":           noHealth,
		"max_fails":               noHealth,
		"unhealthy_status":        noHealth,
		"unhealthy_latency":       noHealth,
		"unhealthy_request_count": noHealth,

		"handle_response": leaveOut,
		"replace_status":  leaveOut,
		"@":               leaveOut, // a response matcher
	}
	laterTransport = notYet{
		"proxy_protocol":           leaveOut,
		"forward_proxy_url":        "set HTTP_PROXY in the environment of the process instead",
		"network_proxy":            "set HTTP_PROXY or NO_PROXY in the environment of the process instead",
		"resolvers":                "upstream names are resolved by the system; leave it out",
		"tls":                      noTLS,
		"tls_client_auth":          noTLS,
		"tls_insecure_skip_verify": noTLS,
		"tls_curves":               noTLS,
		"tls_timeout":              noTLS,
		"tls_trusted_ca_certs":     noTLS,
		"tls_trust_pool":           noTLS,
		"tls_server_name":          noTLS,
		"tls_renegotiation":        noTLS,
		"tls_except_ports":         noTLS,
	}
	laterUpstreams = notYet{
		"SRV":   "it names SRV records; list the upstreams themselves, or add a port if it is the name of a host",
		"https": "upstreams are spoken to in clear text; use http:// with the port of that",
	}
)

const (
	leaveOut = "leave it out"
	noHealth = "use lb_retries or lb_try_duration to pass by a server that is down"
	noTLS    = "upstreams are spoken to in clear text; leave it out"
)

// refuse returns the error for the word of a key.
func (l notYet) refuse(t caddyfile.Token, key, word string) error {
	return t.Errf("'%s' is not supported yet; %s", caddyfile.Shorten(word), l[key])
}

// refuseLine refuses a line whose name, d's current token, is in the list. It does so in the form that [caddyfile.Options]
// asks for.
func (l notYet) refuseLine(d *caddyfile.Dispenser) (bool, error) {
	t, key := d.Token(), d.Val()
	if strings.HasPrefix(key, "@") {
		key = "@"
	}
	if _, ok := l[key]; !ok {
		return false, nil
	}
	return true, l.refuse(t, key, t.Text)
}
