package reverseproxy

import (
	"errors"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
)

// discovery is the upstreams of a handler that a source finds.
type discovery struct {
	source dynamic.Source
	sets   *dynamic.Sets[*selection.Upstream, choices]
}

// choices is upstreams to choose from, and the same as they are seen when health does not count; nil if it always does.
type choices struct{ list, blind []*selection.Upstream }

// ownDynamic makes the discovery, if the handler has a source. Hosts and health are the same as those of upstreams that
// the document lists, and are known under the same addresses.
func (h *Handler) ownDynamic(env *module.Env, c *Config) {
	source := c.DynamicUpstreams.Value()
	if source == nil {
		return
	}
	cache := module.Service[*dynamic.Cache](env)
	h.dynamic = &discovery{source, dynamic.NewSets(
		func(dial string) *selection.Upstream { return h.discover(cache, dial) },
		func(u *selection.Upstream) {
			if u.Watch != nil {
				u.Watch.Close()
			}
			cache.Release(u.Host)
		},
		func(list []*selection.Upstream) choices {
			if h.health != nil && h.health.MinHealthy > 0 {
				return choices{list, blindly(list)}
			}
			return choices{list: list}
		})}
	env.Own(h.dynamic)
}

func (h *Handler) discover(cache *dynamic.Cache, dial string) *selection.Upstream {
	u := selection.Found(dial, cache.Acquire(dial))
	if h.health != nil {
		u.MaxRequests = h.health.RequestLimit // DYN-4
		// It can fail for its settings only, and those were checked when they were compiled.
		if w, err := h.health.Watch(u.Host); err == nil {
			u.Watch = w
			w.Start()
		}
	}
	return u
}

// Prepare implements [module.Resource].
func (*discovery) Prepare() error { return nil }

// Start takes up what is known of the upstreams before the handler that it replaces lets go of them, so that their checks
// go on.
func (d *discovery) Start() {
	if list := d.source.Known(); list != nil {
		d.sets.Of(list)
	}
}

// Close implements [module.Resource].
func (d *discovery) Close() { d.sets.Close() }

// candidates is the upstreams that an attempt chooses from. A source that has found something, be it that there are none,
// counts alone; if it fails, the static ones are used, and without any what it has found before (DYN-1).
func (p *proxying) candidates() []*selection.Upstream {
	d := p.h.dynamic
	if d == nil {
		return p.h.candidates()
	}
	list, err := d.source.Upstreams(dynamic.Query{Context: p.in.Context(), Scope: p.x, Log: p.log, Again: p.retries > 0})
	if err != nil {
		if p.in.Context().Err() != nil {
			return nil
		}
		stale := list != nil && len(p.h.upstreams) == 0
		p.logDiscovery(err, stale)
		if !stale {
			return p.h.candidates()
		}
	}
	found := d.sets.Of(list)
	if e := p.log.Check(zap.DebugLevel, "provisioned dynamic upstreams"); e != nil {
		e.Write(zap.Int("count", len(found.list)))
	}
	return p.h.fit(found.list, found.blind)
}

// logDiscovery reports an error of the source; one that all requests meet is reported once.
func (p *proxying) logDiscovery(err error, stale bool) {
	var failure *dynamic.Failure
	if errors.As(err, &failure) && !failure.Tell() {
		return
	}
	message := "failed getting dynamic upstreams; falling back to static upstreams"
	if stale {
		message = "failed getting dynamic upstreams; using those known from before"
	}
	p.log.Error(message, zap.Error(err))
}

func readDynamic(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	n, err := r.readModule(d, args, dynamic.Namespace, dynamic.InlineKey)
	r.cfg.DynamicUpstreams = module.RefTo[dynamic.Source](n)
	return err
}

// finishDynamic makes a source of the upstreams that are names of SRV records.
func (r *reading) finishDynamic() error {
	if len(r.records) == 0 {
		return nil
	}
	first := r.records[0]
	if len(r.cfg.Upstreams) > 0 || r.cfg.DynamicUpstreams.Set() {
		return first.Errf("parsing upstream '%s': names of SRV records cannot be used beside other upstreams or 'dynamic', which they would replace; use one of them, or give the name a port if it is that of a host", caddyfile.Shorten(first.Text))
	}
	sources := make([]*config.Node, len(r.records))
	for i, t := range r.records {
		sources[i] = config.NewObject(map[string]*config.Node{dynamic.InlineKey: config.NewString("srv"), "name": config.NewString(t.Text)})
		r.u.Placed(sources[i], t)
	}
	n := sources[0]
	if len(sources) > 1 {
		n = config.NewObject(map[string]*config.Node{dynamic.InlineKey: config.NewString("multi"), "sources": config.NewArray(sources)})
		r.u.Placed(n, first)
	}
	r.cfg.DynamicUpstreams = module.RefTo[dynamic.Source](n)
	return nil
}
