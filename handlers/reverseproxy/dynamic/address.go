package dynamic

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Address is the source a: an upstream for each address of a name.
type Address struct {
	// Name is the name of the host. It may hold placeholders.
	Name string `json:"name"`
	// Port is the port of all upstreams. It may hold placeholders. Default: 80.
	Port string `json:"port"`
	// Refresh is how long an answer is good. After that requests still use it while the next one is under way. Default: 1m.
	Refresh module.Duration `json:"refresh" check:"min=0"`
	// Resolver is the DNS servers to ask. Default: those of the system.
	Resolver *ResolverConfig `json:"resolver"`
	// DialTimeout bounds the making of a connection to a server of resolver. Default: 0, no bound of its own.
	DialTimeout module.Duration `json:"dial_timeout" check:"min=0"`
	// DialFallbackDelay is the head start that IPv6 has over IPv4 on the way to a server of resolver; negative turns the race
	// off. Default: 300ms.
	DialFallbackDelay module.Duration `json:"dial_fallback_delay"`
	// Versions is the kinds of addresses to ask for. Default: both.
	Versions *Versions `json:"versions"`
}

// Versions is versions of the Internet protocol. If one is true and the other is not given, only that one is asked for;
// if none is true, both are.
type Versions struct {
	// IPv4 asks for IPv4 addresses. Default: see there.
	IPv4 *bool `json:"ipv4"`
	// IPv6 asks for IPv6 addresses. Default: see there.
	IPv6 *bool `json:"ipv6"`
}

// network is what to ask for.
func (v *Versions) network() string {
	four := v != nil && v.IPv4 != nil && *v.IPv4
	six := v != nil && v.IPv6 != nil && *v.IPv6
	switch {
	case four && !six:
		return "ip4"
	case six && !four:
		return "ip6"
	}
	return "ip"
}

func addressSpec() module.Spec {
	return module.New(Namespace+".a", "Takes the addresses of a name as upstreams.", nil, compileAddress,
		module.Examples(
			module.Example{Title: "Balance over all addresses of a name.", JSON: `{"source":"a","name":"app.internal","port":"8080"}`},
			module.Example{Title: "Use IPv4 only, and look again every ten seconds.",
				JSON: `{"source":"a","name":"app.internal","refresh":"10s","versions":{"ipv4":true,"ipv6":false}}`},
		),
		module.Words(readAddress))
}

type address struct {
	asker
	server     server
	name, port vars.Text
	network    string
}

func compileAddress(env *module.Env, c *Address) (Source, error) {
	cache := module.Service[*Cache](env)
	a := &address{asker: newAsker(cache, c.Refresh, 0), name: vars.Parse(c.Name), port: vars.Parse(c.Port), network: c.Versions.network()}
	if c.Port == "" {
		a.port = vars.Parse("80")
	}
	var problems schema.Problems
	a.server, problems = cache.server(env, dnsConfig{c.Resolver, c.DialTimeout, c.DialFallbackDelay})
	if c.Name == "" {
		problems = append(problems, module.Problem("/name", "name is missing; give the name of a host")...)
	}
	if literal(a.port) {
		if _, err := parsePort(a.port.Source()); err != nil {
			problems = append(problems, schema.Problem{Pointer: "/port", Found: c.Port, Message: err.Error()})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if literal(a.name, a.port) {
		key, name, port, err := a.question(nothing)
		if err != nil {
			return nil, module.Problem("/name", err.Error())
		}
		a.own(env, key, a.lookup(name, port))
	}
	return a, nil
}

func parsePort(text string) (string, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q is no port; want a number from 1 to 65535", text)
	}
	return strconv.FormatUint(n, 10), nil
}

// question returns the name to look up, the port of the upstreams, and the key of both.
func (a *address) question(scope vars.Scope) (key, name, port string, err error) {
	name = a.name.Expand(scope, vars.All, "")
	if err = checkName(name); err != nil {
		return "", "", "", err
	}
	port, err = parsePort(a.port.Expand(scope, vars.All, ""))
	return a.network + " " + a.server.key + " " + name + " " + port, name, port, err
}

// Upstreams implements [Source]. An answer is not looked up again for a retry (DYN-2).
func (a *address) Upstreams(q Query) (*List, error) {
	q.Again = false
	if e := a.entry; e != nil {
		return a.cache.ask(e, q, a.terms, a.look)
	}
	key, name, port, err := a.question(q.Scope)
	if err != nil {
		return nil, err
	}
	return a.cache.ask(a.cache.at(key), q, a.terms, a.lookup(name, port))
}

func (a *address) lookup(name, port string) lookup {
	resolver, network := a.server.resolver, a.network
	return func(ctx context.Context) ([]string, error, error) { //nolint:staticcheck // as type lookup says
		found, err := resolver.LookupNetIP(ctx, network, name)
		if err != nil {
			return nil, nil, fmt.Errorf("looking up the addresses of %q: %w", name, err)
		}
		dials := make([]string, len(found))
		for i, ip := range found {
			dials[i] = net.JoinHostPort(ip.Unmap().String(), port)
		}
		return dials, nil, nil
	}
}
