package acmeserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// algorithms is how requests may be signed.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256}

// signers is how the key of a request is given.
type signers int

const (
	byAccount signers = 1 << iota // by the URL of the account
	byKey                         // by itself
	byEither  = byAccount | byKey
)

// publicKey is a key that has signed a request.
type publicKey struct {
	jose.JSONWebKey
	thumb string
}

// equal reports whether it is the same key as another.
func (k *publicKey) equal(other any) bool {
	own, ok := k.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(other)
}

// message is a JWS in the flattened form, RFC 8555 section 6.2.
type message struct {
	Protected string          `json:"protected"`
	Payload   *string         `json:"payload"`
	Signature string          `json:"signature"`
	Header    json.RawMessage `json:"header"`
	Multiple  json.RawMessage `json:"signatures"`
}

// parsed is a JWS that is read and not verified.
type parsed struct {
	jws    *jose.JSONWebSignature
	header jose.Header
	url    string
}

// parseJWS reads a JWS of one of the algorithms, with nothing in it that ACME has no use for.
func parseJWS(text []byte) (*parsed, error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, malformed("the request is not a JWS in JSON")
	}
	if m.Header != nil || m.Multiple != nil || m.Payload == nil || m.Protected == "" || m.Signature == "" {
		return nil, malformed("want a flattened JWS with protected, payload and signature, and nothing else")
	}
	jws, err := jose.ParseSignedJSON(string(text), algorithms)
	var other *jose.ErrUnexpectedSignatureAlgorithm
	if errors.As(err, &other) {
		p := newProblem("badSignatureAlgorithm", http.StatusBadRequest, fmt.Sprintf("the algorithm %s is not supported", quote(string(other.Got))))
		for _, a := range algorithms {
			p.Algorithms = append(p.Algorithms, string(a))
		}
		return nil, p
	}
	if err != nil || len(jws.Signatures) != 1 {
		return nil, malformed("the request is not a JWS whose parts can be read")
	}
	p := &parsed{jws: jws, header: jws.Signatures[0].Protected}
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := p.header.ExtraHeaders[name]; ok {
			return nil, malformed("the header field %s is not supported", name)
		}
	}
	p.url, _ = p.header.ExtraHeaders["url"].(string)
	if (p.header.KeyID == "") == (p.header.JSONWebKey == nil) {
		return nil, malformed("want either the header field kid or jwk")
	}
	return p, nil
}

// verified returns the payload, once it is known to be signed with the key.
func (p *parsed) verified(key *publicKey) ([]byte, error) {
	payload, err := p.jws.Verify(key.Key)
	if err != nil {
		return nil, malformed("the signature does not fit the key")
	}
	return payload, nil
}

// maxRSA is the size in bits of the largest RSA key: larger ones cost whoever checks their signatures.
const maxRSA = 8192

// checkKey checks the key of an account, or one that is to get a certificate.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > maxRSA {
			return fmt.Errorf("an RSA key of %d bits; want 2048 to %d", bits, maxRSA)
		}
		return nil
	}
	return errors.New("the key is of a kind that is not supported; want ECDSA, Ed25519 or RSA")
}

// newKey checks the key of a request.
func newKey(k *jose.JSONWebKey) (*publicKey, error) {
	if err := checkKey(k.Key); err != nil {
		return nil, badPublicKey("%v", err)
	}
	clean := jose.JSONWebKey{Key: k.Key}
	sum, err := clean.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, badPublicKey("the key can not be read")
	}
	return &publicKey{clean, base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// publicKey reads the key of an account that is kept.
func (a *account) publicKey() (*publicKey, error) {
	var k jose.JSONWebKey
	if err := json.Unmarshal(a.Key, &k); err != nil {
		return nil, fmt.Errorf("reading the key of account %s: %w", a.ID, err)
	}
	return &publicKey{k, a.Thumb}, nil
}

// verify finds out who has signed the request, for this URL and once.
func (c *call) verify(allowed signers) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	p, err := parseJWS(body)
	if err != nil {
		return err
	}
	if !c.isHere(p.url) {
		return unauthorized("the request is signed for the URL %s; want that of the request", quote(p.url))
	}
	number, good := c.state.nonces.check(p.header.Nonce, c.databases.options.now())
	if !good {
		return badNonce()
	}
	switch {
	case p.header.JSONWebKey != nil && allowed&byKey != 0:
		c.key, err = newKey(p.header.JSONWebKey)
	case p.header.KeyID != "" && allowed&byAccount != 0:
		err = c.identify(p.header.KeyID)
	case allowed == byKey:
		err = malformed("want the header field jwk, with the key")
	default:
		err = malformed("want the header field kid, with the URL of the account")
	}
	if err != nil {
		return err
	}
	if c.payload, err = p.verified(c.key); err != nil {
		return err
	}
	if !c.state.nonces.use(number) {
		return badNonce()
	}
	if c.account != nil && c.account.Status != statusValid {
		return unauthorized("the account is %s", c.account.Status)
	}
	return nil
}

func badNonce() *problem {
	return newProblem("badNonce", http.StatusBadRequest, "the nonce was used before, or is not of this server or too old")
}

// identify finds the account with a URL.
func (c *call) identify(kid string) error {
	missing := newProblem("accountDoesNotExist", http.StatusBadRequest, "there is no account of this URL")
	id := c.idOf(kid, "account")
	if id == "" {
		return missing
	}
	err := c.state.store.view(func(t tx) (err error) {
		c.account, err = t.account(id)
		return err
	})
	if errors.Is(err, errGone) {
		return missing
	}
	if err != nil {
		return err
	}
	c.key, err = c.account.publicKey()
	return err
}
