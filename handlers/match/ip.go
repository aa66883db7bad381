package match

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
)

// IPRanges is a choice of IP addresses.
type IPRanges struct {
	// Ranges are IP addresses and CIDR prefixes; the address must be in one of
	// them, and with none nothing matches. An IPv6 zone may follow behind "%";
	// then the address must have that zone. Placeholders such as {env.X} are
	// expanded when the config is loaded. An IPv4 address within IPv6 is not
	// taken for IPv4.
	Ranges []string `json:"ranges,omitempty"`
}

// RemoteIPConfig matches the address of the peer: of whoever made the
// connection, be it a client or a proxy.
type RemoteIPConfig struct{ IPRanges }

// ClientIPConfig matches the address of the client, which behind a trusted proxy
// (see trusted_proxies of the server) is the one that the proxy reports.
type ClientIPConfig struct{ IPRanges }

func remoteIPSpec() module.Spec {
	return module.New("http.matchers.remote_ip", "Matches the IP address of the peer.", nil,
		func(env *module.Env, cfg *RemoteIPConfig) (handlers.Matcher, error) {
			set, err := cfg.compile(env)
			return &remoteIP{set}, err
		},
		module.Words(remoteIPWords), module.Examples(module.Example{Title: "Peers in private networks", JSON: `{"ranges": ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"]}`}))
}

func clientIPSpec() module.Spec {
	return module.New("http.matchers.client_ip", "Matches the IP address of the client.", nil,
		func(env *module.Env, cfg *ClientIPConfig) (handlers.Matcher, error) {
			set, err := cfg.compile(env)
			return &clientIP{set}, err
		},
		module.Words(clientIPWords), module.Examples(module.Example{Title: "One client", JSON: `{"ranges": ["2001:db8::7"]}`}))
}

func (c IPRanges) compile(env *module.Env) (ipSet, error) {
	var set ipSet
	var problems schema.Problems
	for i, entry := range c.Ranges {
		expanded := entry
		if env != nil {
			expanded = env.Expand(entry)
		}
		text, zone, zoned := strings.Cut(expanded, "%")
		p, err := clientip.ParsePrefix(text)
		if err == nil && zoned && (zone == "" || strings.ContainsAny(zone, "/%")) {
			err = fmt.Errorf("the zone %q is not the name of a network interface", zone)
		}
		if err != nil {
			problems = append(problems, clientip.RangeProblem("/ranges/"+strconv.Itoa(i), entry, err))
			continue
		}
		set.add(p, zone)
	}
	return set, failed(problems)
}

type remoteIP struct{ ipSet }

// Match implements handlers.Matcher.
func (m *remoteIP) Match(r *http.Request) (bool, error) {
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		return false, errEarly()
	}
	ip, ok := parseIP(hostOfAddr(r.RemoteAddr))
	if !ok {
		logUnreadable(r, "http.matchers.remote_ip", r.RemoteAddr)
		return false, nil
	}
	return m.has(ip), nil
}

type clientIP struct{ ipSet }

// Match implements handlers.Matcher.
func (m *clientIP) Match(r *http.Request) (bool, error) {
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		return false, errEarly()
	}
	x := handlers.Of(r)
	if x == nil {
		return false, nil
	}
	text, _ := x.Var("client_ip").(string)
	ip, ok := parseIP(text)
	if !ok {
		logUnreadable(r, "http.matchers.client_ip", text)
		return false, nil
	}
	return m.has(ip), nil
}

func errEarly() error {
	return handlers.NewError(http.StatusTooEarly, errors.New("the TLS handshake is not complete, so the address is not verified yet"))
}

func logUnreadable(r *http.Request, logger, address string) {
	if x := handlers.Of(r); x != nil && x.Server != nil {
		x.Server.Logger(logger).Error("address is not an IP address, so it does not match", zap.String("address", address))
	}
}

func parseIP(text string) (netip.Addr, bool) {
	if text == "" {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(text)
	return ip, err == nil
}

// hostOfAddr is an address without its port.
func hostOfAddr(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		if h := addr[:i]; strings.IndexByte(h, ':') < 0 {
			return h
		} else if len(h) > 1 && h[0] == '[' && h[len(h)-1] == ']' {
			return h[1 : len(h)-1]
		}
	}
	return addr
}

// ipSet is a set of addresses. Short lists are compared in order; long ones are
// looked up once for each prefix length that occurs.
type ipSet struct {
	list    []netip.Prefix
	lengths []netip.Prefix // one of each length and family
	many    map[netip.Prefix]struct{}
	zoned   []zonedPrefix
}

type zonedPrefix struct {
	netip.Prefix
	zone string
}

func (s *ipSet) add(p netip.Prefix, zone string) {
	if zone != "" {
		s.zoned = append(s.zoned, zonedPrefix{p, zone})
		return
	}
	s.list = append(s.list, p)
	if len(s.list) <= few {
		return
	}
	if s.many == nil {
		s.many = map[netip.Prefix]struct{}{}
		for _, q := range s.list[:few] {
			s.file(q)
		}
	}
	s.file(p)
}

func (s *ipSet) file(p netip.Prefix) {
	s.many[p] = struct{}{}
	for _, q := range s.lengths {
		if q.Bits() == p.Bits() && q.Addr().BitLen() == p.Addr().BitLen() {
			return
		}
	}
	s.lengths = append(s.lengths, p)
}

func (s *ipSet) has(ip netip.Addr) bool {
	zone := ip.Zone()
	ip = ip.WithZone("")
	for _, p := range s.zoned {
		if p.zone == zone && p.Contains(ip) {
			return true
		}
	}
	if s.many == nil {
		for _, p := range s.list {
			if p.Contains(ip) {
				return true
			}
		}
		return false
	}
	for _, q := range s.lengths {
		if q.Addr().BitLen() != ip.BitLen() {
			continue
		}
		p, _ := ip.Prefix(q.Bits())
		if _, ok := s.many[p]; ok {
			return true
		}
	}
	return false
}
