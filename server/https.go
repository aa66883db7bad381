package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/internal/urlpath"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/wire"
)

// Certificates is the certificates of the process, as far as HTTP servers need
// them. It is a service. It is safe for concurrent use.
type Certificates interface {
	handshake.Source
	// Manage begins to look after the certificates of names, and stops for
	// others. It does not wait for anything. A name that a loaded certificate
	// covers is left alone.
	Manage(added, removed []string)
	// ManageAlways is Manage for names that are looked after whatever is loaded.
	// The two do not know of each other's names.
	ManageAlways(added, removed []string)
	// SetPorts says which ports stand for 80 and 443, where certificate
	// authorities ask back.
	SetPorts(http, https int)
	ServedNames
	// AnswerChallenge answers a request of a certificate authority, and reports
	// whether it was one that this process or its like has asked for.
	AnswerChallenge(w http.ResponseWriter, r *http.Request) bool
}

// spoken is the protocols at one address.
type spoken struct {
	h1, h2, h2c, h3 bool
	tls             bool
}

// stream reports whether a socket for streams is wanted.
func (s spoken) stream() bool { return s.h1 || s.h2c || s.h2 && s.tls }

// clear is what clients may speak without TLS.
func (s spoken) clear() wire.Protocols {
	return wire.Protocols{HTTP1: s.h1, UnencryptedHTTP2: s.h2c || s.h1 && s.h2}
}

// alpn is the protocols to agree on in a handshake over TCP.
func (s spoken) alpn() (list []string) {
	if s.h2 {
		list = append(list, "h2")
	}
	if s.h1 {
		list = append(list, "http/1.1")
	}
	return list
}

// decision is what becomes of a server: explicit policies, and what automatic
// HTTPS adds (tls-pki, section 10.1).
type decision struct {
	tls       bool // on all its addresses but those of the HTTP port
	manages   bool // certificates for its names
	redirects bool
	policies  *handshake.Policies
}

// decide looks at no name by itself, so it costs the same for any number.
func (s *boundServer) decide(app *App) decision {
	d := decision{policies: s.policies}
	onlyHTTP, onlyHTTPS := s.onlyAt(app.httpPort), s.onlyAt(app.httpsPort)
	explicit := s.policies.Len() > 0
	switch {
	case onlyHTTP || len(s.addrs) == 0:
		return decision{}
	case s.https.Disable:
		d.tls = explicit
		return d
	}
	absent := s.policies == nil
	if absent && onlyHTTPS {
		d.policies, absent, explicit = app.defaults, false, true
	}
	named := s.namesHosts()
	if !named && !explicit {
		return decision{}
	}
	if absent {
		d.policies, explicit = app.defaults, true
	}
	d.tls = explicit
	d.manages = named && !s.https.DisableCertificates
	d.redirects = !s.https.DisableRedirects
	return d
}

// expand finds out what host patterns with placeholders say. One that says
// nothing is an error where certificates depend on it (tls-pki, 10.1 rule 4).
func (s *boundServer) expand(env *module.Env, app *App, at string) (ps schema.Problems) {
	if s.https.Disable || s.onlyAt(app.httpPort) {
		return nil
	}
	for pattern := range s.Server.routes.Templated().All() {
		name := env.ExpandKnown(pattern)
		if name == "" {
			ps = append(ps, schema.Problem{
				Pointer: at, Found: pattern, Message: fmt.Sprintf("the placeholders of host %q say nothing, so no certificate can be had for it", pattern),
				Expected: "a placeholder that has a value when the process starts, or automatic_https.disable",
			})
		}
		if s.expanded == nil {
			s.expanded = map[string]bool{}
		}
		s.expanded[strings.ToLower(name)] = true
	}
	return ps
}

// onlyAt reports whether the server listens, and at no other port.
func (s *Server) onlyAt(port int) bool {
	return len(s.addrs) > 0 && !slices.ContainsFunc(s.addrs, func(a listenAddr) bool { return int(a.addr.StartPort) != port })
}

