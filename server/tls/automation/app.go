package automation

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
	"github.com/sluiceproxy/sluice/server/tls/automation/permission"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// Specs describes the app and its policies.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(AppID, "Certificates: how they are obtained, loaded and kept.", nil, compileApp,
			module.Examples(module.Example{Title: "A certificate for names that no site has, and at most 500 certificates in memory", JSON: `{"certificates":{"automate":["*.example.com"]},"cache":{"capacity":500}}`})),
		policySpec(),
	}
}

// App is the compiled app tls.
type App struct {
	manager    *Manager
	policies   []*Policy
	names      []string // to manage whatever the servers serve
	sources    []*loaders.Source
	loaded     []loaders.Certificate // of the sources, from Prepare on
	covers     *coverage
	permission permission.Permission
	ask        string // the URL that permission was made of, if it was
	options    options
	dns        dnsproviders.Provider
	resolvers  []string
	tickets    *handshake.SessionTickets
	ech        []string // public names

	publications []publication
}

// options is what applies to the whole process. It is comparable.
type options struct {
	capacity                    int
	ocsp, renew, clean          time.Duration
	noStapling, noCheck, noWipe bool
}

// Defaults of options.
const (
	defaultCapacity = 10000
	defaultOCSP     = time.Hour
	defaultRenew    = 10 * time.Minute
	defaultClean    = 24 * time.Hour
)

func defaultOptions() options {
	return options{capacity: defaultCapacity, ocsp: defaultOCSP, renew: defaultRenew, clean: defaultClean}
}

// listed is the names to manage whatever the servers serve, in a list of its own.
func (a *App) listed() []string { return slices.Concat(a.names, a.ech) }

// DNS is the provider for challenges that name none, nil if there is none.
func (a *App) DNS() dnsproviders.Provider { return a.dns }

// Resolvers is the DNS servers for challenges that name none; nil is the system's.
func (a *App) Resolvers() []string { return a.resolvers }

// SessionTickets is the settings of session tickets, nil for the defaults.
func (a *App) SessionTickets() *handshake.SessionTickets { return a.tickets }

func compileApp(env *module.Env, c *Config) (*App, error) {
	a := &App{
		manager: module.Service[*Manager](env), options: defaultOptions(),
		dns: c.DNS.Value(), resolvers: c.Resolvers, tickets: c.SessionTickets,
	}
	o := &a.options
	o.noStapling, o.noCheck, o.noWipe = c.DisableOCSPStapling, c.DisableStorageCheck, c.DisableStorageClean
	if c.Cache != nil && c.Cache.Capacity > 0 {
		o.capacity = c.Cache.Capacity
	}
	for _, name := range slices.Sorted(maps.Keys(c.Certificates)) {
		a.sources = append(a.sources, c.Certificates[name].Value())
	}
	for _, s := range a.sources {
		for _, name := range s.Names {
			a.names = append(a.names, normal(name))
		}
	}
	problems := a.readAutomation(env, c.Automation)
	problems = append(problems, a.readECH(c.EncryptedClientHello, publishers.Defaults{DNS: publishers.ProviderOf(c.DNS), Resolvers: c.Resolvers})...)
	if len(problems) > 0 {
		return nil, problems
	}
	c.SessionTickets.Own(env)
	env.Own(a)
	return a, nil
}

func (a *App) readAutomation(env *module.Env, c *Automation) (problems schema.Problems) {
	if c == nil {
		return nil
	}
	o := &a.options
	for _, d := range []struct {
		to   *time.Duration
		from module.Duration
	}{{&o.ocsp, c.OCSPInterval}, {&o.renew, c.RenewInterval}, {&o.clean, c.StorageCleanInterval}} {
		if d.from > 0 {
			*d.to = time.Duration(d.from)
		}
	}
	if made := a.manager.ocspInterval(); made > 0 && made != o.ocsp {
		env.Warn("/automation/ocsp_interval", "OCSP responses are looked at every "+made.String()+" until the process starts anew")
	}
	if d := c.OnDemand; d != nil {
		a.permission = d.Permission.Value()
		if d.Ask != "" {
			problems = append(problems, a.readAsk(env, d)...)
		}
	}
	for i, p := range c.Policies {
		a.policies = append(a.policies, p.Value())
		for j, issuer := range p.Value().issuers {
			if _, err := issuer.With(issuance.Defaults{DNS: a.dns, Resolvers: a.resolvers}); err != nil {
				at := "/automation/policies/" + strconv.Itoa(i) + "/issuers/" + strconv.Itoa(j)
				problems = append(problems, problemsOf(err).Under(at)...)
			}
		}
	}
	return append(problems, checkPolicies(a.policies, a.permission != nil)...)
}

func (a *App) readAsk(env *module.Env, d *OnDemand) schema.Problems {
	const at = "/automation/on_demand/ask"
	if d.Permission.Set() {
		return module.Problem(at, "ask and permission are two ways to write one thing; give only permission")
	}
	var err error
	if a.ask, err = env.ExpandStrict(d.Ask); err == nil {
		var p *permission.HTTP
		if p, err = permission.New(a.ask); err == nil {
			a.permission = p
			env.Warn(at, "ask is the older way to write it; use permission with the module http and this endpoint")
			return nil
		}
	}
	return module.Problem(at, err.Error())
}

// storageTimeout bounds the reading of certificates from the storage.
const storageTimeout = time.Minute

// Prepare reads certificates from the storage.
func (a *App) Prepare() error {
	a.loaded = nil
	var problems schema.Problems
	for _, s := range a.sources {
		a.loaded = append(a.loaded, s.Certificates...)
		if !s.Deferred() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
		list, wrong := s.FromStorage(ctx, a.manager.upcomingStorage())
		cancel()
		a.loaded, problems = append(a.loaded, list...), append(problems, wrong.Under("/apps/tls/certificates/load_storage")...)
	}
	a.covers = newCoverage(a.loaded)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// Start makes the app the one that counts.
func (a *App) Start() { a.manager.Use(a) }

// Leave takes the app back at the swap to a document that has it no more, unless another has taken its place: managed
// names that it has listed are let go, loaded certificates are unloaded, and names have what applies without an app.
func (a *App) Leave() { a.manager.release(a) }

// Close takes the app back, unless another has taken its place.
func (a *App) Close() { a.manager.release(a) }

// Covers reports whether a loaded certificate is for the name. It can be asked from Prepare on.
func (a *App) Covers(name string) bool { return a != nil && a.covers.has(normal(name)) }

// coverage is the names of loaded certificates.
type coverage struct {
	exact map[string]struct{}
	wild  map[pattern]struct{}
}

func newCoverage(list []loaders.Certificate) *coverage {
	c := &coverage{map[string]struct{}{}, map[pattern]struct{}{}}
	for i := range list {
		for _, name := range loaders.Names(list[i].TLS.Leaf) {
			c.exact[name] = struct{}{}
			if w, ok := patternOf(name); ok {
				c.wild[w] = struct{}{}
			}
		}
	}
	return c
}

func (c *coverage) has(name string) bool {
	if c == nil {
		return false
	}
	if _, ok := c.exact[name]; ok {
		return true
	}
	found := false
	if len(c.wild) > 0 {
		covering(name, func(w pattern) bool {
			_, found = c.wild[w]
			return !found
		})
	}
	return found
}
