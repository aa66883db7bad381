// Package acmeserver is the handler acme_server: an ACME server (RFC 8555, RFC 8737, RFC 8738) that issues certificates of
// one of the authorities of the app pki.
//
// Accounts, orders and what was issued are in one bbolt file for each authority, which the process opens once, however many
// handlers use it and however often they are edited: see [Databases]. Nonces are not kept: what is needed to know that one is
// good and was not used is of a fixed size and in memory, so clients get new ones after a restart.
//
// A revoked certificate is noted as such, and can not be revoked again. The authorities publish no lists of revoked
// certificates.
package acmeserver

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/pki"
	"go.uber.org/zap"
)

// Config is the handler acme_server: it gives certificates of an authority of this process to whoever asks by the protocol ACME
// (RFC 8555) and shows that a name is theirs. The URL for clients is https://HOST/acme/CA/directory. Requests for other paths go
// on to the next handler.
type Config struct {
	// CA is the ID of the authority, as in the app pki. Default: local.
	CA string `json:"ca"`
	// Lifetime is how long certificates are valid for which the client does not ask for a time, from 5 minutes to 365 days. It
	// must be less than the lifetime of the authority's intermediates, unless those are your own or the root signs.
	// Default: 12h.
	Lifetime module.Duration `json:"lifetime" check:"min=0"`
	// Host is the host in the URLs that clients are given, with a port unless that is 443. Default: the host of the request.
	Host string `json:"host"`
	// PathPrefix is what the path of every URL begins with, before the ID of the authority. Default: /acme/.
	PathPrefix string `json:"path_prefix"`
	// SignWithRoot has the root sign certificates instead of an intermediate, for clients that can not follow a chain.
	// Default: false.
	SignWithRoot bool `json:"sign_with_root"`
	// Resolvers is the DNS servers that are asked for the TXT records of the challenge dns-01, such as "9.9.9.9" or
	// "tcp/1.1.1.1:53"; without a network it is UDP, without a port 53. Default: those of the app tls, or else those of the
	// system.
	Resolvers []string `json:"resolvers"`
	// Challenges is the ways in which clients may show that a name is theirs: http-01, dns-01, tls-alpn-01. Wildcard names
	// need dns-01, IP addresses one of the others. Default: all.
	Challenges []string `json:"challenges"`
	// Policy is for which names there are certificates. Default: for all.
	Policy *Policy `json:"policy"`
}

// Policy says for which names there are certificates. Rules that deny come before rules that allow. If there are rules that allow,
// a name that none of them is about is denied.
type Policy struct {
	// Allow is names for which there are certificates. Default: all.
	Allow *RuleSet `json:"allow"`
	// Deny is names for which there are none. Default: none.
	Deny *RuleSet `json:"deny"`
	// AllowWildcardNames lets the rules allow names such as *.example.com. It matters only if there are rules: without any,
	// wildcard names are allowed like all others. Default: false.
	AllowWildcardNames bool `json:"allow_wildcard_names"`
}

// RuleSet is names and addresses.
type RuleSet struct {
	// Domains is names such as example.com, which stands for that name alone, or *.example.com, which stands for every name
	// with one more label. Default: none.
	Domains []string `json:"domains"`
	// IPRanges is IP addresses and networks, such as 10.0.0.0/8. Default: none.
	IPRanges []string `json:"ip_ranges"`
}

const (
	defaultPathPrefix = "/acme/"
	maxLifetime       = 365 * 24 * time.Hour
	moduleID          = "http.handlers.acme_server"
)

// Spec describes the handler. It needs the services *[Databases] and *[pki.Authorities].
func Spec() module.Spec {
	return module.New(moduleID, "Issues certificates of an own authority by the protocol ACME.", nil, compile, module.Examples(
		module.Example{Title: "Issue certificates of the authority local for all names below in.example",
			JSON: `{"handler": "acme_server", "policy": {"allow": {"domains": ["*.in.example"]}}}`},
		module.Example{Title: "Certificates of a day for a network, with checks over HTTP alone",
			JSON: `{"handler": "acme_server", "lifetime": "24h", "challenges": ["http-01"], "policy": {"allow": {"ip_ranges": ["10.0.0.0/8"]}}}`},
	), module.Directives(module.Directive{Name: "acme_server", Read: readDirective}))
}