// namesHosts reports whether a route names a host that is not skipped.
func (s *boundServer) namesHosts() bool {
	for name := range s.expanded {
		if !slices.Contains(s.https.Skip, name) {
			return true
		}
	}
	hosts := s.routes.Hosts()
	n := hosts.Len() - s.routes.Templated().Len()
	for i, name := range s.https.Skip {
		if hosts.Has(name) && !slices.Contains(s.https.Skip[:i], name) {
			n--
		}
	}
	return n > 0
}

// settingsAt is the limits of the server where it speaks p.
func (b *boundServer) settingsAt(p spoken) *wire.Settings {
	if s := b.settings[p]; s != nil {
		return s
	}
	return &noSettings
}

// prepareSettings makes the limits for one way to speak.
func (b *boundServer) prepareSettings(p spoken, source handshake.Source) {
	if b.settings[p] != nil {
		return
	}
	set := b.limits
	set.Protocols, set.EarlyData = p.clear(), b.earlyData
	set.Openers = slices.Concat(b.wrappers.before, b.wrappers.behind)
	if p.tls {
		set.Openers = b.wrappers.before
		bound := b.decision.policies.Bind(source, p.alpn())
		entry := &tls.Config{GetConfigForClient: bound.ConfigForClient}
		if keys, ok := source.(handshake.ECHSource); ok { // before there is a policy, since they hide what it is found by
			entry.GetEncryptedClientHelloKeys = keys.ECHKeys
		}
		set.TLS = &wire.TLS{
			Config:        entry,
			RedirectLimit: b.wrappers.redirect, Inside: b.wrappers.behind,
		}
	}
	b.settings[p] = &set
}

// altSvc is the header that tells of HTTP/3 at ports (RFC 7838), nil if there are none.
func altSvc(ports ...uint) []string {
	var all []string
	for _, port := range ports {
		all = append(all, `h3=":`+strconv.FormatUint(uint64(port), 10)+`"; ma=2592000`)
	}
	if len(all) == 0 {
		return nil
	}
	return []string{strings.Join(all, ", ")}
}

// redirector answers requests in clear text for hosts that are served with TLS.
type redirector struct {
	app     *App
	servers []*boundServer // that have redirects
	any     bool           // whatever the host is
}

// httpsPortOf is the port where a server is reached with TLS; the HTTPS port is
// preferred.
func (b *boundServer) httpsPortOf(app *App) int {
	port := 0
	for _, a := range b.addrs {
		if p := int(a.addr.StartPort); p != app.httpPort && (port == 0 || p == app.httpsPort) {
			port = p
		}
	}
	return port
}

// route makes a route of it, to be laid over others.
func (r *redirector) route() *route.Route { return route.Of(r) }

// ServeHTTP implements handlers.Handler: 308 to the same with TLS, or what
// follows.
func (r *redirector) ServeHTTP(w http.ResponseWriter, req *http.Request, next handlers.Next) error {
	if req.TLS != nil {
		return next.ServeHTTP(w, req)
	}
	host := urlpath.Host(req.Host)
	port, ok := r.target(strings.ToLower(host))
	if !ok {
		return next.ServeHTTP(w, req)
	}
	to := host
	if port != 443 && port != 80 && port != r.app.httpPort && port != r.app.httpsPort {
		to += ":" + strconv.Itoa(port)
	}
	h := w.Header()
	h["Location"], h["Connection"] = []string{"https://" + to + req.URL.RequestURI()}, []string{"close"}
	w.WriteHeader(http.StatusPermanentRedirect)
	return nil
}

// target is the port where the host is served with TLS.
func (r *redirector) target(host string) (port int, ok bool) {
	for _, b := range r.servers {
		if !b.servesName(host) {
			continue
		}
		p := b.httpsPortOf(r.app)
		if p == r.app.httpsPort {
			return p, true
		}
		if !ok {
			port, ok = p, true
		}
	}
	if !ok && r.any {
		return r.app.httpsPort, true
	}
	return port, ok
}

// servesName reports whether a route of the server names the host, which is not
// skipped.
func (b *boundServer) servesName(host string) bool {
	hosts := b.routes.Hosts()
	if (hosts.Has(host) || b.expanded[host]) && !slices.Contains(b.https.Skip, host) {
		return true
	}
	for i := range len(host) {
		if host[i] == '.' {
			wild := "*" + host[i:]
			return (hosts.Has(wild) || b.expanded[wild]) && !slices.Contains(b.https.Skip, wild)
		}
	}
	return false
}

