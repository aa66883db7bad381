package acmeserver

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
)

const (
	maxContacts = 10
	maxContact  = 320 // bytes
)

// newID makes an ID that nobody can guess, or a token of a challenge.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// newAccount: RFC 8555 section 7.3.
func (c *call) newAccount() error {
	var in struct {
		Contact            []string `json:"contact"`
		Agreed             bool     `json:"termsOfServiceAgreed"`
		OnlyReturnExisting bool     `json:"onlyReturnExisting"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	var there *account
	err := c.state.store.view(func(t tx) (err error) {
		there, err = t.accountOf(c.key.thumb)
		return err
	})
	if err == nil {
		return c.answerExisting(there)
	}
	if !errors.Is(err, errGone) {
		return err
	}
	if in.OnlyReturnExisting {
		return newProblem("accountDoesNotExist", http.StatusBadRequest, "there is no account with this key")
	}
	if err := checkContacts(in.Contact); err != nil {
		return err
	}
	key, err := json.Marshal(&c.key.JSONWebKey)
	if err != nil {
		return err
	}
	a := &account{ID: newID(), Key: key, Thumb: c.key.thumb, Contact: in.Contact, Agreed: in.Agreed, Status: statusValid, Created: c.state.now()}
	err = c.state.store.update(func(t tx) (err error) {
		if there, err = t.accountOf(a.Thumb); !errors.Is(err, errGone) {
			return err // another request with the same key was faster, or reading failed
		}
		if t.count(bucketAccounts) >= maxAccounts {
			c.state.hurry()
			return rateLimited("this server has too many accounts")
		}
		return t.putAccount(a, "")
	})
	if err != nil {
		return err
	}
	if there != nil {
		return c.answerExisting(there)
	}
	return c.answerAccount(http.StatusCreated, a)
}

func (c *call) answerExisting(a *account) error {
	if a.Status != statusValid {
		return unauthorized("the account is %s", a.Status)
	}
	return c.answerAccount(http.StatusOK, a)
}

func (c *call) answerAccount(status int, a *account) error {
	c.w.Header().Set("Location", c.url("account", a.ID))
	return c.answer(status, struct {
		Status  string   `json:"status"`
		Contact []string `json:"contact,omitempty"`
		Agreed  bool     `json:"termsOfServiceAgreed,omitempty"`
		Orders  string   `json:"orders"`
	}{a.Status, a.Contact, a.Agreed, c.url("account", a.ID, "orders")})
}

func checkContacts(list []string) error {
	if len(list) > maxContacts {
		return newProblem("invalidContact", http.StatusBadRequest, "too many contacts")
	}
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil || len(text) > maxContact {
			return newProblem("invalidContact", http.StatusBadRequest, quote(text)+" is not a URL of a contact")
		}
		if u.Scheme != "mailto" {
			return newProblem("unsupportedContact", http.StatusBadRequest, "want contacts such as mailto:admin@example.com")
		}
		address, err := url.PathUnescape(u.Opaque)
		if err == nil {
			var read *mail.Address
			if read, err = mail.ParseAddress(address); err == nil && read.Address != address {
				err = errors.New("more than an address")
			}
		}
		if err != nil || u.RawQuery != "" {
			return newProblem("invalidContact", http.StatusBadRequest, quote(text)+" is not one e-mail address")
		}
	}
	return nil
}

// updateAccount: RFC 8555 sections 7.3.2 and 7.3.6.
func (c *call) updateAccount(id string) error {
	if id != c.account.ID {
		return unauthorized("this is another account")
	}
	if len(c.payload) == 0 {
		return c.answerAccount(http.StatusOK, c.account)
	}
	var in struct {
		Contact *[]string `json:"contact"`
		Status  string    `json:"status"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if in.Status != "" && in.Status != statusDeactivated && in.Status != statusValid {
		return malformed("an account can only become deactivated")
	}
	if in.Contact != nil {
		if err := checkContacts(*in.Contact); err != nil {
			return err
		}
	}
	var a *account
	err := c.state.store.update(func(t tx) (err error) {
		if a, err = t.account(id); err != nil {
			return err
		}
		if in.Contact != nil {
			a.Contact = *in.Contact
		}
		if in.Status == statusDeactivated {
			a.Status = statusDeactivated
		}
		return t.putAccount(a, a.Thumb)
	})
	if err != nil {
		return err
	}
	return c.answerAccount(http.StatusOK, a)
}

const (
	// ordersPage is how many orders are listed at a time.
	ordersPage = 100
	// ordersRead is how many are read for that: those that are invalid are not listed.
	ordersRead = 1000
)

// listOrders: RFC 8555 section 7.1.2.1.
func (c *call) listOrders(id string) error {
	if id != c.account.ID {
		return unauthorized("this is another account")
	}
	if err := c.wantGet(); err != nil {
		return err
	}
	urls := []string{}
	var next string
	read := 0
	err := c.state.store.view(func(t tx) (err error) {
		var from *order
		if cursor := c.r.URL.Query().Get("cursor"); cursor != "" {
			if from, err = t.order(cursor); err != nil {
				return err
			}
			if from.Account != id {
				return errGone
			}
		}
		return t.orders(id, from, func(o *order) (bool, error) {
			if read++; len(urls) == ordersPage || read > ordersRead {
				next = o.ID
				return false, nil
			}
			if o.settle(c.state.now()); o.Status != statusInvalid {
				urls = append(urls, c.url("order", o.ID))
			}
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	if next != "" {
		c.w.Header().Add("Link", "<"+c.url("account", id, "orders")+"?cursor="+next+`>;rel="next"`)
	}
	return c.answer(http.StatusOK, struct {
		Orders []string `json:"orders"`
	}{urls})
}

// keyChange: RFC 8555 section 7.3.5.
func (c *call) keyChange() error {
	p, err := parseJWS(c.payload)
	if err != nil {
		return err
	}
	if p.header.JSONWebKey == nil {
		return malformed("want the header field jwk in the inner JWS, with the new key")
	}
	if p.header.Nonce != "" {
		return malformed("the inner JWS has a nonce; want none")
	}
	if !c.isHere(p.url) {
		return malformed("the inner JWS is for another URL")
	}
	key, err := newKey(p.header.JSONWebKey)
	if err != nil {
		return err
	}
	payload, err := p.verified(key)
	if err != nil {
		return err
	}
	var in struct {
		Account string          `json:"account"`
		OldKey  json.RawMessage `json:"oldKey"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		return malformed("the payload of the inner JWS is not the JSON object that is wanted here")
	}
	if c.idOf(in.Account, "account") != c.account.ID {
		return malformed("the inner JWS is about another account")
	}
	old, err := readKey(in.OldKey)
	if err != nil || old.thumb != c.account.Thumb {
		return malformed("oldKey is not the key of the account")
	}
	return c.replaceKey(key)
}

func readKey(text json.RawMessage) (*publicKey, error) {
	k := &publicKey{}
	if err := json.Unmarshal(text, &k.JSONWebKey); err != nil {
		return nil, err
	}
	return newKey(&k.JSONWebKey)
}

func (c *call) replaceKey(key *publicKey) error {
	text, err := json.Marshal(&key.JSONWebKey)
	if err != nil {
		return err
	}
	var a *account
	err = c.state.store.update(func(t tx) error {
		other, err := t.accountOf(key.thumb)
		if err == nil {
			p := newProblem("malformed", http.StatusConflict, "there is an account with this key")
			p.location = c.url("account", other.ID)
			return p
		}
		if !errors.Is(err, errGone) {
			return err
		}
		if a, err = t.account(c.account.ID); err != nil {
			return err
		}
		before := a.Thumb
		if before != c.account.Thumb || a.Status != statusValid {
			return unauthorized("the account has changed")
		}
		a.Key, a.Thumb = text, key.thumb
		return t.putAccount(a, before)
	})
	if err != nil {
		return err
	}
	return c.answerAccount(http.StatusOK, a)
}

// namesOf is the names of identifiers for a log entry.
func namesOf(list []identifier) string {
	var out []string
	for _, id := range list {
		out = append(out, id.Value)
	}
	return strings.Join(out, ",")
}
