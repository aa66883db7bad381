package reverseproxy

import (
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/breaker"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/health"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

// compileHealth reads the health checks and the circuit breaker. The transport is known by then.
func (h *Handler) compileHealth(env *module.Env, c *Config) schema.Problems {
	plan, problems := health.Compile(c.HealthChecks, health.Deps{
		Pool:      h.hosts,
		Breaker:   c.CircuitBreaker.Value(),
		Transport: h.transport,
		Globals:   env.Globals(),
		Log: func() *zap.Logger {
			return module.Service[*logs.Switch](env).Logger(LoggerName + ".health_checker.active")
		},
		Warn: func(pointer, message string) { env.Warn("/health_checks"+pointer, message) },
	})
	if h.health = plan; plan != nil {
		for _, u := range h.upstreams {
			if u.MaxRequests == 0 {
				u.MaxRequests = plan.RequestLimit // HOST-4
			}
		}
	}
	return problems.Under("/health_checks")
}

// ownHealth watches the upstreams as long as the handler is in use. It comes after their hosts.
func (h *Handler) ownHealth(env *module.Env) {
	if h.health == nil {
		return
	}
	list := h.upstreams
	env.Own(h.health.Resource(len(list),
		func(i int) *upstream.Host { return list[i].Host }, func(i int, w *health.Watch) { list[i].Watch = w }))
	if h.health.MinHealthy > 0 {
		env.Own(module.Acquired(func() error { h.blind = blindly(list); return nil }, func() {}))
	}
}

// blindly returns the upstreams as they are seen when health does not count.
func blindly(list []*selection.Upstream) []*selection.Upstream {
	out := make([]*selection.Upstream, len(list))
	for i, u := range list {
		out[i] = u.Blindly()
	}
	return out
}

// candidates is the static upstreams to choose from.
func (h *Handler) candidates() []*selection.Upstream { return h.fit(h.upstreams, h.blind) }

// fit is which of the upstreams to choose from. When too few are healthy, health does not count.
func (h *Handler) fit(list, blind []*selection.Upstream) []*selection.Upstream {
	if blind == nil {
		return list
	}
	healthy := 0
	for _, u := range list {
		if u.Healthy() {
			if healthy++; healthy >= h.health.MinHealthy {
				return list
			}
		}
	}
	return blind
}

// leave gives back what the attempt has claimed of an upstream, unless that was done before.
func (p *proxying) leave(u *selection.Upstream) {
	if !p.left {
		u.Host.End()
		p.visit.Leave()
	}
}

// depart ends an attempt, unless a tunnel that goes on does.
func (p *proxying) depart() {
	if p.detached {
		return
	}
	if p.counted {
		p.h.hosts.Leave(p.address.HostPort)
	}
	p.leave(p.upstream)
}

// leaveEarly is leave before the end of the attempt, which is the last one.
func (p *proxying) leaveEarly() {
	p.leave(p.upstream)
	p.left = true
}

// excused reports whether a round trip failed because the client left or its request broke off, which says nothing about
// the upstream.
func (p *proxying) excused() bool { return p.in.Context().Err() != nil || p.body.failed() }

func readBreaker(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	n, err := r.readModule(d, args, breaker.Namespace, "type")
	r.cfg.CircuitBreaker = module.RefTo[upstream.Breaker](n)
	return err
}
