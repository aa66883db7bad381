// Package access says what the clients of the remote admin endpoint may do: the rules of `admin.remote.access_control`. A
// client is known by the public key of its certificate, or of an authority that has signed it.
package access

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Permission is one condition on requests.
type Permission struct {
	// Methods is the methods that are allowed; nil is all, an empty list none.
	Methods []string
	// Paths is the paths that are allowed, each with all that is below it; nil is all, an empty list none. One that ends in
	// a slash is only the beginning of paths.
	Paths []string
}

// Rule says what some clients may do.
type Rule struct {
	// Certificates is those whose public keys the rule is for.
	Certificates []*x509.Certificate
	// Permissions is the conditions, each of which a request has to meet. None allows everything.
	Permissions []Permission
}

// Rules is what all clients may do. It is immutable and safe for concurrent use.
type Rules struct {
	rules []Rule
	pool  *x509.CertPool
	first map[string]int // by public key the first rule for it
}

// New makes Rules. The error names a certificate whose public key is of a kind that cannot be compared.
func New(rules []Rule) (*Rules, error) {
	r := &Rules{rules: slices.Clone(rules), pool: x509.NewCertPool(), first: map[string]int{}}
	for i, rule := range rules {
		for j, cert := range rule.Certificates {
			key, err := keyOf(cert.PublicKey)
			if err != nil {
				return nil, fmt.Errorf("rule %d, certificate %d: %w", i, j, err)
			}
			if _, ok := r.first[key]; !ok {
				r.first[key] = i
			}
			r.pool.AddCert(cert)
		}
	}
	return r, nil
}

// CheckCertificate returns why a certificate cannot stand for a client, if it cannot.
func CheckCertificate(c *x509.Certificate) error {
	_, err := keyOf(c.PublicKey)
	return err
}

// keyOf is the same for equal keys.
func keyOf(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("reading the public key: %w", err)
	}
	return string(der), nil
}

// Pool is exactly the certificates of all rules. It must not be changed.
func (r *Rules) Pool() *x509.CertPool { return r.pool }

// Denied is why a request is refused.
type Denied struct {
	// Status is the HTTP status, Msg the text for the client.
	Status int
	Msg    string
}

// Error returns Msg.
func (d *Denied) Error() string { return d.Msg }

// Reasons to refuse a request.
var (
	errIdentity = &Denied{http.StatusUnauthorized, "client identity not authorized"}
	errMethod   = &Denied{http.StatusForbidden, "not authorized to use this method"}
	errPath     = &Denied{http.StatusForbidden, "not authorized to access this path"}
)

// Grant is what one client may do.
type Grant struct {
	rule  *Rule
	name  string
	until time.Time
}

// Find finds the rule for a client from the certificates that it has sent, its own first. They are verified as in a
// handshake at this time, so that the answer is what the client would get if it connected now. The error is a *Denied.
func (r *Rules) Find(sent []*x509.Certificate, now time.Time) (*Grant, error) {
	if len(sent) == 0 {
		return nil, errIdentity
	}
	between := x509.NewCertPool()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	chains, err := sent[0].Verify(x509.VerifyOptions{
		Roots: r.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, errIdentity
	}
	found, until := -1, time.Time{}
	for _, chain := range chains {
		for _, c := range chain {
			key, err := keyOf(c.PublicKey)
			if err != nil {
				continue
			}
			if i, ok := r.first[key]; ok && (found < 0 || i < found) {
				found, until = i, endOf(chain)
			}
		}
	}
	if found < 0 {
		return nil, errIdentity
	}
	return &Grant{rule: &r.rules[found], name: nameOf(sent[0]), until: until}, nil
}

// endOf is when the first certificate of a chain expires.
func endOf(chain []*x509.Certificate) time.Time {
	end := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// maxName is how many bytes of a client's name are repeated.
const maxName = 64

// nameOf is how a client is called in the history: by its certificate's common name, else its first name, else its number.
func nameOf(c *x509.Certificate) string {
	name := c.Subject.CommonName
	switch {
	case name != "":
	case len(c.DNSNames) > 0:
		name = c.DNSNames[0]
	case len(c.EmailAddresses) > 0:
		name = c.EmailAddresses[0]
	default:
		name = "certificate " + c.SerialNumber.Text(16)
	}
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '@' {
			return '_'
		}
		return r
	}, name)
	return name[:min(len(name), maxName)]
}

// Name is how the client is called in the history of changes. It is one word of printable ASCII.
func (g *Grant) Name() string { return g.name }

// Allow returns nil if the client may use a method on a path, else a *Denied. A path that is not clean must be allowed as
// it is and as what it leads to.
func (g *Grant) Allow(method, urlPath string) error {
	clean := path.Clean(urlPath)
	for i := range g.rule.Permissions {
		p := &g.rule.Permissions[i]
		if p.Methods != nil && !slices.Contains(p.Methods, method) {
			return errMethod
		}
		if p.Paths != nil && !(p.fits(urlPath) && (clean == strings.TrimSuffix(urlPath, "/") || p.fits(clean))) {
			return errPath
		}
	}
	return nil
}

func (p *Permission) fits(urlPath string) bool {
	return slices.ContainsFunc(p.Paths, func(entry string) bool {
		rest, ok := strings.CutPrefix(urlPath, entry)
		return ok && (rest == "" || entry == "" || entry[len(entry)-1] == '/' || rest[0] == '/')
	})
}
