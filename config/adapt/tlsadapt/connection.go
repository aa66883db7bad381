package tlsadapt

import (
	"net"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// Site is a site as far as it matters here.
type Site struct {
	// Directives is its tls directives.
	Directives []*Directive
	// BindHost is the first host that it listens on, empty for none of its own.
	BindHost string
}

// Part is a site with those of its keys, at least one, that one server serves.
type Part struct {
	*Site
	Keys []address.Address
}

// Server is a server with the sites that it serves.
type Server struct {
	Index  int
	Listen []string
	Parts  []Part
}

// security is what becomes of a server's addresses and tls directives.
type security struct {
	automatic members
	policies  []*policies.Connection
	catchAll  bool     // one of the policies is for all names
	plain     []string // hosts without settings of their own
}

// fields are those of the server in the document.
func (o *Options) fields(s *security) map[string]*config.Node {
	m := members{}
	if len(s.automatic) > 0 {
		m["automatic_https"] = config.NewObject(s.automatic)
	}
	if len(s.policies) == 0 {
		return m
	}
	nodes := make([]*config.Node, len(s.policies))
	for i, c := range s.policies {
		nodes[i] = c.Node()
		o.Places.PutAt(nodes[i], c.Origin.(places.Place))
	}
	m["tls_connection_policies"] = config.NewArray(nodes)
	return m
}

// Secure decides between HTTP and HTTPS for a server, and returns the fields that
// it has in the document because of that.
func (o *Options) Secure(p *Server) (map[string]*config.Node, error) {
	s := &security{automatic: members{}}
	for _, word := range o.automatic {
		s.automatic[automaticFields[word]] = config.NewBool(true)
	}
	var skip []string
	skipped := map[string]bool{}
	qualifies, implied := false, !o.off()
	elsewhere := o.hasOtherPort(p.Listen)
	for _, c := range p.Parts {
		o.connections(s, c)
		for i := range c.Keys {
			k := &c.Keys[i]
			if elsewhere && k.Scheme == "http" && k.Host != "" && !skipped[k.Host] {
				skipped[k.Host] = true
				skip = append(skip, k.Host)
			}
			enabled := len(c.Directives) > 0 || (k.Host != "" && !skipped[k.Host])
			qualifies = qualifies || k.Scheme == "https" || (k.Scheme != "http" && k.Port != o.http.Ports.HTTP && enabled)
			implied = implied && (k.Port == o.http.Ports.HTTPS || (k.Port != o.http.Ports.HTTP && k.Host != ""))
		}
	}
	if err := o.checkMix(p, len(s.policies) > 0); err != nil {
		return nil, err
	}
	s.policies = policies.Shield(s.policies, s.plain)
	if qualifies && !s.catchAll && (len(s.policies) > 0 || !implied || o.defaultSNI != "" || o.fallbackSNI != "") {
		s.policies = append(s.policies, &policies.Connection{Fields: o.sniFields(), Origin: places.At(p.Parts[0].Keys[0].Token)})
	}
	if len(skip) > 0 {
		s.automatic["skip"] = config.NewStrings(skip)
	}
	var err error
	if s.policies, err = policies.Consolidate(s.policies); err != nil {
		return nil, p.Parts[0].Keys[0].Token.Errf("consolidating TLS connection policies for server %d: %w", p.Index, err)
	}
	return o.fields(s), nil
}

// sniFields is the fields of a policy for all names.
func (o *Options) sniFields() members {
	m := members{}
	for name, text := range map[string]string{"default_sni": o.defaultSNI, "fallback_sni": o.fallbackSNI} {
		if text != "" {
			m[name] = config.NewString(text)
		}
	}
	return m
}

// connections adds the policies of a site.
func (o *Options) connections(s *security, c Part) {
	names := address.Hosts(c.Keys)
	if len(c.Directives) == 0 {
		for _, h := range names {
			if !strings.Contains(h, "*") {
				s.plain = append(s.plain, h)
			}
		}
		return
	}
	for _, t := range c.Directives {
		o.Places.Charge() // once for each server
		own := slices.Clone(names)
		p := &policies.Connection{Fields: members{}, Origin: t.at}
		for name, v := range t.policy {
			p.Fields[name] = o.Places.Copy(v)
		}
		switch {
		case len(own) == 0:
			for name, v := range o.sniFields() {
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
		case len(p.Fields) > 0 || (t.force && len(own) > 0 && len(o.managed(c.Keys)) > 0):
			s.policies, s.catchAll = append(s.policies, p), len(own) == 0
		default:
			s.plain = append(s.plain, own...)
		}
	}
}

// managed is the hosts of keys that certificates can be for: those that are not
// for HTTP alone. They are sorted.
func (o *Options) managed(keys []address.Address) []string {
	var out []string
	for i := range keys {
		if k := &keys[i]; k.Host != "" && k.Scheme != "http" && k.Port != o.http.Ports.HTTP {
			out = append(out, k.Host)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// hasOtherPort reports whether a server listens on a port other than that of
// HTTP.
func (o *Options) hasOtherPort(listen []string) bool {
	return slices.ContainsFunc(listen, func(a string) bool {
		_, port, err := net.SplitHostPort(a[strings.LastIndexByte(a, '/')+1:])
		return err != nil || port != o.http.Ports.HTTP
	})
}

// checkMix refuses HTTP and HTTPS on one server.
func (o *Options) checkMix(p *Server, secured bool) error {
	is, listen := "", strings.Join(p.Listen, " ")
	for _, c := range p.Parts {
		for i := range c.Keys {
			k := &c.Keys[i]
			want := o.protocolOf(k, secured)
			switch {
			case want == "":
			case is != "" && is != want:
				hint := ""
				if is == "HTTPS" && k.Scheme == "" && k.Host == "" {
					hint = " (try specifying https:// in the address)"
				}
				return k.Token.Errf("server listening on [%s] is configured for %s and cannot natively multiplex HTTP and HTTPS: %s%s", listen, is, caddyfile.Shorten(k.Original), hint)
			case want == "HTTP" && secured:
				return k.Token.Errf("server listening on [%s] is HTTP, but attempts to configure TLS connection policies", listen)
			default:
				is = want
			}
		}
	}
	return nil
}

// protocolOf is what a key wants of its server, "" if it does not care.
func (o *Options) protocolOf(k *address.Address, secured bool) string {
	switch {
	case k.Scheme == "http" || k.Port == o.http.Ports.HTTP:
		return "HTTP"
	case k.Scheme == "https" || k.Port == o.http.Ports.HTTPS || secured:
		return "HTTPS"
	case k.Host == "":
		return "HTTP"
	}
	return ""
}

// Idle says of a site with the keys that its directives tls change nothing, if
// that is so.
func (o *Options) Idle(s *Site, keys []address.Address) {
	if len(s.Directives) == 0 || len(keys) == 0 || slices.ContainsFunc(keys, func(k address.Address) bool { return o.protocolOf(&k, true) != "HTTP" }) {
		return
	}
	t := s.Directives[0].Token
	o.Warn(caddyfile.Warning{File: t.File(), Line: int(t.Line), Message: "tls changes nothing here: all addresses of the site are for plain HTTP"})
}