type handler struct {
	databases   *Databases
	authorities *pki.Authorities
	ca          string
	lifetime    time.Duration
	host        string // "" for that of the request
	prefix      string // of paths, with slashes at both ends
	withRoot    bool
	resolver    *resolver // nil for the default
	challenges  []string
	policy      *policy // nil for none
	state       *state  // set by Prepare
}

func compile(env *module.Env, c *Config) (handlers.Handler, error) {
	h := &handler{
		databases: module.Service[*Databases](env), authorities: module.Service[*pki.Authorities](env),
		ca: c.CA, lifetime: time.Duration(c.Lifetime), host: c.Host, withRoot: c.SignWithRoot,
	}
	if h.ca == "" {
		h.ca = pki.DefaultID
	}
	if h.lifetime == 0 {
		h.lifetime = pki.DefaultLifetime
	}
	h.prefix = pathPrefix(c.PathPrefix)
	var problems schema.Problems
	if h.lifetime < pki.MinLifetime || h.lifetime > maxLifetime {
		problems = append(problems, module.Problem("/lifetime", fmt.Sprintf("lifetime of %s; want from %s to %s", h.lifetime, pki.MinLifetime, maxLifetime))...)
	}
	if strings.ContainsAny(c.Host, "/ \t\r\n\"") {
		problems = append(problems, module.Problem("/host", "want a host such as ca.example.com or ca.example.com:8443, not a URL")...)
	}
	var more schema.Problems
	h.challenges, more = readChallenges(c.Challenges)
	problems = append(problems, more...)
	if len(c.Resolvers) > 0 {
		h.resolver, more = newResolver(c.Resolvers)
		problems = append(problems, more...)
	}
	h.policy, more = newPolicy(c.Policy)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, problems
	}
	if !h.policy.restricts() {
		env.Warn("", "acme_server has no policy that allows or denies names: anyone who reaches it may obtain certificates of the authority "+h.ca)
	}
	env.Own(h.authorities.Need(h.ca))
	env.Own(module.Acquired(h.acquire, h.release))
	return h, nil
}

func pathPrefix(text string) string {
	if text == "" {
		return defaultPathPrefix
	}
	if text = strings.Trim(text, "/"); text == "" {
		return "/"
	}
	return "/" + text + "/"
}

// readChallenges returns the kinds of challenges without repetition, in the order of [challengeTypes] if none are given.
func readChallenges(names []string) ([]string, schema.Problems) {
	var out []string
	var problems schema.Problems
	for i, text := range names {
		name := strings.ToLower(strings.TrimSpace(text))
		if !slices.Contains(challengeTypes, name) {
			problems = append(problems, module.Problem(fmt.Sprintf("/challenges/%d", i),
				fmt.Sprintf("unknown ACME challenge %q; want %s", text, strings.Join(challengeTypes, ", ")))...)
		} else if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		out = challengeTypes
	}
	return out, problems
}

// acquire opens the database, and compares the lifetime with that of the authority which the document has by now.
func (h *handler) acquire() error {
	a, err := h.authorities.Upcoming(h.ca)
	if err != nil {
		return err
	}
	if !h.withRoot && a.Managed() && h.lifetime >= a.IntermediateLifetime() {
		return fmt.Errorf("acme_server: lifetime of certificates (%s) must be less than the lifetime of the intermediates of authority %q (%s)",
			h.lifetime, h.ca, a.IntermediateLifetime())
	}
	h.state, err = h.databases.acquire(h.ca)
	return err
}

func (h *handler) release() { h.databases.release(h.state) }

// ServeHTTP implements [handlers.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	rest, ours := strings.CutPrefix(r.URL.Path, h.prefix)
	if !ours {
		return next.ServeHTTP(w, r)
	}
	c := &call{handler: h, w: w, r: r, base: "https://" + h.hostOf(r) + h.prefix + url.PathEscape(h.ca)}
	path, ours := strings.CutPrefix(rest, h.ca+"/") // an ID may have slashes
	if !ours {
		c.fail(notFound("there is no such certificate authority here"))
		return nil
	}
	if err := c.route(path); err != nil {
		c.fail(err)
	}
	return nil
}

// hostOf is the host in URLs.
func (h *handler) hostOf(r *http.Request) string {
	if h.host != "" {
		return h.host
	}
	return strings.TrimSuffix(r.Host, ":443")
}

// logger is the logger for what a request leads to.
func logger(r *http.Request) *zap.Logger {
	if x := handlers.Of(r); x != nil && x.Server != nil {
		return x.Server.Logger(moduleID)
	}
	return zap.NewNop()
}
