package adapt

import (
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// shorthands are the short names of placeholders.
var shorthands = map[string]string{
	"host":        "http.request.host",
	"hostport":    "http.request.hostport",
	"port":        "http.request.port",
	"method":      "http.request.method",
	"uri":         "http.request.uri",
	"%uri":        "http.request.uri_escaped",
	"path":        "http.request.uri.path",
	"%path":       "http.request.uri.path_escaped",
	"dir":         "http.request.uri.path.dir",
	"file":        "http.request.uri.path.file",
	"query":       "http.request.uri.query",
	"%query":      "http.request.uri.query_escaped",
	"?query":      "http.request.uri.prefixed_query",
	"orig_method": "http.request.orig_method",
	"orig_uri":    "http.request.orig_uri",
	"orig_path":   "http.request.orig_uri.path",
	"orig_dir":    "http.request.orig_uri.path.dir",
	"orig_file":   "http.request.orig_uri.path.file",
	"orig_query":  "http.request.orig_uri.query",
	"orig_?query": "http.request.orig_uri.prefixed_query",
	"remote":      "http.request.remote",
	"remote_host": "http.request.remote.host",
	"remote_port": "http.request.remote.port",
	"client_ip":   "http.vars.client_ip",
	"scheme":      "http.request.scheme",
	"uuid":        "http.request.uuid",

	"tls_cipher":                        "http.request.tls.cipher_suite",
	"tls_version":                       "http.request.tls.version",
	"tls_client_fingerprint":            "http.request.tls.client.fingerprint",
	"tls_client_issuer":                 "http.request.tls.client.issuer",
	"tls_client_serial":                 "http.request.tls.client.serial",
	"tls_client_subject":                "http.request.tls.client.subject",
	"tls_client_certificate_pem":        "http.request.tls.client.certificate_pem",
	"tls_client_certificate_der_base64": "http.request.tls.client.certificate_der_base64",

	"upstream_hostport": "http.reverse_proxy.upstream.hostport",
}

// shortNames is the shorthands by what they stand for.
var shortNames = func() map[string]string {
	m := make(map[string]string, len(shorthands))
	for short, long := range shorthands {
		m[long] = short
	}
	return m
}()

// families are short names that end in a name of the user's.
var families = map[string]struct {
	long string
	dots bool // the name may have dots
}{
	"header":     {"http.request.header.", false},
	"cookie":     {"http.request.cookie.", false},
	"labels":     {"http.request.host.labels.", false},
	"path":       {"http.request.uri.path.", false},
	"file":       {"http.request.uri.path.file.", false},
	"query":      {"http.request.uri.query.", false},
	"re":         {"http.regexp.", true},
	"vars":       {"http.vars.", false},
	"rp":         {"http.reverse_proxy.", true},
	"resp":       {"http.intercept.", true},
	"err":        {"http.error.", true},
	"file_match": {"http.matchers.file.", false},
}

// expandShorthands returns the segment with the long names of placeholders.
func expandShorthands(seg caddyfile.Segment) caddyfile.Segment {
	var out caddyfile.Segment
	for i, t := range seg {
		if strings.IndexByte(t.Text, '{') < 0 || len(t.Text) < 3 {
			continue
		}
		text := expandShorthand(t.Text)
		if text == t.Text {
			continue
		}
		if out == nil {
			out = append(out, seg...)
		}
		out[i] = t.With(text)
	}
	if out == nil {
		return seg
	}
	return out
}

func expandShorthand(s string) string {
	var b strings.Builder
	done := 0
	for i := strings.IndexByte(s, '{'); i >= 0; {
		end := strings.IndexAny(s[i+1:], "{}")
		if end < 0 {
			break
		}
		end += i + 1
		if s[end] == '}' {
			if long, ok := longName(s[i+1 : end]); ok {
				b.WriteString(s[done : i+1])
				b.WriteString(long)
				done = end
			}
		}
		next := strings.IndexByte(s[i+1:], '{')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// longName returns the placeholder that a short name stands for.
func longName(short string) (string, bool) {
	if long, ok := shorthands[short]; ok {
		return long, true
	}
	if field, ok := strings.CutPrefix(short, ">"); ok { // the older dialect
		return "http.request.header." + field, field != "" && isName(field, false)
	}
	family, name, ok := strings.Cut(short, ".")
	if !ok {
		return "", false
	}
	f, ok := families[family]
	return f.long + name, ok && isName(name, f.dots)
}

func isName(s string, dots bool) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', dots && c == '.':
		default:
			return false
		}
	}
	return true
}
