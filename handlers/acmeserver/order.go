package acmeserver

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/server/pki"
)

// maxNames is how many names an order may have.
const maxNames = 100

// newOrder: RFC 8555 section 7.4.
func (c *call) newOrder() error {
	var in struct {
		Identifiers []identifier `json:"identifiers"`
		NotBefore   time.Time    `json:"notBefore"`
		NotAfter    time.Time    `json:"notAfter"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	names, err := c.checkNames(in.Identifiers)
	if err != nil {
		return err
	}
	now := c.state.now().UTC().Round(0)
	o := &order{
		ID: newID(), Account: c.account.ID, Status: statusPending, Created: now, Expires: now.Add(orderLife).Truncate(time.Second),
		NotBefore: in.NotBefore.UTC(), NotAfter: in.NotAfter.UTC(), Names: names,
	}
	if err := c.checkValidity(o); err != nil {
		return err
	}
	for _, id := range names {
		a, err := c.newAuthorization(id)
		if err != nil {
			return err
		}
		o.Authz = append(o.Authz, *a)
	}
	err = c.state.store.update(func(t tx) error {
		a, err := t.account(o.Account)
		if err != nil {
			return err
		}
		switch {
		case a.Open >= maxOpen:
			return rateLimited("the account has " + strconv.Itoa(maxOpen) + " orders that are not finished")
		case a.hourly(now) >= maxHourly:
			return rateLimited("the account has made " + strconv.Itoa(maxHourly) + " orders within an hour")
		case t.count(bucketOrders) >= maxOrders, t.count(bucketCertificates) >= maxCertificates:
			c.state.hurry()
			return rateLimited("this server has too many orders")
		}
		return t.addOrder(o, now)
	})
	if err != nil {
		return err
	}
	return c.answerOrder(http.StatusCreated, o)
}

// checkNames returns the names of an order, each once and in its only form.
func (c *call) checkNames(list []identifier) ([]identifier, error) {
	if len(list) == 0 {
		return nil, malformed("the order has no identifiers")
	}
	if len(list) > maxNames {
		return nil, malformed("the order has %d identifiers; want at most %d", len(list), maxNames)
	}
	var names []identifier
	var problems []*problem
	for _, id := range list {
		id, p := id.check()
		if p == nil {
			p = c.refuses(id)
		}
		if p != nil {
			problems = append(problems, p)
		} else if !slices.Contains(names, id) {
			names = append(names, id)
		}
	}
	if len(problems) > 0 {
		return nil, together(problems)
	}
	return names, nil
}

// refuses says why there is no certificate for a name here.
func (c *call) refuses(id identifier) *problem {
	if err := c.policy.allows(id); err != nil {
		return rejected(id, err.Error())
	}
	if len(c.challengesFor(id)) == 0 {
		return rejected(id, "this server has no way to check "+id.Value+": it only does "+strings.Join(c.challenges, ", "))
	}
	return nil
}

// challengesFor is the kinds of challenges that can be made for a name.
func (c *call) challengesFor(id identifier) []string {
	return slices.DeleteFunc(slices.Clone(c.challenges), func(kind string) bool {
		switch {
		case id.Type == typeIP:
			return kind == dns01 // RFC 8738 section 7
		case strings.HasPrefix(id.Value, "*."):
			return kind != dns01
		}
		return false
	})
}

// checkValidity checks for which time the certificate is asked for.
func (c *call) checkValidity(o *order) error {
	if o.NotBefore.IsZero() && o.NotAfter.IsZero() {
		return nil
	}
	authority, err := c.authorities.Get(c.ca)
	if err != nil {
		return err
	}
	now := c.state.now()
	from, until := o.period(now, c.lifetime)
	signer := authority.Intermediate()
	if c.withRoot {
		signer = authority.Root()
	}
	switch d := until.Sub(from); {
	case d < pki.MinLifetime || d > maxLifetime:
		return malformed("a certificate for %s; want from %s to %s", d, pki.MinLifetime, maxLifetime)
	case from.Before(now.Add(-time.Hour)) || from.After(now.Add(maxLifetime)):
		return malformed("notBefore is too far from now")
	case !until.After(now):
		return malformed("notAfter has passed")
	case until.After(signer.NotAfter):
		return malformed("notAfter is later than that of the authority, %s", signer.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// period is for which time the certificate is to be valid.
func (o *order) period(now time.Time, lifetime time.Duration) (from, until time.Time) {
	from, until = o.NotBefore, o.NotAfter
	if from.IsZero() {
		from = now
	}
	if until.IsZero() {
		until = from.Add(lifetime)
	}
	return from, until
}

func (c *call) newAuthorization(id identifier) (*authorization, error) {
	a := &authorization{Name: id, Status: statusPending}
	for _, kind := range c.challengesFor(id) {
		a.Challenges = append(a.Challenges, challenge{Type: kind, Token: newID(), Status: statusPending})
	}
	a.Name.Value, a.Wildcard = strings.CutPrefix(id.Value, "*.")
	return a, nil
}

// ownOrder loads an order of the account, as it is by now.
func (c *call) ownOrder(id string) (o *order, err error) {
	err = c.state.store.view(func(t tx) error {
		o, err = t.order(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if o.Account != c.account.ID {
		return nil, unauthorized("this is an order of another account")
	}
	o.settle(c.state.now())
	return o, nil
}

func (c *call) showOrder(id string) error {
	if err := c.wantGet(); err != nil {
		return err
	}
	o, err := c.ownOrder(id)
	if err != nil {
		return err
	}
	c.resume(o)
	return c.answerOrder(http.StatusOK, o)
}

func (c *call) answerOrder(status int, o *order) error {
	out := struct {
		Status         string       `json:"status"`
		Expires        string       `json:"expires"`
		Identifiers    []identifier `json:"identifiers"`
		NotBefore      time.Time    `json:"notBefore,omitzero"`
		NotAfter       time.Time    `json:"notAfter,omitzero"`
		Error          *problem     `json:"error,omitempty"`
		Authorizations []string     `json:"authorizations"`
		Finalize       string       `json:"finalize"`
		Certificate    string       `json:"certificate,omitempty"`
	}{
		Status: o.Status, Expires: stamp(o.Expires), Identifiers: o.Names, NotBefore: o.NotBefore, NotAfter: o.NotAfter, Error: o.Error,
		Finalize: c.url("order", o.ID, "finalize"),
	}
	for i := range o.Authz {
		out.Authorizations = append(out.Authorizations, c.url("authz", authzID(o, i)))
	}
	if o.Status == statusValid {
		out.Certificate = c.url("certificate", o.ID)
	}
	c.w.Header().Set("Location", c.url("order", o.ID))
	return c.answer(status, out)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// authzID is the ID of the authorization with a number in an order.
func authzID(o *order, n int) string { return o.ID + "." + strconv.Itoa(n) }

// splitAuthzID is the inverse of authzID.
func splitAuthzID(id string) (order string, n int, err error) {
	order, number, _ := strings.Cut(id, ".")
	if n, err = strconv.Atoi(number); err != nil {
		return "", 0, errGone
	}
	return order, n, nil
}

// ownAuthz loads an authorization of the account.
func (c *call) ownAuthz(id string) (o *order, n int, a *authorization, err error) {
	orderID, n, err := splitAuthzID(id)
	if err != nil {
		return nil, 0, nil, err
	}
	if o, err = c.ownOrder(orderID); err != nil {
		return nil, 0, nil, err
	}
	if a = o.authz(n); a == nil {
		return nil, 0, nil, errGone
	}
	return o, n, a, nil
}

// showAuthz: RFC 8555 sections 7.5 and 7.5.2.
func (c *call) showAuthz(id string) error {
	o, n, a, err := c.ownAuthz(id)
	if err != nil {
		return err
	}
	if len(c.payload) > 0 {
		var in struct {
			Status string `json:"status"`
		}
		if err := c.read(&in); err != nil {
			return err
		}
		if in.Status != statusDeactivated {
			return malformed("an authorization can only become deactivated")
		}
		if o, a, err = c.deactivateAuthz(o.ID, n); err != nil {
			return err
		}
	}
	c.resume(o)
	out := struct {
		Identifier identifier      `json:"identifier"`
		Status     string          `json:"status"`
		Expires    string          `json:"expires"`
		Challenges []challengeView `json:"challenges"`
		Wildcard   bool            `json:"wildcard,omitempty"`
	}{Identifier: a.Name, Status: a.Status, Expires: stamp(o.Expires), Wildcard: a.Wildcard}
	for i := range a.Challenges {
		ch := &a.Challenges[i]
		if ch.Status == statusProcessing {
			c.w.Header().Set("Retry-After", "1")
		}
		out.Challenges = append(out.Challenges, c.viewOf(o, n, ch))
	}
	return c.answer(http.StatusOK, out)
}

func (c *call) deactivateAuthz(id string, n int) (o *order, a *authorization, err error) {
	err = c.state.store.update(func(t tx) error {
		if o, err = t.order(id); err != nil {
			return err
		}
		if a = o.authz(n); a == nil {
			return errGone
		}
		if a.Status != statusPending && a.Status != statusValid {
			return malformed("the authorization is %s", a.Status)
		}
		a.Status = statusDeactivated
		o.settle(c.state.now())
		return t.putOrder(o)
	})
	return o, a, err
}

// holds reports whether the account has shown that all the names are its own, in orders that are still kept.
func (c *call) holds(names []identifier) (bool, error) {
	missing := slices.Clone(names)
	now := c.state.now()
	read := 0
	err := c.state.store.view(func(t tx) error {
		return t.orders(c.account.ID, nil, func(o *order) (bool, error) {
			read++
			for i := range o.Authz {
				a := &o.Authz[i]
				if a.Status != statusValid || now.After(o.Expires) {
					continue
				}
				id := a.Name
				if a.Wildcard {
					id.Value = "*." + id.Value
				}
				missing = slices.DeleteFunc(missing, func(m identifier) bool { return m == id })
			}
			return len(missing) > 0 && read < maxHourly, nil
		})
	})
	if errors.Is(err, errGone) {
		err = nil
	}
	return len(missing) == 0 && len(names) > 0, err
}
