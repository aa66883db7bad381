package automation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/tls/automation/managers"
	"github.com/sluiceproxy/sluice/server/tls/automation/permission"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"go.uber.org/zap"
)

// kind is what a binding makes of its policy.
type kind uint8

const (
	plain     kind = iota
	internal       // with the internal issuer, for names that no other would sign
	tailscale      // with Tailscale's certificates
)

// binding is a policy in force: what certmagic is given for its names. Immutable.
type binding struct {
	policy  *Policy
	kind    kind
	context surroundings
	config  *certmagic.Config
	keys    []string // of the issuers
}

// onDemand reports whether certificates wait for a client.
func (b *binding) onDemand() bool { return b.config.OnDemand != nil }

// surroundings is what of a document besides a policy goes into its bindings. It is compared.
type surroundings struct {
	permission permission.Permission
	defaults   issuance.Defaults // without the resolvers
	noCheck    bool
	storage    uint64 // counts the changes of the document's storage
}

func (s *surroundings) equal(o *surroundings) bool {
	return s.permission == o.permission && s.noCheck == o.noCheck && s.storage == o.storage && s.defaults.DNS == o.defaults.DNS &&
		s.defaults.HTTPPort == o.defaults.HTTPPort && s.defaults.HTTPSPort == o.defaults.HTTPSPort &&
		slices.Equal(s.defaults.Resolvers, o.defaults.Resolvers)
}

// state is all policies in force. Immutable.
type state struct {
	app      *App // never nil
	context  surroundings
	index    *index
	list     []*binding // for each policy of the app
	base     *binding   // of names without a policy
	internal *binding   // base with the internal issuer
	tails    *binding   // base with Tailscale
	loaded   *certmagic.Config
}

// defaultPolicy is what applies to names that no policy has. It is never changed.
var defaultPolicy = &Policy{settings: certmagic.Config{KeySource: certmagic.StandardKeyGenerator{KeyType: certmagic.P256}}}

// tailscalePolicy is what applies to names of Tailscale that no policy has.
func tailscalePolicy(base *Policy) *Policy {
	p := *base
	p.managers = []certmagic.Manager{managers.NewTailscale("")}
	p.tailscale, p.onDemand = true, true
	return &p
}

// newState makes the policies of an app, taking over from the ones before what is the same.
func (m *Manager) newState(app *App, old *state) *state {
	s := &state{app: app, index: newIndex(app.policies), context: surroundings{
		permission: app.permission, noCheck: app.options.noCheck, storage: m.storages,
		defaults: issuance.Defaults{DNS: app.dns, Resolvers: app.resolvers, HTTPPort: m.httpPort, HTTPSPort: m.httpsPort, Authority: m.authority},
	}}
	if old != nil && app.ask != "" && app.ask == old.app.ask {
		s.context.permission = old.context.permission
	}
	before := map[*Policy][]*binding{}
	if old != nil && s.context.equal(&old.context) {
		for _, b := range append(slices.Clone(old.list), old.base, old.internal) {
			before[b.policy] = append(before[b.policy], b)
		}
		if old.tails != nil && old.tails.policy != nil {
			s.tails = old.tails
		}
	}
	bind := func(p *Policy, k kind) *binding {
		for _, b := range before[p] {
			if b.kind == k {
				return b
			}
		}
		b := m.bind(&s.context, p, k)
		before[p] = append(before[p], b) // so that one policy is the same wherever it stands
		return b
	}
	for _, p := range app.policies {
		k := plain
		if len(p.issuers) == 0 && p.allInternal() {
			k = internal
		}
		s.list = append(s.list, bind(p, k))
	}
	base := defaultPolicy
	if s.index.catchAll >= 0 {
		base = app.policies[s.index.catchAll]
	}
	s.base, s.internal = bind(base, plain), bind(base, internal)
	if s.tails == nil || old.base.policy != base {
		s.tails = m.bind(&s.context, tailscalePolicy(base), tailscale)
	}
	s.loaded = m.unmanaged(app.options.noStapling)
	return s
}

// configs is the configs of all policies.
func (s *state) configs() []*certmagic.Config {
	list := make([]*certmagic.Config, 0, len(s.list)+3)
	for _, b := range append(slices.Clone(s.list), s.base, s.internal, s.tails) {
		list = append(list, b.config)
	}
	return list
}

