package dynamic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// SRV is the source srv: the upstreams that the SRV records of a name list, in order of their priority and, within one,
// at random by their weight.
type SRV struct {
	// Service is the service without underscore, such as "api". It may hold placeholders. Default: none, name is the name of
	// the records.
	Service string `json:"service"`
	// Proto is "tcp" or "udp", without underscore. It may hold placeholders. Default: none, as with service.
	Proto string `json:"proto"`
	// Name is the domain; without service and proto it is the whole name of the records, such as "_api._tcp.example.com". It
	// may hold placeholders.
	Name string `json:"name"`
	// Refresh is how long an answer is good. After that requests still use it while the next one is under way. Default: 1m.
	Refresh module.Duration `json:"refresh" check:"min=0"`
	// GracePeriod is how long, after a lookup that failed, the answer from before is used until the next try. Default: 0: the
	// static upstreams are used if there are any, else the answer from before; the next try comes after a second.
	GracePeriod module.Duration `json:"grace_period" check:"min=0"`
	// Resolver is the DNS servers to ask. Default: those of the system.
	Resolver *ResolverConfig `json:"resolver"`
	// DialTimeout bounds the making of a connection to a server of resolver. Default: 0, no bound of its own.
	DialTimeout module.Duration `json:"dial_timeout" check:"min=0"`
	// DialFallbackDelay is the head start that IPv6 has over IPv4 on the way to a server of resolver; negative turns the race
	// off. Default: 300ms.
	DialFallbackDelay module.Duration `json:"dial_fallback_delay"`
	// DialNetwork is the network by which the upstreams are reached: tcp, tcp4 or tcp6. Default: tcp.
	DialNetwork string `json:"dial_network" check:"enum=|tcp|tcp4|tcp6"`
}

func srvSpec() module.Spec {
	return module.New(Namespace+".srv", "Takes the upstreams from the SRV records of a name.", nil, compileSRV,
		module.Examples(
			module.Example{Title: "Ask for all records of a service.", JSON: `{"source":"srv","service":"api","proto":"tcp","name":"example.com"}`},
			module.Example{Title: "Ask a server of one's own, and bridge a failure of it.",
				JSON: `{"source":"srv","name":"_api._tcp.example.com","refresh":"30s","grace_period":"10s","resolver":{"addresses":["10.0.0.53"]}}`},
		),
		module.Words(readSRV))
}

type srv struct {
	asker
	server               server
	service, proto, name vars.Text
	network              string
}

func compileSRV(env *module.Env, c *SRV) (Source, error) {
	cache := module.Service[*Cache](env)
	s := &srv{asker: newAsker(cache, c.Refresh, c.GracePeriod), service: vars.Parse(c.Service), proto: vars.Parse(c.Proto), name: vars.Parse(c.Name)}
	if c.DialNetwork != "" {
		s.network = c.DialNetwork + "/"
	}
	var problems schema.Problems
	s.server, problems = cache.server(env, dnsConfig{c.Resolver, c.DialTimeout, c.DialFallbackDelay})
	switch {
	case c.Name == "":
		problems = append(problems, module.Problem("/name", "name is missing; give the domain, or the name of the records such as _api._tcp.example.com")...)
	case c.Service == "" && c.Proto != "":
		problems = append(problems, module.Problem("/service", "service is missing beside proto; give both, or the name of the records in name alone")...)
	case c.Service != "" && c.Proto == "":
		problems = append(problems, module.Problem("/proto", "proto is missing beside service; give both, or the name of the records in name alone")...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if literal(s.service, s.proto, s.name) {
		key, name, err := s.question(nothing)
		if err != nil {
			return nil, module.Problem("/name", err.Error())
		}
		s.own(env, key, s.lookup(name))
	}
	return s, nil
}

// question returns the name to look up, and the key of it.
func (s *srv) question(scope vars.Scope) (key, name string, err error) {
	name = s.name.Expand(scope, vars.All, "")
	service, proto := s.service.Expand(scope, vars.All, ""), s.proto.Expand(scope, vars.All, "")
	if service != "" || proto != "" {
		name = "_" + service + "._" + proto + "." + name
	}
	return "srv " + s.network + " " + s.server.key + " " + name, name, checkName(name)
}

// Upstreams implements [Source].
func (s *srv) Upstreams(q Query) (*List, error) {
	if e := s.entry; e != nil {
		return s.cache.ask(e, q, s.terms, s.look)
	}
	key, name, err := s.question(q.Scope)
	if err != nil {
		return nil, err
	}
	return s.cache.ask(s.cache.at(key), q, s.terms, s.lookup(name))
}

func (s *srv) lookup(name string) lookup {
	resolver, network := s.server.resolver, s.network
	return func(ctx context.Context) ([]string, error, error) { //nolint:staticcheck // as type lookup says
		_, records, err := resolver.LookupSRV(ctx, "", "", name)
		byWeight(records)
		dials := make([]string, 0, len(records))
		for _, r := range records {
			switch {
			case r.Target == ".": // "the service is decidedly not available" (RFC 2782)
			case !isTarget(r.Target):
				err = errors.Join(err, fmt.Errorf("looking up the SRV records of %q: the target %q is no host name", name, r.Target))
			default:
				dials = append(dials, network+net.JoinHostPort(r.Target, strconv.Itoa(int(r.Port))))
			}
		}
		if len(dials) == 0 && err != nil {
			return nil, nil, fmt.Errorf("looking up the SRV records of %q: %w", name, err)
		}
		return dials, err, nil
	}
}

// isTarget reports whether a target is a name and nothing that a dial text gives another meaning.
func isTarget(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

var nop = zap.NewNop()
