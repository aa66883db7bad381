package acmeserver

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"
)

// revocationReasons is those of RFC 5280 section 5.3.1 that whoever has a certificate may give.
var revocationReasons = []int{0, 1, 3, 4, 5}

// revoke: RFC 8555 section 7.6.
func (c *call) revoke() error {
	var in struct {
		Certificate string `json:"certificate"`
		Reason      int    `json:"reason"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if !slices.Contains(revocationReasons, in.Reason) {
		return newProblem("badRevocationReason", http.StatusBadRequest, fmt.Sprintf("the reason %d is not supported", in.Reason))
	}
	der, err := base64.RawURLEncoding.DecodeString(in.Certificate)
	if err != nil {
		return malformed("certificate is not base64url without padding")
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return malformed("certificate is not one in DER")
	}
	serial, sum := leaf.SerialNumber.Text(16), sha256.Sum256(der)
	var issued *certificate
	err = c.state.store.view(func(t tx) error {
		issued, err = t.certificate(serial)
		return err
	})
	if err == nil && string(issued.Sum) != string(sum[:]) {
		err = errGone
	}
	if errors.Is(err, errGone) {
		return notFound("this server has not issued the certificate, or it has expired")
	}
	if err != nil {
		return err
	}
	if err := c.mayRevoke(issued, leaf); err != nil {
		return err
	}
	err = c.state.store.update(func(t tx) error {
		if issued, err = t.certificate(serial); err != nil {
			return err
		}
		if !issued.Revoked.IsZero() {
			return newProblem("alreadyRevoked", http.StatusBadRequest, "the certificate was revoked before")
		}
		issued.Revoked, issued.Reason = c.state.now(), in.Reason
		return t.putCertificate(serial, issued)
	})
	if err != nil {
		return err
	}
	logger(c.r).Info("certificate revoked", zap.String("ca", c.ca), zap.String("serial", serial), zap.Int("reason", in.Reason))
	c.setHeader()
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// mayRevoke: the account that has the certificate may, one to which all its names belong, and who has its key.
func (c *call) mayRevoke(issued *certificate, leaf *x509.Certificate) error {
	if c.account == nil {
		if c.key.equal(leaf.PublicKey) {
			return nil
		}
		return unauthorized("the request is not signed with the key of the certificate")
	}
	if issued.Account == c.account.ID {
		return nil
	}
	holds, err := c.holds(issued.Names)
	if err == nil && !holds {
		err = unauthorized("the certificate is not of this account, which has no authorizations for all of its names")
	}
	return err
}
