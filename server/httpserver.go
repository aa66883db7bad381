package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/wire"
)

// Module IDs of what only this package makes.
const (
	RootID   = "sluice.config"
	httpID   = "http"
	serverID = "http.server"
)

// Server is one compiled HTTP server. It does not know its name: that belongs
// to the app, so that a renamed server is not rebuilt.
type Server struct {
	addrs     []listenAddr
	limits    wire.Settings // whatever is spoken
	keepAlive net.KeepAliveConfig
	routes    *route.List
	errors    *route.List
	named     map[string]*route.Route
	source    clientip.Source
	client    clientip.Options
	filter    *clientip.HeaderFilter
	access    *logs.Access
	https     AutoHTTPSConfig
	strictSNI bool
	policies  *handshake.Policies // nil if the document says nothing of them
	earlyData bool
	wrappers  wrappers
	metrics   *MetricsConfig
}

// listenAddr is one socket that a server wants, and what it speaks there.
type listenAddr struct {
	addr  netaddr.Addr
	index int // within the listen field
	names spoken
}

func compileServer(env *module.Env, c *ServerConfig) (*Server, error) {
	s := &Server{
		keepAlive: listen.KeepAlive(time.Duration(c.KeepAliveInterval), time.Duration(c.KeepAliveIdle), c.KeepAliveCount),
		routes:    c.Routes.Value(),
		https:     c.AutomaticHTTPS,
		named:     map[string]*route.Route{},
		metrics:   c.Metrics,
	}
	if c.Metrics != nil {
		env.Warn("/metrics", "metrics in a server is an older place; use apps.http.metrics")
	}
	var ps schema.Problems
	s.limits = settings(c)
	s.wrappers, ps = readWrappers(c)
	s.earlyData = c.Allow0RTT == nil || *c.Allow0RTT
	if c.TLSConnectionPolicies.Set() {
		s.policies = c.TLSConnectionPolicies.Value()
	}
	s.strictSNI = c.StrictSNIHost != nil && *c.StrictSNIHost
	s.checkTLS(c, env)
	if c.Errors != nil {
		s.errors = c.Errors.Routes.Value()
	}
	for name, r := range c.NamedRoutes {
		s.named[name] = r.Value()
	}
	fail := func(pointer string, err error) {
		var several schema.Problems
		switch {
		case errors.As(err, &several):
			ps = append(ps, several.Under(pointer)...)
		case err != nil:
			ps = append(ps, schema.Problem{Pointer: pointer, Message: err.Error()})
		}
	}
	ps = append(ps, s.listenOn(env, c)...)
	s.client = clientip.Options{Headers: clientHeaders(c), Strict: c.TrustedProxiesStrict > 0, Unix: c.TrustedProxiesUnix}
	if c.TrustedProxies.Set() {
		s.source = c.TrustedProxies.Value()
	}
	var err error
	s.filter, err = clientip.NewHeaderFilter(c.ExpectedUnderscoreHeaders, c.ExpectedDotHeaders)
	fail("", err)
	if c.Logs != nil {
		s.access, err = logs.NewAccess(c.Logs, env.Expand)
		fail("/logs", err)
	}
	if len(ps) > 0 {
		return nil, ps
	}
	return s, nil
}

func clientHeaders(c *ServerConfig) []string {
	if c.ClientIPHeaders == nil {
		return []string{"X-Forwarded-For"}
	}
	return *c.ClientIPHeaders
}

// listenOn parses the addresses and decides what is spoken on each.
func (s *Server) listenOn(env *module.Env, c *ServerConfig) schema.Problems {
	var ps schema.Problems
	if n := len(c.ListenProtocols); n > 0 && n != len(c.Listen) {
		ps = append(ps, schema.Problem{Pointer: "/listen_protocols", Message: fmt.Sprintf("listen_protocols has %d entries and listen has %d; they must be as many", n, len(c.Listen))})
	}
	for i, text := range c.Listen {
		pointer := "/listen/" + strconv.Itoa(i)
		expanded, err := env.ExpandStrict(text)
		if err != nil {
			ps = append(ps, schema.Problem{Pointer: pointer, Message: err.Error(), Found: text})
			continue
		}
		addr, err := netaddr.Parse(expanded)
		if err != nil {
			ps = append(ps, schema.Problem{Pointer: pointer, Message: err.Error(), Found: text})
			continue
		}
		names := protocolsAt(c, i)
		for k := range addr.Count() {
			s.addrs = append(s.addrs, listenAddr{addr.At(k), i, names})
		}
	}
	return ps
}

// protocolsAt is what is to be spoken on one address.
func protocolsAt(c *ServerConfig, i int) spoken {
	names := c.Protocols
	if len(names) == 0 {
		names = []string{"h1", "h2", "h3"}
	}
	if i < len(c.ListenProtocols) && len(c.ListenProtocols[i]) > 0 {
		own := slices.Clone(c.ListenProtocols[i])
		if k := slices.Index(own, ""); k >= 0 {
			own = slices.Delete(own, k, k+1)
			for _, n := range names {
				if !slices.Contains(own, n) {
					own = append(own, n)
				}
			}
		}
		names = own
	}
	has := func(n string) bool { return slices.Contains(names, n) }
	return spoken{h1: has("h1"), h2: has("h2"), h2c: has("h2c"), h3: has("h3")}
}

func settings(c *ServerConfig) wire.Settings {
	or := func(d module.Duration, def time.Duration) time.Duration {
		if d == 0 {
			return def
		}
		return time.Duration(d)
	}
	return wire.Settings{
		ReadTimeout:       time.Duration(c.ReadTimeout),
		ReadHeaderTimeout: or(c.ReadHeaderTimeout, time.Minute),
		ReadIdleTimeout:   or(c.ReadIdleTimeout, time.Minute),
		ReadMinRate:       c.ReadMinRate,
		WriteTimeout:      time.Duration(c.WriteTimeout),
		WriteIdleTimeout:  or(c.WriteIdleTimeout, time.Minute),
		WriteMinRate:      c.WriteMinRate,
		MaxWriteChunk:     c.MaxWriteChunk,
		IdleTimeout:       or(c.IdleTimeout, 5*time.Minute),
		MaxHeaderBytes:    c.MaxHeaderBytes,
		EnableFullDuplex:  c.EnableFullDuplex,
	}
}

// ClientOf implements handlers.Client.
func (s *Server) ClientOf(r *http.Request) (ip string, trusted bool) {
	var prefixes []netip.Prefix
	if s.source != nil {
		prefixes = s.source.Prefixes(r)
	}
	return clientip.Find(r.RemoteAddr, r.Header, prefixes, s.client)
}
