// Package pools is the trust pools that are made of the process's own certificate authorities: the modules
// tls.ca_pool.source.pki_root and pki_intermediate.
package pools

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/trust"
)

// prepareTimeout bounds how long an authority may take to be made.
const prepareTimeout = time.Minute

// Specs describes the modules. They need the service [*pki.Authorities].
func Specs() []module.Spec {
	return []module.Spec{
		module.New(trust.Namespace+".pki_root", "Trusts what the process's own certificate authorities sign, by their roots.", nil, compileRoot,
			module.Examples(module.Example{Title: "Trust the authority that exists without being configured.", JSON: `{"provider":"pki_root","authority":["local"]}`}),
			module.Words(words(func(ids []string) any { return &Root{Authority: ids} }))),
		module.New(trust.Namespace+".pki_intermediate", "Trusts what the process's own certificate authorities sign, by their present intermediates.", nil, compileIntermediate,
			module.Examples(module.Example{Title: "Trust what the present intermediate signs.", JSON: `{"provider":"pki_intermediate","authority":["local"]}`}),
			module.Words(words(func(ids []string) any { return &Intermediate{Authority: ids} }))),
	}
}

// Root is the source pki_root.
type Root struct {
	// Authority is the IDs of authorities of the app pki; local exists without being configured. One that is not there yet is
	// generated when the document is prepared.
	Authority []string `json:"authority"`
}

// Intermediate is the source pki_intermediate.
type Intermediate struct {
	// Authority is the IDs of authorities of the app pki; local exists without being configured. One that is not there yet is
	// generated when the document is prepared. Its intermediate is that of that moment, and one that follows it is not
	// trusted before sluice starts again; so pki_root is what suits intermediates that are generated.
	Authority []string `json:"authority"`
}

func compileRoot(env *module.Env, c *Root) (*trust.Pool, error) {
	return compile(env, c.Authority, func(ctx context.Context, a *pki.Authority) ([]*x509.Certificate, error) {
		root, err := a.PrepareRoot(ctx)
		return []*x509.Certificate{root}, err
	})
}

func compileIntermediate(env *module.Env, c *Intermediate) (*trust.Pool, error) {
	return compile(env, c.Authority, func(ctx context.Context, a *pki.Authority) ([]*x509.Certificate, error) {
		if err := a.Prepare(ctx); err != nil {
			return nil, err
		}
		return []*x509.Certificate{a.Intermediate()}, nil
	})
}

// compile makes a pool that is filled when the document is prepared.
func compile(env *module.Env, ids []string, of func(context.Context, *pki.Authority) ([]*x509.Certificate, error)) (*trust.Pool, error) {
	if len(ids) == 0 {
		return nil, module.Problem("/authority", "no authority is given, so nobody would be trusted; give the ID of at least one, such as local")
	}
	var problems schema.Problems
	for i, id := range ids {
		if id == "" {
			problems = append(problems, schema.Problem{Pointer: fmt.Sprintf("/authority/%d", i), Message: "the ID is empty; want that of an authority of the app pki, such as local"})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	authorities := module.Service[*pki.Authorities](env)
	p := &trust.Pool{}
	env.Own(module.Acquired(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
		defer cancel()
		var texts []string
		for _, id := range ids {
			a, err := authorities.Upcoming(id)
			if err != nil {
				return fmt.Errorf("making a trust pool: %w", err)
			}
			list, err := of(ctx, a)
			if err != nil {
				return fmt.Errorf("making a trust pool: %w", err)
			}
			for _, c := range list {
				texts = append(texts, base64.StdEncoding.EncodeToString(c.Raw))
			}
		}
		filled, problems := trust.FromDER(texts)
		if len(problems) > 0 {
			return fmt.Errorf("making a trust pool: %w", problems)
		}
		*p = *filled
		return nil
	}, func() {}))
	return p, nil
}

// reading is a source while it is read.
type reading struct{ ids []string }

var lines = caddyfile.Options[reading]{Lines: []caddyfile.Option[reading]{
	{Name: "authority", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *reading) *[]string { return &r.ids })},
}}

// words is the syntax of a source: IDs behind its name, or in lines of its block.
func words(finish func(ids []string) any) module.Syntax {
	return func(u *module.Use, d *caddyfile.Dispenser) (any, error) {
		d.Next()
		r := &reading{ids: d.RemainingArgs()}
		if err := lines.Parse(d, r); err != nil {
			return nil, err
		}
		if len(r.ids) == 0 {
			return nil, u.Token.Errf("no authorities specified; write the IDs of certificate authorities, such as local")
		}
		return finish(r.ids), nil
	}
}
