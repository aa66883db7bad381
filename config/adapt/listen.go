package adapt

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/tlsadapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// siteCopy is a site with those of its keys that one server serves.
type siteCopy struct {
	site *site
	keys []address.Address
}

// serverPlan is a server before it has routes.
type serverPlan struct {
	index     int
	listen    []string
	protocols [][]string // for each address, nil for the default
	sites     []siteCopy
	// name is the server's key in the document.
	name string
	// tls is the server as tlsadapt sees it, when its sites are in order.
	tls tlsadapt.Server
	// options is the block of the option servers that applies, nil if none.
	options *serverOptions
}

// secured makes tls of the rest.
func (p *serverPlan) secured() {
	p.tls = tlsadapt.Server{Index: p.index, Listen: p.listen, Parts: make([]tlsadapt.Part, len(p.sites))}
	for i, c := range p.sites {
		p.tls.Parts[i] = tlsadapt.Part{Site: &c.site.pile.tls, Keys: c.keys}
	}
}

// endpoint is an address with a protocol, "" for the default ones.
type endpoint struct{ address, protocol string }

// servers distributes sites to servers: those whose keys are the same at several
// addresses share one.
func (r *run) servers(sites []*site) []*serverPlan {
	m := r.endpoints(sites)
	byAddress := map[string][]string{}
	alike := map[string][]endpoint{} // by what they serve
	for e, copies := range m {
		byAddress[e.address] = append(byAddress[e.address], e.protocol)
		sig := signature(copies)
		alike[sig] = append(alike[sig], e)
	}
	var plans []*serverPlan
	for _, address := range slices.Sorted(maps.Keys(byAddress)) {
		// The protocols that another server has taken in this round make empty
		// servers, which count: the names of servers are what scripts address.
		var protocols []string
		for _, p := range byAddress[address] {
			if m[endpoint{address, p}] != nil {
				protocols = append(protocols, p)
			}
		}
		slices.Sort(protocols)
		for _, p := range protocols {
			plans = append(plans, takeServer(m, alike, endpoint{address, p}, len(plans)))
		}
	}
	return plans
}

// takeServer makes a server of an endpoint and of those that serve the same.
func takeServer(m map[endpoint][]siteCopy, alike map[string][]endpoint, e endpoint, index int) *serverPlan {
	plan := &serverPlan{index: index, name: "srv" + strconv.Itoa(index), sites: m[e]}
	if plan.sites == nil {
		return plan
	}
	protocols := map[string][]string{}
	for _, other := range alike[signature(plan.sites)] {
		protocols[other.address] = append(protocols[other.address], other.protocol)
		delete(m, other)
	}
	special := false
	for _, address := range slices.Sorted(maps.Keys(protocols)) {
		list := slices.DeleteFunc(protocols[address], func(p string) bool { return p == "" })
		slices.Sort(list)
		if len(list) == 0 {
			list = nil
		}
		special = special || list != nil
		plan.listen = append(plan.listen, address)
		plan.protocols = append(plan.protocols, list)
	}
	if !special {
		plan.protocols = nil
	}
	return plan
}

// signature is equal for equal lists of sites with equal keys.
func signature(copies []siteCopy) string {
	var b strings.Builder
	for _, c := range copies {
		b.WriteString(strconv.Itoa(c.site.index))
		for i := range c.keys {
			b.WriteByte(' ')
			b.WriteString(strconv.Itoa(c.keys[i].Index))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// maxListeners bounds what addresses and binds make together.
const maxListeners = 1 << 18

// endpoints says which keys are served where.
func (r *run) endpoints(sites []*site) map[endpoint][]siteCopy {
	m := map[endpoint][]siteCopy{}
	total := 0
	literal := map[endpoint]map[string]bool{}
	for _, s := range sites {
		own := map[endpoint][]address.Address{}
		var order []endpoint
		for _, key := range s.keys {
			for _, e := range r.listenersOf(s, key) {
				if total++; total > maxListeners {
					r.fail(key.Token.Errf("the addresses of the sites make more than %d addresses to listen on", maxListeners))
					return nil
				}
				if own[e] == nil {
					order = append(order, e)
				}
				own[e] = append(own[e], key)
			}
		}
		for _, e := range order {
			r.checkAmbiguous(literal, e, own[e])
			m[e] = append(m[e], siteCopy{s, own[e]})
		}
	}
	return m
}

// checkAmbiguous finds keys that two sites have at one address.
func (r *run) checkAmbiguous(literal map[endpoint]map[string]bool, e endpoint, keys []address.Address) {
	if literal[e] == nil {
		literal[e] = map[string]bool{}
	}
	for i := range keys {
		if len(r.errs) >= maxErrors {
			return
		}
		if literal[e][keys[i].Original] && !slices.ContainsFunc(keys[:i], func(a address.Address) bool { return a.Original == keys[i].Original }) {
			r.fail(keys[i].Token.Errf("ambiguous site definition: %s", caddyfile.Shorten(keys[i].Original)))
		}
	}
	for i := range keys {
		literal[e][keys[i].Original] = true
	}
}

// listenersOf are the endpoints of one key.
func (r *run) listenersOf(s *site, key address.Address) []endpoint {
	port, err := key.ListenPort(r.options.ports)
	if err != nil {
		r.fail(placed(key.Token, err))
		return nil
	}
	binds := s.pile.binds
	if len(binds) == 0 && !s.pile.bound {
		if binds = r.options.binds; len(binds) == 0 {
			binds = []bind{{}}
		}
	}
	protocols := map[string][]string{}
	var order []string
	for _, b := range binds {
		address, err := listenAddress(b.host, port)
		if err != nil {
			r.fail(placed(b.token, err))
			continue
		}
		if _, seen := protocols[address]; !seen {
			order = append(order, address)
		}
		protocols[address] = b.protocols // of several, the last counts
	}
	var out []endpoint
	for _, address := range order {
		if len(protocols[address]) == 0 {
			out = append(out, endpoint{address, ""})
		}
		for i, p := range protocols[address] {
			if !slices.Contains(protocols[address][:i], p) {
				out = append(out, endpoint{address, p})
			}
		}
	}
	return out
}

// listenAddress is the address of a server for a host, with a network in front
// perhaps, and a port.
func listenAddress(host, port string) (string, error) {
	network, rest, ok := strings.Cut(host, "/")
	if !ok || strings.HasPrefix(network, "{") {
		network, rest = "", host
	}
	network = strings.ToLower(strings.TrimSpace(network))
	if strings.HasPrefix(network, "unix") || strings.HasPrefix(network, "fd") {
		if rest == "" {
			return "", fmt.Errorf("parsing network address: '%s' has no path", caddyfile.Shorten(host))
		}
		return network + "/" + rest, nil
	}
	address := net.JoinHostPort(bindHost(rest), port)
	if network == "" || network == "tcp" {
		return address, nil
	}
	return network + "/" + address, nil
}

// bindHost is a host without brackets and port.
func bindHost(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		return h
	}
	if h, _, err := net.SplitHostPort(s + ":0"); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
}
