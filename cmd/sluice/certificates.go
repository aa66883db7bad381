package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/acmeserver"
	"github.com/sluiceproxy/sluice/internal/events"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/automation"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/upstream"
)

// noTrustEnv names a variable that, if it is not empty, keeps the process from putting the roots of its own authorities into
// the trust stores of the system, whatever install_trust says: for tests, and for machines on which nobody wants that.
const noTrustEnv = "SLUICE_NO_TRUST_INSTALL"

// These name variables for tests and staging: the URL of an ACME directory that is asked where a document names no authority,
// in the place of Let's Encrypt's, and a file in PEM with who may have signed the certificate of its server.
const (
	authorityEnv      = "SLUICE_ACME_CA_URL"
	authorityRootsEnv = "SLUICE_ACME_CA_ROOT"
)

// certificates is all that the process has for TLS. It is what HTTP servers get
// certificates from.
type certificates struct {
	*automation.Manager
	storage     *certstore.Switch
	authorities *pki.Authorities
	tickets     *handshake.Tickets
	challenges  *issuance.Challenges
	identity    *identity.Service // its certificates are not those of servers
	bus         *events.Bus
	used        certmagic.Storage // by the document; only the applier knows it
}

// AnswerChallenge implements server.Certificates.
func (c *certificates) AnswerChallenge(w http.ResponseWriter, r *http.Request) bool {
	return c.challenges.HandleHTTP(w, r)
}

// UseStorage takes the storage that a document names, nil for the default.
func (c *certificates) UseStorage(s certmagic.Storage) {
	if s == c.used {
		return
	}
	c.used = s
	c.storage.Use(s)
	c.authorities.StorageChanged()
	c.Manager.StorageChanged()
}

// SetPorts implements server.Certificates.
func (c *certificates) SetPorts(http, https int) {
	c.Manager.SetPorts(http, https)
	c.identity.SetPorts(http, https)
}

// Close ends all work on certificates.
func (c *certificates) Close() {
	c.identity.Close()
	c.Manager.Close()
	c.authorities.Close()
	c.tickets.Close()
}

// newCertificates makes them. Nothing is read or written before it is needed.
func (w *world) newCertificates() (*certificates, error) {
	issuance.Identify(name, versionText(), os.Getenv("USERAGENT"))
	stores := certstore.NewStores(environment.These().Storage())
	files := stores.Default()
	c := &certificates{storage: certstore.NewSwitch(files), challenges: issuance.NewChallenges(w.logs.Core("tls.issuance"))}
	authorities := pki.Options{Storage: c.storage, Globals: w.globals, Logger: w.logs.Logger}
	if os.Getenv(noTrustEnv) == "" {
		authorities.Trust = pki.SystemTrust()
	}
	c.authorities = pki.NewAuthorities(authorities)
	var err error
	log := w.logs.Core("tls")
	if c.tickets, err = handshake.NewTickets(handshake.TicketsOptions{OnError: func(err error) {
		log.Error("renewing the keys of session tickets", zap.Error(err))
	}}); err != nil {
		return nil, err
	}
	c.bus = events.NewBus(events.Options{OnError: func(e *events.Event, err error) {
		w.logs.Core("events").Error("a handler of an event failed", zap.String("event", e.String()), zap.Error(err))
	}})
	module.Provide(w.services, stores)
	module.Provide(w.services, c.storage)
	module.Provide(w.services, c.authorities)
	module.Provide(w.services, c.tickets)
	module.Provide(w.services, c.challenges)
	module.Provide(w.services, c.bus)
	public, err := w.issuer("acme")
	if err != nil {
		return nil, err
	}
	internal, err := w.issuer("internal")
	if err != nil {
		return nil, err
	}
	authority, err := authorityOfEnvironment()
	if err != nil {
		return nil, err
	}
	c.Manager = automation.New(automation.Options{Storage: c.storage, Log: log, Events: c.bus, Public: []issuance.Issuer{public}, Internal: internal, Authority: authority, Metrics: w.metrics, Challenges: c.challenges})
	w.pool.OnChange(c.bus.Health)
	module.Provide(w.services, c.Manager)
	module.Provide[upstream.ClientCertificates](w.services, c.Manager)
	module.Provide[trust.DocumentStorage](w.services, c.storage)
	module.Provide(w.services, acmeserver.NewDatabases(acmeserver.Options{Dir: environment.These().Data, Resolvers: c.Manager.Resolvers, Logger: w.logs.Logger}))
	c.identity = identity.New(identity.Options{Storage: files, Default: public, Authority: authority, Log: w.logs.Core("admin.identity")})
	module.Provide(w.services, c.identity)
	module.Provide[endpoint.Identity](w.services, c.identity)
	return c, nil
}

// authorityOfEnvironment is the authority that the environment names, nil if it names none.
func authorityOfEnvironment() (*issuance.Authority, error) {
	directory, file := os.Getenv(authorityEnv), os.Getenv(authorityRootsEnv)
	var roots []byte
	var err error
	switch {
	case directory == "" && file == "":
		return nil, nil
	case directory == "":
		return nil, fmt.Errorf("%s is set, and %s is not; the roots are those of the authority that the latter names", authorityRootsEnv, authorityEnv)
	case file != "":
		if roots, err = readFile(file); err != nil {
			return nil, fmt.Errorf("reading the file of %s: %w", authorityRootsEnv, err)
		}
	}
	authority, err := issuance.NewAuthority(directory, roots)
	if err != nil {
		return nil, fmt.Errorf("using %s: %w", authorityEnv, err)
	}
	return authority, nil
}

// issuer makes an issuer that says nothing of itself.
func (w *world) issuer(name string) (issuance.Issuer, error) {
	res := w.builder().Build(nil, issuance.Namespace+"."+name, config.NewObject(nil), module.Options{})
	if len(res.Problems) > 0 {
		return nil, fmt.Errorf("making the issuer %s: %w", name, res.Problems)
	}
	return res.Root.Value().(issuance.Issuer), nil
}