// bind makes the config of a policy.
func (m *Manager) bind(context *surroundings, p *Policy, k kind) *binding {
	b := &binding{policy: p, kind: k, context: *context}
	c := p.settings
	c.Storage, c.Logger, c.DisableStorageCheck = p.storage, m.overheardLog, context.noCheck
	if c.Storage == nil {
		c.Storage = m.storage
	}
	c.OnEvent, c.ShouldEmitFunc = m.onEvent, m.wanted
	c.Issuers = []certmagic.Issuer{} // nil would be those of certmagic
	if p.onDemand {
		c.OnDemand = &certmagic.OnDemandConfig{DecisionFunc: m.decision(context, p, k), Managers: p.managers}
	}
	b.config = certmagic.New(m.cache, c)
	issuers, err := settle(m.issuersOf(p, k), context.defaults)
	if err != nil { // cannot be: the app was compiled with them
		m.log.Error("an issuer cannot be used", zap.Strings("subjects", p.subjects), zap.Error(err))
	}
	for _, i := range issuers {
		b.config.Issuers = append(b.config.Issuers, i.Issuer(b.config))
	}
	b.keys = keysOf(issuers)
	return b
}

func (m *Manager) issuersOf(p *Policy, k kind) []Issuer {
	switch {
	case k == internal:
		return []Issuer{m.internal}
	case k == tailscale || p.tailscale:
		return nil
	case len(p.issuers) == 0:
		return m.public
	}
	return p.issuers
}

// unmanaged makes the config of loaded certificates.
func (m *Manager) unmanaged(noStapling bool) *certmagic.Config {
	return certmagic.New(m.cache, certmagic.Config{
		Storage: m.storage, Logger: m.log, Issuers: []certmagic.Issuer{}, OnEvent: m.onEvent, ShouldEmitFunc: m.wanted,
		OCSP: certmagic.OCSPConfig{DisableStapling: noStapling},
	})
}

// Errors of names for which no certificate is obtained.
var (
	errOnlyManagers = errors.New("certificates come only from get_certificate, which has none for this name")
	errNotSubject   = errors.New("this is no subject of the policy")
)

// decision is which names may have a certificate when a client asks for them.
func (m *Manager) decision(context *surroundings, p *Policy, k kind) func(context.Context, string) error {
	return m.logged(decide(context.permission, p, k))
}

func decide(ask permission.Permission, p *Policy, k kind) func(context.Context, string) error {
	switch {
	case k == tailscale || p.tailscale:
		return func(context.Context, string) error { return errOnlyManagers }
	case ask != nil:
		return ask.Allow
	case len(p.subjects) > 0 && !p.wildcard:
		return func(_ context.Context, name string) error {
			if slices.Contains(p.subjects, name) {
				return nil
			}
			return errNotSubject
		}
	case len(p.managers) > 0:
		return func(context.Context, string) error { return errOnlyManagers }
	case k == internal || p.allInternal():
		return func(context.Context, string) error { return nil }
	}
	return func(_ context.Context, name string) error { return fmt.Errorf("%s: %w", name, permission.ErrDenied) }
}

// logged logs refusals, a few each second, as anybody can cause them.
func (m *Manager) logged(f func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		err := f(ctx, name)
		if err != nil {
			m.refusals.Warn("no certificate on demand", zap.String("server_name", name), zap.Error(err))
		}
		return err
	}
}

// lookup finds what applies to a name by the policies alone.
func (s *state) lookup(name string) *binding {
	if i := s.index.find(name); i >= 0 {
		return s.list[i]
	}
	return s.base
}

// derived finds what applies to a name that is to be managed: as lookup, but names that the public authorities do not sign
// have others where nothing was written about them.
func (s *state) derived(name string, served bool) *binding {
	at := s.index.find(name)
	if at >= 0 && (at != s.index.catchAll || !served) {
		return s.list[at]
	}
	switch {
	case served && isTailscale(name):
		return s.tails
	case s.base.policy.internal: // with an authority of the document's choice
	case !certmagic.SubjectQualifiesForPublicCert(name), served && isIP(name) && len(s.list) == 0:
		return s.internal
	}
	return s.base
}
