package pki

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
)

// prepareTimeout bounds how long the storage may take to say what it holds.
const prepareTimeout = 30 * time.Second

// Specs describes the modules of this package. They need the service [*Authorities].
func Specs() []module.Spec {
	return []module.Spec{
		module.New(AppID, "Certificate authorities of one's own.", nil, compile, module.Examples(
			module.Example{Title: "Name the authority that exists anyway, and leave the trust stores of this machine alone.",
				JSON: `{"certificate_authorities":{"local":{"name":"Example Corp","install_trust":false}}}`},
			module.Example{Title: "Keep intermediates for a month, and renew each in its last week.",
				JSON: `{"certificate_authorities":{"corp":{"intermediate_lifetime":"30d","renewal_window_ratio":0.25,"install_trust":false}}}`},
		)),
	}
}

// App is the authorities of one document.
type App struct {
	process     *Authorities
	definitions map[string]*definition
}

var _ module.Resource = (*App)(nil)

func compile(env *module.Env, c *Config) (*App, error) {
	definitions, problems := compileAll(env, c.CertificateAuthorities)
	if len(problems) > 0 {
		return nil, problems
	}
	a := &App{process: module.Service[*Authorities](env), definitions: definitions}
	env.Own(a)
	return a, nil
}

// IDs lists the authorities that the document defines, sorted.
func (a *App) IDs() []string { return slices.Sorted(maps.Keys(a.definitions)) }

// Prepare implements [module.Resource]: it reads what the storage holds and makes nothing.
func (a *App) Prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	a.process.propose(a)
	for _, id := range a.IDs() {
		if err := a.process.of(a.definitions[id], true).check(ctx); err != nil {
			a.process.leave(a)
			return fmt.Errorf("certificate authority %q: %w", id, err)
		}
	}
	return nil
}

// Start implements [module.Resource]: the authorities are in use from now on, and made if they are not there.
func (a *App) Start() { a.process.use(a) }

// Close implements [module.Resource].
func (a *App) Close() { a.process.leave(a) }
