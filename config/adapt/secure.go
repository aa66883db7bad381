package adapt

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// security is what a server's addresses say about TLS.
type security struct {
	automatic members
	policies  []*config.Node
}

func (s *security) write(m members) {
	if len(s.automatic) > 0 {
		m["automatic_https"] = config.NewObject(s.automatic)
	}
	if len(s.policies) > 0 {
		m["tls_connection_policies"] = config.NewArray(s.policies)
	}
}

// autoHTTPSFields is the fields of automatic_https that the words of the option
// auto_https set.
var autoHTTPSFields = map[string]string{
	"off": "disable", "disable_redirects": "disable_redirects", "disable_certs": "disable_certificates", "ignore_loaded_certs": "ignore_loaded_certificates",
}

// secure decides between HTTP and HTTPS.
func (r *run) secure(p *serverPlan) (*security, error) {
	s := &security{automatic: members{}}
	for _, word := range r.options.autoHTTPS {
		s.automatic[autoHTTPSFields[word]] = config.NewBool(true)
	}
	var skip []string
	skipped := map[string]bool{}
	qualifies, implied := false, !slices.Contains(r.options.autoHTTPS, "off")
	elsewhere := r.hasOtherPort(p.listen)
	for _, c := range p.sites {
		for i := range c.keys {
			k := &c.keys[i]
			if elsewhere && k.scheme == "http" && k.host != "" && !skipped[k.host] {
				skipped[k.host] = true
				skip = append(skip, k.host)
			}
			if r.qualifies(k, skipped) {
				qualifies = true
			}
			implied = implied && (k.port == r.options.httpsPort() || (k.port != r.options.httpPort() && k.host != ""))
		}
	}
	if err := r.checkMix(p); err != nil {
		return nil, err
	}
	if qualifies && !implied {
		s.policies = append(s.policies, config.NewObject(nil))
	}
	if len(skip) > 0 {
		s.automatic["skip"] = stringNodes(skip)
	}
	return s, r.checkSubjects(p, elsewhere)
}

// qualifies reports whether an address is served with TLS.
func (r *run) qualifies(k *address, skip map[string]bool) bool {
	if k.scheme == "https" {
		return true
	}
	return k.scheme != "http" && k.port != r.options.httpPort() && k.host != "" && !skip[k.host]
}

// hasOtherPort reports whether a server listens on a port other than that of
// HTTP.
func (r *run) hasOtherPort(listen []string) bool {
	return slices.ContainsFunc(listen, func(a string) bool {
		_, port, err := net.SplitHostPort(a[strings.LastIndexByte(a, '/')+1:])
		return err != nil || port != r.options.httpPort()
	})
}

// checkMix refuses HTTP and HTTPS on one server.
func (r *run) checkMix(p *serverPlan) error {
	is := ""
	for _, c := range p.sites {
		for i := range c.keys {
			k := &c.keys[i]
			want := ""
			switch {
			case k.scheme == "http" || k.port == r.options.httpPort():
				want = "HTTP"
			case k.scheme == "https" || k.port == r.options.httpsPort():
				want = "HTTPS"
			case k.host == "":
				want = "HTTP"
			}
			if is == "" || want == "" || is == want {
				if want != "" {
					is = want
				}
				continue
			}
			hint := ""
			if is == "HTTPS" && k.scheme == "" && k.host == "" {
				hint = " (try specifying https:// in the address)"
			}
			return k.token.Errf("server listening on [%s] is configured for %s and cannot natively multiplex HTTP and HTTPS: %s%s", strings.Join(p.listen, " "), is, caddyfile.Shorten(k.original), hint)
		}
	}
	return nil
}

// checkSubjects finds names that cannot be on a certificate, and sites whose
// certificates need settings of their own.
func (r *run) checkSubjects(p *serverPlan, elsewhere bool) error {
	if !elsewhere {
		return nil
	}
	var errs collected
	for _, c := range p.sites {
		var public, internal, hostless string
		for i := range c.keys {
			k := &c.keys[i]
			switch {
			case k.scheme == "http" || k.port == r.options.httpPort():
			case k.host == "":
				hostless = k.original
			case !canBeCertified(k.host):
				errs.add(k.token.Errf("subject does not qualify for certificate: '%s'", caddyfile.Shorten(k.host)))
			case isInternal(k.host):
				internal = k.host
			default:
				public = k.host
			}
		}
		if public != "" && internal != "" {
			errs.add(c.keys[0].token.Errf("a site with both public and local names (%s, %s) needs certificates of two issuers, which is not supported yet; make two sites of it", public, internal))
		}
		if hostless != "" && public+internal != "" && !slices.Contains(r.options.autoHTTPS, "off") && !slices.Contains(r.options.autoHTTPS, "disable_certs") {
			errs.add(c.keys[0].token.Errf("a site with both a name (%s) and an address without one (%s) is not supported yet with automatic HTTPS; make two sites of it", cmp.Or(public, internal), hostless))
		}
	}
	return errs.err()
}

// canBeCertified reports whether a name can be on a certificate.
func canBeCertified(name string) bool {
	return strings.TrimSpace(name) != "" && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".") &&
		(!strings.Contains(name, "*") || strings.HasPrefix(name, "*.") || name == "*") &&
		!strings.ContainsAny(name, "()[]{}<> \t\n\"\\!@#$%^&|;'+=")
}

// isInternal reports whether no public authority certifies a name.
func isInternal(name string) bool {
	for _, suffix := range []string{"localhost", ".localhost", ".local", ".internal", ".home.arpa"} {
		if name == suffix || (suffix[0] == '.' && strings.HasSuffix(name, suffix)) {
			return true
		}
	}
	ip := net.ParseIP(name)
	return ip != nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

func errDuplicateServer(name string) error {
	return fmt.Errorf("applying global server options: cannot use duplicate server name '%s'", caddyfile.Shorten(name))
}
