// Package tlsadapt is what a Caddyfile says about TLS: the global options about
// certificates, the directive tls, and what both make together: the connection
// policies of each server, the app tls and the app pki.
//
// Whoever adapts a Caddyfile makes one Options, gives it each global option that
// Reader knows, calls Complete when there are no more, and Directive for each
// directive tls. When the sites are distributed to servers, Secure gives what
// each server has of it, and App and Authorities the two apps.
package tlsadapt

import (
	"maps"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

type members = map[string]*config.Node

// maxErrors bounds how many errors are looked for at once.
const maxErrors = 20

// World is what the adaptation of a Caddyfile has for all its parts.
type World struct {
	Table  *module.Table
	Places *places.Map
	// Env is what the text may ask of the world.
	Env  caddyfile.Env
	Warn func(caddyfile.Warning)
}

// Options is the global options about certificates and TLS of one Caddyfile. It
// is not safe for concurrent use.
type Options struct {
	World
	http HTTP

	automatic   []string // words of auto_https
	acme        policies.ACME
	acmeDNS     caddyfile.Token // of the option acme_dns
	localCerts  bool
	issuers     []*config.Node
	issuerAt    caddyfile.Token
	skipTrust   bool
	authorities map[string]*authority // by their IDs
	// certificates is the files of certificates that directives have named.
	certificates map[string]certificateFile

	keyType                 string
	ratio                   float64
	noStapling              bool
	defaultSNI, fallbackSNI string
	ech                     []string

	app        members // fields of the tls app
	automation members // fields of its automation
	at         map[string]places.Place
}

// New makes the options of a Caddyfile that says nothing.
func New(w World) *Options {
	return &Options{World: w, app: members{}, automation: members{}, at: map[string]places.Place{},
		authorities: map[string]*authority{}, certificates: map[string]certificateFile{}}
}

// Option reads one global option; d stands on its name.
type Option func(o *Options, u *module.Use, d *caddyfile.Dispenser) error

// Reader is the global option of a name, nil if there is none.
func Reader(name string) Option { return readers[name] }

// Names lists the global options that there are, in no order.
func Names() []string { return slices.Collect(maps.Keys(readers)) }

// HTTP is what other global options say, as far as it is of concern here.
type HTTP struct {
	// Ports are those of HTTP and HTTPS, as they are in effect.
	Ports address.Ports
	// HTTPPort and HTTPSPort are those that options name, 0 for none.
	HTTPPort, HTTPSPort int
	// BindHost is the first host that all servers listen on, empty for none.
	BindHost string
}

// Complete takes what the other options say, when all have been read. The errors
// are about options that contradict each other.
func (o *Options) Complete(h HTTP) (errs []error) {
	o.http = h
	o.acme.HTTPPort, o.acme.TLSALPNPort, o.acme.BindHost = h.HTTPPort, h.HTTPSPort, h.BindHost
	if o.localCerts && len(o.issuers) > 0 {
		errs = append(errs, o.issuerAt.Errf("global options are ambiguous: local_certs is confusing when combined with cert_issuer, since it names an issuer as well; write 'cert_issuer internal' instead"))
	}
	if o.acme.DNS && o.acme.Provider == nil && o.app["dns"] == nil {
		errs = append(errs, o.acmeDNS.Errf("acme_dns specified without DNS provider config, but no provider specified with 'dns' global option"))
	}
	return errs
}

// base is the policy that those of sites start from.
func (o *Options) base() *policies.Automation {
	p := &policies.Automation{KeyType: o.keyType, RenewalWindowRatio: o.ratio, DisableOCSPStapling: o.noStapling}
	if o.localCerts {
		p.Issuers = []*config.Node{policies.Issuer("internal")}
	} else {
		p.Issuers = o.Places.Copies(o.issuers)
	}
	return p
}

// catchAll reports whether there is a policy for all names.
func (o *Options) catchAll() bool {
	return len(o.issuers) > 0 || o.localCerts || o.keyType != "" || o.noStapling || o.ratio != 0 || o.acme.CatchAll()
}
