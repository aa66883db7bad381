package reverseproxy

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/breaker"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/httptransport"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/internal/idleread"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/upstream"
)

// Specs describes the handler, its transport http, its selection policies, its circuit breakers and its sources of
// upstreams.
func Specs() []module.Spec {
	return slices.Concat([]module.Spec{Spec()}, httptransport.Specs(), selection.Specs(), breaker.Specs(), dynamic.Specs())
}

// Spec describes the handler. It needs two services: the [*upstream.Pool] and the [*upstream.Transports] of the process.
func Spec() module.Spec {
	return module.New("http.handlers.reverse_proxy", "Sends requests to upstream servers and their answers back.", nil, compile,
		module.Examples(
			module.Example{Title: "Proxy to one server.", JSON: `{"handler":"reverse_proxy","upstreams":[{"dial":"10.20.0.1:8080"}]}`},
			module.Example{Title: "Ask two servers every 10 seconds how they are, and leave one alone for half a minute after three failures.",
				JSON: `{"handler":"reverse_proxy","upstreams":[{"dial":"10.20.0.1:8080"},{"dial":"10.20.0.2:8080"}],` +
					`"health_checks":{"active":{"uri":"/healthz","interval":"10s"},"passive":{"fail_duration":"30s","max_fails":3,"unhealthy_status":[5]}}}`},
			module.Example{Title: "Balance over two servers, one of them on a unix socket, and try the other one when one fails.",
				JSON: `{"handler":"reverse_proxy","upstreams":[{"dial":"10.20.0.1:8080","max_requests":200},{"dial":"unix//run/app.sock"}],` +
					`"load_balancing":{"selection_policy":{"policy":"least_conn"},"retries":2,"try_interval":"100ms"},` +
					`"headers":{"request":{"set":{"X-Tenant":["{http.request.host}"]}}},` +
					`"transport":{"protocol":"http","dial_timeout":"1s","response_header_timeout":"30s"}}`},
		),
		module.Directives(module.Directive{Name: "reverse_proxy", Read: readDirective}))
}

func compile(env *module.Env, c *Config) (handlers.Handler, error) {
	h := &Handler{
		hosts:           module.Service[*upstream.Pool](env),
		retry:           compileRetry(&c.LoadBalancing),
		flushInterval:   time.Duration(c.FlushInterval),
		requestBuffers:  c.RequestBuffers,
		responseBuffers: c.ResponseBuffers,
		streamTimeout:   time.Duration(c.StreamTimeout),
		streamBuffers:   defaultStreamBuffers,
		place:           env.State("place", func() any { return &upstream.Place{} }).(*upstream.Place),
		succession:      env.SteadyState("succession", func() any { return &succession{} }).(*succession),
		verbose:         c.VerboseLogs,
		responses:       route.CompileResponses(c.HandleResponse),
	}
	if c.StreamBufferSize > 0 {
		h.streamBuffers = idleread.NewBuffers(c.StreamBufferSize)
	}
	problems := h.read(c)
	ops, err := compileOperations(c)
	problems = append(problems, err...)
	if len(problems) > 0 {
		return nil, problems
	}
	h.ops = ops
	c.warn(env)
	if h.policy = c.LoadBalancing.SelectionPolicy.Value(); h.policy == nil {
		h.policy = selection.RoundRobin(env)
	}
	if h.transport = c.Transport.Value(); h.transport == nil {
		h.transport = httptransport.New(env)
	}
	if h.traits = upstream.TraitsOf(h.transport); h.requestBuffers == 0 {
		h.requestBuffers = h.traits.RequestBuffers
	}
	if problems := h.compileHealth(env, c); len(problems) > 0 {
		return nil, problems
	}
	h.own(env, c)
	h.ownDynamic(env, c)
	return h, nil
}

// read takes over upstreams and trusted proxies.
func (h *Handler) read(c *Config) (problems schema.Problems) {
	for _, u := range c.Upstreams {
		h.upstreams = append(h.upstreams, selection.New(u.Dial, u.MaxRequests))
	}
	trusted, bad, err := parsePrefixes(c.TrustedProxies)
	if err != nil {
		problems = append(problems, schema.Problem{
			Pointer: "/trusted_proxies/" + strconv.Itoa(bad), Found: c.TrustedProxies[bad], Expected: "an IP address or a CIDR prefix",
			Message: fmt.Sprintf("%q is neither an IP address nor a CIDR prefix", c.TrustedProxies[bad]),
		})
	}
	h.trusted = trusted
	return problems
}

// own hands over what has to be acquired: the hosts, and the end of the tunnels if they have one.
func (h *Handler) own(env *module.Env, c *Config) {
	env.Own(module.Acquired(h.acquire, h.release))
	env.Own(standing{h, env.Node()})
	h.ownHealth(env)
	if c.StreamCloseDelay > 0 {
		h.tunnels = &tunnels{delay: time.Duration(c.StreamCloseDelay)}
		env.Own(module.Acquired(func() error { return nil }, h.tunnels.unload))
	}
}

func (h *Handler) acquire() error {
	for _, u := range h.upstreams {
		u.Attach(h.hosts.Acquire(u.Dial))
	}
	return nil
}

// release leaves the hosts in place for requests that let go of their generation; they are counted there.
func (h *Handler) release() {
	for _, u := range h.upstreams {
		h.hosts.Release(u.Host)
	}
}

func (c *Config) warn(env *module.Env) {
	for i, u := range c.Upstreams {
		if u.Dial == "" {
			env.Warn("/upstreams/"+strconv.Itoa(i)+"/dial", "dial is empty, so requests to this upstream fail; give an address such as 10.20.0.1:8080")
		}
	}
	if c.RequestBuffers < 0 {
		env.Warn("/request_buffers", "request bodies are read into memory without limit; a client decides how much that is")
	}
	if c.ResponseBuffers < 0 {
		env.Warn("/response_buffers", "response bodies are read into memory without limit; an upstream decides how much that is")
	}
}
