package acmeserver

import (
	"encoding/json"
	"slices"
	"time"
)

// Kinds of challenges, in the order in which they are offered.
const (
	http01    = "http-01"
	dns01     = "dns-01"
	tlsALPN01 = "tls-alpn-01"
)

// challengeTypes is never written.
var challengeTypes = []string{http01, dns01, tlsALPN01}

// States of everything: RFC 8555 section 7.1.6.
const (
	statusPending     = "pending"
	statusProcessing  = "processing"
	statusReady       = "ready"
	statusValid       = "valid"
	statusInvalid     = "invalid"
	statusDeactivated = "deactivated"
	statusExpired     = "expired"
)

// account is a client, as it is kept.
type account struct {
	ID      string          `json:"id"`
	Key     json.RawMessage `json:"key"` // its public key as a JWK
	Thumb   string          `json:"thumb"`
	Contact []string        `json:"contact,omitempty"`
	Agreed  bool            `json:"agreed,omitempty"`
	Status  string          `json:"status"`
	Created time.Time       `json:"created"`
	Ordered time.Time       `json:"ordered,omitzero"` // the last time
	Open    int             `json:"open"`             // orders that are not final
	Hour    time.Time       `json:"hour,omitzero"`    // since when orders are counted
	InHour  int             `json:"inHour,omitempty"` // orders since then
}

// hourly is how many orders the account has made within the hour.
func (a *account) hourly(now time.Time) int {
	if now.Sub(a.Hour) >= time.Hour || now.Before(a.Hour) {
		return 0
	}
	return a.InHour
}

// order is an order with all that belongs to it, as it is kept.
type order struct {
	ID        string          `json:"id"`
	Account   string          `json:"account"`
	Status    string          `json:"status"`
	Created   time.Time       `json:"created"`
	Expires   time.Time       `json:"expires"`
	NotBefore time.Time       `json:"notBefore,omitzero"` // as asked for
	NotAfter  time.Time       `json:"notAfter,omitzero"`
	Names     []identifier    `json:"names"`
	Authz     []authorization `json:"authz"` // for each name, in their order
	Error     *problem        `json:"error,omitempty"`
	Chain     []byte          `json:"chain,omitempty"` // in PEM, once it is valid
	Counted   bool            `json:"counted,omitempty"`
}

// authorization is what has to be shown, or was, for one name.
type authorization struct {
	Name       identifier  `json:"name"` // without "*."
	Wildcard   bool        `json:"wildcard,omitempty"`
	Status     string      `json:"status"`
	Challenges []challenge `json:"challenges"`
}

// challenge is one way to show it.
type challenge struct {
	Type      string    `json:"type"`
	Token     string    `json:"token"`
	Status    string    `json:"status"`
	Validated time.Time `json:"validated,omitzero"`
	Error     *problem  `json:"error,omitempty"`
}

// certificate is one that was issued, as long as it is valid.
type certificate struct {
	Account  string       `json:"account"`
	Sum      []byte       `json:"sum"` // SHA-256 of it
	Names    []identifier `json:"names"`
	NotAfter time.Time    `json:"notAfter"`
	Revoked  time.Time    `json:"revoked,omitzero"`
	Reason   int          `json:"reason,omitempty"`
}

// final reports whether the order will stay as it is.
func (o *order) final() bool { return o.Status == statusValid || o.Status == statusInvalid }

// settle finds out what the state of the order is by now.
func (o *order) settle(now time.Time) {
	if o.final() {
		return
	}
	expired := now.After(o.Expires)
	ready := true
	for i := range o.Authz {
		a := &o.Authz[i]
		if expired && (a.Status == statusPending || a.Status == statusValid) {
			a.Status = statusExpired
		}
		switch a.Status {
		case statusValid:
		case statusPending:
			ready = false
		default:
			o.Status = statusInvalid
			if o.Error == nil {
				o.Error = unauthorized("the authorization for %s is %s", a.Name.Value, a.Status).of(a.Name)
			}
			return
		}
	}
	if ready {
		o.Status = statusReady
	}
}

// authz returns the authorization with a number.
func (o *order) authz(n int) *authorization {
	if n < 0 || n >= len(o.Authz) {
		return nil
	}
	return &o.Authz[n]
}

// challenge returns the challenge of a kind.
func (a *authorization) challenge(kind string) *challenge {
	i := slices.IndexFunc(a.Challenges, func(c challenge) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &a.Challenges[i]
}