// redirectServer is the name of the server that redirects where no other
// listens on the HTTP port.
const redirectServer = "remaining_auto_https_redirects"

// datagramWant is a UDP address and whose it is.
type datagramWant struct {
	addr  netaddr.Addr
	owner *boundServer
	speak spoken
}

// sameDatagrams reports whether two apps want the same UDP sockets.
func sameDatagrams(a, b *App) bool {
	return slices.EqualFunc(a.datagrams, b.datagrams, func(x, y datagramWant) bool {
		return x.addr == y.addr && x.speak == y.speak && x.owner.name == y.owner.name
	})
}

// redirectAddr is where requests in clear text for an address with TLS arrive.
func (app *App) redirectAddr(a netaddr.Addr) (netaddr.Addr, bool) {
	if _, ok := listen.DatagramAddr(a); !ok || a.IsUnix() || a.IsFD() {
		return a, false
	}
	a.StartPort, a.EndPort = uint(app.httpPort), uint(app.httpPort)
	return a, true
}

// overlaps reports whether two addresses of one port cannot be listened on both.
func overlaps(a, b netaddr.Addr) bool {
	return a.StartPort == b.StartPort && (a.Host == b.Host || a.IsWildcard() || b.IsWildcard())
}

// addRedirects lays redirects over the servers that listen on the HTTP port, and
// makes a server for the addresses where none does.
func (app *App) addRedirects(process *Process) {
	var from []*boundServer
	for _, b := range app.inOrder() {
		if b.decision.redirects && b.decision.tls {
			from = append(from, b)
		}
	}
	if len(from) == 0 {
		return
	}
	laid := map[*boundServer][]*boundServer{}
	var rest []listenAddr
	for _, b := range from {
		for _, a := range b.addrs {
			at, ok := app.redirectAddr(a.addr)
			if !ok || int(a.addr.StartPort) == app.httpPort {
				continue
			}
			if other := app.listenerAt(at); other != nil {
				if !slices.Contains(laid[other], b) {
					laid[other] = append(laid[other], b)
				}
				continue
			}
			if !slices.ContainsFunc(rest, func(l listenAddr) bool { return overlaps(l.addr, at) }) {
				rest = append(rest, listenAddr{addr: at, names: spoken{h1: true}})
			}
		}
	}
	for other, servers := range laid {
		named, catchAll := &redirector{app: app, servers: servers}, &redirector{app: app, servers: servers, any: true}
		other.routes = other.routes.Overlaid(named.route(), catchAll.route())
	}
	if len(rest) == 0 {
		return
	}
	app.addRedirectServer(process, from[0], rest, &redirector{app: app, servers: from, any: true})
}

func (app *App) addRedirectServer(process *Process, origin *boundServer, addrs []listenAddr, to *redirector) {
	server := &Server{
		addrs: addrs, limits: origin.limits, keepAlive: origin.keepAlive, routes: (*route.List)(nil).Overlaid(to.route(), to.route()),
		client: origin.client, source: origin.source, filter: origin.filter, access: origin.access,
	}
	b := &boundServer{Server: server, name: redirectServer, process: process, routes: server.routes, settings: map[spoken]*wire.Settings{}}
	app.servers[redirectServer] = b
	for _, a := range addrs {
		app.want(b, a)
	}
}

// listenerAt finds the server that has an address of the HTTP port.
func (app *App) listenerAt(at netaddr.Addr) *boundServer {
	for _, b := range app.inOrder() {
		for _, a := range b.addrs {
			if int(a.addr.StartPort) == app.httpPort && overlaps(a.addr, at) {
				return b
			}
		}
	}
	return nil
}

// checkTLS turns on what client certificates need.
func (s *Server) checkTLS(c *ServerConfig, env *module.Env) {
	if s.policies.NeedsStrictSNI() && c.StrictSNIHost == nil {
		env.Warn("/tls_connection_policies", "clients are asked for certificates, so strict_sni_host is on: a request whose Host is not the name of the handshake gets 421")
		s.strictSNI = true
	}
}
