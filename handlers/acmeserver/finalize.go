package acmeserver

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// finalize: RFC 8555 section 7.4. The certificate is made at once.
func (c *call) finalize(id string) error {
	var in struct {
		CSR string `json:"csr"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	what := "finalize " + id
	free, p := c.state.begin(what)
	if p != nil {
		return p
	}
	if !free {
		p := orderNotReady("the order is being finalized")
		p.retryAfter = "1"
		return p
	}
	defer c.state.end(what)
	o, err := c.ownOrder(id)
	if err != nil {
		return err
	}
	if o.Status != statusReady {
		return orderNotReady("the order is %s", o.Status)
	}
	csr, err := c.readCSR(in.CSR, o)
	if err != nil {
		return err
	}
	for _, name := range o.Names { // the policy may have changed
		if err := c.policy.allows(name); err != nil {
			return rejected(name, err.Error())
		}
	}
	if o, err = c.issue(o, csr); err != nil {
		return err
	}
	return c.answerOrder(http.StatusOK, o)
}

// readCSR reads a request for a certificate and checks that it is for the names of the order.
func (c *call) readCSR(text string, o *order) (*x509.CertificateRequest, error) {
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, badCSR("csr is not base64url without padding")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, badCSR("csr is not a certificate request in DER")
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, badPublicKey("%v", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, badCSR("the certificate request is not signed with its key")
	}
	if len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return nil, badCSR("the certificate request has e-mail addresses or URIs; want DNS names and IP addresses only")
	}
	if c.key.equal(csr.PublicKey) {
		return nil, badCSR("the certificate request is for the key of the account; want another key")
	}
	asked := map[identifier]bool{}
	for _, name := range csr.DNSNames {
		asked[identifier{typeDNS, strings.ToLower(name)}] = true
	}
	for _, ip := range csr.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		asked[identifier{typeIP, addr.Unmap().String()}] = true
	}
	if name := csr.Subject.CommonName; name != "" {
		if addr, err := netip.ParseAddr(name); err == nil {
			asked[identifier{typeIP, addr.String()}] = true
		} else {
			asked[identifier{typeDNS, strings.ToLower(name)}] = true
		}
	}
	for id := range asked {
		if !slices.Contains(o.Names, id) {
			return nil, badCSR("the certificate request has the name %s, which the order has not", quote(id.Value))
		}
	}
	if len(asked) != len(o.Names) {
		return nil, badCSR("the certificate request lacks names of the order")
	}
	return csr, nil
}

// issue makes the certificate of an order.
func (c *call) issue(o *order, csr *x509.CertificateRequest) (*order, error) {
	if err := c.checkValidity(o); err != nil {
		return nil, err
	}
	authority, err := c.authorities.Get(c.ca)
	if err != nil {
		return nil, err
	}
	_, until := o.period(c.state.now(), c.lifetime)
	template := &x509.Certificate{PublicKey: csr.PublicKey, Subject: pkix.Name{CommonName: csr.Subject.CommonName}, NotBefore: o.NotBefore, NotAfter: until}
	for _, id := range o.Names {
		if id.Type == typeIP {
			template.IPAddresses = append(template.IPAddresses, netip.MustParseAddr(id.Value).AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	chain, err := authority.SignTemplate(c.r.Context(), template, c.withRoot)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, der := range chain {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, err
		}
	}
	if o, err = c.storeIssued(o.ID, leaf, text.Bytes()); err != nil {
		return nil, err
	}
	logger(c.r).Info("certificate issued", zap.String("ca", c.ca), zap.String("account", o.Account), zap.String("names", namesOf(o.Names)),
		zap.String("serial", leaf.SerialNumber.Text(16)), zap.Time("not_after", leaf.NotAfter))
	return o, nil
}

// storeIssued ends an order.
func (c *call) storeIssued(id string, leaf *x509.Certificate, chain []byte) (o *order, err error) {
	sum := sha256.Sum256(leaf.Raw)
	err = c.state.store.update(func(t tx) error {
		if o, err = t.order(id); err != nil {
			return err
		}
		if o.settle(c.state.now()); o.Status != statusReady {
			return orderNotReady("the order is %s", o.Status)
		}
		o.Status, o.Chain = statusValid, chain
		if err := t.putOrder(o); err != nil {
			return err
		}
		return t.putCertificate(leaf.SerialNumber.Text(16), &certificate{Account: o.Account, Sum: sum[:], Names: o.Names, NotAfter: leaf.NotAfter})
	})
	return o, err
}

// fetch: RFC 8555 section 7.4.2.
func (c *call) fetch(id string) error {
	if err := c.wantGet(); err != nil {
		return err
	}
	o, err := c.ownOrder(id)
	if err != nil {
		return err
	}
	if o.Status != statusValid {
		return errGone
	}
	c.setHeader()
	return c.write("application/pem-certificate-chain", http.StatusOK, o.Chain)
}
