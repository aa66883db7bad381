package adapt

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// security is what a server's addresses and tls directives say about TLS.
type security struct {
	automatic members
	policies  []*policies.Connection
	catchAll  bool     // one of the policies is for all names
	plain     []string // hosts without settings of their own
}

func (s *security) write(r *run, m members) {
	if len(s.automatic) > 0 {
		m["automatic_https"] = config.NewObject(s.automatic)
	}
	if len(s.policies) == 0 {
		return
	}
	nodes := make([]*config.Node, len(s.policies))
	for i, c := range s.policies {
		nodes[i] = c.Node()
		r.places.nodes[nodes[i]] = c.Origin.(place)
	}
	m["tls_connection_policies"] = config.NewArray(nodes)
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
		r.connections(s, c)
		for i := range c.keys {
			k := &c.keys[i]
			if elsewhere && k.scheme == "http" && k.host != "" && !skipped[k.host] {
				skipped[k.host] = true
				skip = append(skip, k.host)
			}
			enabled := len(c.site.pile.tls) > 0 || (k.host != "" && !skipped[k.host])
			qualifies = qualifies || k.scheme == "https" || (k.scheme != "http" && k.port != r.options.httpPort() && enabled)
			implied = implied && (k.port == r.options.httpsPort() || (k.port != r.options.httpPort() && k.host != ""))
		}
	}
	if err := r.checkMix(p, len(s.policies) > 0); err != nil {
		return nil, err
	}
	s.policies = policies.Shield(s.policies, s.plain)
	o := &r.options.tls
	if qualifies && !s.catchAll && (len(s.policies) > 0 || !implied || o.defaultSNI != "" || o.fallbackSNI != "") {
		s.policies = append(s.policies, &policies.Connection{Fields: r.sniFields(), Origin: place{token: p.sites[0].keys[0].token}})
	}
	if len(skip) > 0 {
		s.automatic["skip"] = stringNodes(skip)
	}
	var err error
	if s.policies, err = policies.Consolidate(s.policies); err != nil {
		return nil, p.sites[0].keys[0].token.Errf("consolidating TLS connection policies for server %d: %w", p.index, err)
	}
	return s, nil
}

// sniFields is the fields of a policy for all names.
func (r *run) sniFields() members {
	m := members{}
	for name, text := range map[string]string{"default_sni": r.options.tls.defaultSNI, "fallback_sni": r.options.tls.fallbackSNI} {
		if text != "" {
			m[name] = config.NewString(text)
		}
	}
	return m
}

// connections adds the policies of a site.
func (r *run) connections(s *security, c siteCopy) {
	names := hosts(c.keys)
	if len(c.site.pile.tls) == 0 {
		for _, h := range names {
			if !strings.Contains(h, "*") {
				s.plain = append(s.plain, h)
			}
		}
		return
	}
	for _, t := range c.site.pile.tls {
		r.copied++ // once for each server
		own := slices.Clone(names)
		p := &policies.Connection{Fields: members{}, Origin: t.at}
		for name, v := range t.policy {
			p.Fields[name] = r.copy(v)
		}
		o := &r.options.tls
		switch {
		case len(own) == 0:
			for name, v := range r.sniFields() {
				p.Fields[name] = v
			}
		case o.defaultSNI != "" && slices.Contains(own, o.defaultSNI):
			own, p.Fields["default_sni"] = append(own, ""), config.NewString(o.defaultSNI)
		case o.fallbackSNI != "" && slices.Contains(own, o.fallbackSNI):
			own, p.Fields["fallback_sni"] = append(own, ""), config.NewString(o.fallbackSNI)
		}
		slices.Sort(own)
		if len(own) > 0 {
			p.SNI = own
		}
		switch {
		case len(p.Fields) > 0 || (t.force && len(own) > 0 && len(r.managed(c.keys)) > 0):
			s.policies, s.catchAll = append(s.policies, p), len(own) == 0
		default:
			s.plain = append(s.plain, own...)
		}
	}
}

// managed is the hosts of keys that certificates can be for: those that are not
// for HTTP alone. They are sorted.
func (r *run) managed(keys []address) []string {
	var out []string
	for i := range keys {
		if k := &keys[i]; k.host != "" && k.scheme != "http" && k.port != r.options.httpPort() {
			out = append(out, k.host)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
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
func (r *run) checkMix(p *serverPlan, secured bool) error {
	is, listen := "", strings.Join(p.listen, " ")
	for _, c := range p.sites {
		for i := range c.keys {
			k := &c.keys[i]
			want := r.protocolOf(k, secured)
			switch {
			case want == "":
			case is != "" && is != want:
				hint := ""
				if is == "HTTPS" && k.scheme == "" && k.host == "" {
					hint = " (try specifying https:// in the address)"
				}
				return k.token.Errf("server listening on [%s] is configured for %s and cannot natively multiplex HTTP and HTTPS: %s%s", listen, is, caddyfile.Shorten(k.original), hint)
			case want == "HTTP" && secured:
				return k.token.Errf("server listening on [%s] is HTTP, but attempts to configure TLS connection policies", listen)
			default:
				is = want
			}
		}
	}
	return nil
}

// protocolOf is what a key wants of its server, "" if it does not care.
func (r *run) protocolOf(k *address, secured bool) string {
	switch {
	case k.scheme == "http" || k.port == r.options.httpPort():
		return "HTTP"
	case k.scheme == "https" || k.port == r.options.httpsPort() || secured:
		return "HTTPS"
	case k.host == "":
		return "HTTP"
	}
	return ""
}

func errDuplicateServer(name string) error {
	return fmt.Errorf("applying global server options: cannot use duplicate server name '%s'", caddyfile.Shorten(name))
}
