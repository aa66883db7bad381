package handshake

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Source is where certificates come from.
type Source interface {
	// Config returns what is responsible for the certificates of a name; the name is as the client sent it, or the default of
	// the policy. It is called for each full handshake, from several goroutines. Names with the same settings should have the
	// same config, because policies keep a copy of each.
	Config(serverName string) *certmagic.Config
}

// PatientSource is a Source whose certificates may still be on their way.
type PatientSource interface {
	// Await waits, within bounds, for the first certificate of a name. It is called before Config, unless a certificate
	// authority asks (RFC 8737).
	Await(ctx context.Context, serverName string)
}

// ECHSource is a Source that has keys of Encrypted ClientHello.
type ECHSource interface {
	// ECHKeys has the type of [crypto/tls.Config.GetEncryptedClientHelloKeys].
	ECHKeys(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error)
}

// acmeALPN is the protocol of the ACME challenge that is answered in the handshake (RFC 8737 section 4).
const acmeALPN = "acme-tls/1"

// Policy is one compiled policy.
type Policy struct {
	// keys are where it stands in the index; with indexed it stands nowhere else.
	keys    []string
	indexed bool
	// matchers are asked when it was found.
	matchers []Matcher
	regexp   *regexpMatcher

	drop                      bool
	min, max                  uint16
	ciphers                   []uint16
	curves                    []tls.CurveID
	alpn                      []string
	selection                 *selection
	defaultName, fallbackName string
	client                    *clientAuth
	secrets                   *secretsLog
	tickets                   *Tickets

	mu       sync.Mutex
	variants atomic.Pointer[[]*variant]
}

func compilePolicy(env *module.Env, c *Config) (*Policy, error) {
	p := &Policy{drop: c.Drop, defaultName: c.DefaultSNI, fallbackName: c.FallbackSNI, tickets: module.Service[*Tickets](env)}
	p.readMatchers(c)
	var problems schema.Problems
	add := func(more schema.Problems, at string) { problems = append(problems, more.Under(at)...) }
	var more schema.Problems
	p.ciphers, more = cipherSuites(env, c.CipherSuites)
	add(more, "/cipher_suites")
	p.curves, more = curveIDs(c.Curves)
	add(more, "/curves")
	p.alpn, more = protocolNames(c.ALPN)
	add(more, "/alpn")
	add(p.readVersions(c), "")
	if c.CertificateSelection != nil {
		p.selection, more = c.CertificateSelection.compile()
		add(more, "/certificate_selection")
	}
	if c.ClientAuthentication.Active() {
		p.client, more = c.ClientAuthentication.compile(env)
		add(more, "/client_authentication")
	}
	if c.InsecureSecretsLog != "" {
		file, err := env.ExpandStrict(c.InsecureSecretsLog)
		if err != nil {
			problems = append(problems, module.Problem("/insecure_secrets_log", fmt.Sprintf("expanding the name of the secrets log: %v", err))...)
		}
		env.Warn("/insecure_secrets_log", "the secrets of connections are written to a file; whoever reads it can decrypt what was recorded of them")
		p.secrets = &secretsLog{name: file}
		env.Own(p.secrets)
	}
	return p, asError(problems)
}

// readMatchers sorts the matchers: what names names goes to the index, if it can.
func (p *Policy) readMatchers(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Match)) {
		m := c.Match[name].Value()
		switch m := m.(type) {
		case *sniMatcher:
			if p.keys, p.indexed = m.keys(); p.indexed {
				continue
			}
		case *regexpMatcher:
			p.regexp = m
		}
		p.matchers = append(p.matchers, m)
	}
}

// match reports whether the policy, found through the index if it is there, is for the client.
func (p *Policy) match(c *Client) bool {
	for _, m := range p.matchers {
		if !m.Match(c) {
			return false
		}
	}
	return true
}

func (p *Policy) readVersions(c *Config) schema.Problems {
	p.min, p.max = tls.VersionTLS12, tls.VersionTLS13
	if v, ok := versions[c.ProtocolMin]; ok {
		p.min = v
	}
	if v, ok := versions[c.ProtocolMax]; ok {
		p.max = v
	}
	if p.min > p.max {
		return module.Problem("/protocol_min", fmt.Sprintf("protocol min (%x) cannot be greater than protocol max (%x); the protocols are tls1.2 and tls1.3, in this order", p.min, p.max))
	}
	return nil
}

// variant is what a policy is at one kind of listener.
type variant struct {
	key variantKey
	// tls is the config with session tickets, full that without; they are one if the policy never has tickets.
	tls, full *tls.Config
	// challenge is the config for ACME challenges, where that is another one: it asks for no certificate, and is good for
	// nothing else, since such a connection ends with the handshake and has no certificate unless a challenge is under way.
	challenge *tls.Config
	// keys is the version of the ticket keys that tls has.
	keys atomic.Uint64

	policy  *Policy
	configs certConfigs
}

type variantKey struct {
	source    Source
	protocols string
}

// maxVariants is more than one server ever has; variants of sources that are gone are dropped when there are more.
const maxVariants = 16

// variant finds or makes the variant.
func (p *Policy) variant(key variantKey) *variant {
	if v := find(p.variants.Load(), key); v != nil {
		return v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.variants.Load()
	if v := find(old, key); v != nil {
		return v
	}
	v := p.build(key)
	list := []*variant{v}
	if old != nil && len(*old) < maxVariants {
		list = append(list, *old...)
	}
	p.variants.Store(&list)
	return v
}

func find(list *[]*variant, key variantKey) *variant {
	if list == nil {
		return nil
	}
	for _, v := range *list {
		if v.key == key {
			return v
		}
	}
	return nil
}

func (p *Policy) build(key variantKey) *variant {
	v := &variant{key: key, policy: p}
	v.full = &tls.Config{
		MinVersion: p.min, MaxVersion: p.max, CipherSuites: p.ciphers, CurvePreferences: p.curves,
		NextProtos:             p.protocols(strings.Split(key.protocols, ",")),
		GetCertificate:         v.certificate,
		SessionTicketsDisabled: true,
	}
	if p.secrets != nil {
		v.full.KeyLogWriter = p.secrets
	}
	if ech, ok := key.source.(ECHSource); ok {
		v.full.GetEncryptedClientHelloKeys = ech.ECHKeys
	}
	v.tls = v.full
	if p.client != nil {
		v.challenge = v.full.Clone()
		v.challenge.NextProtos = []string{acmeALPN}
		p.client.apply(v.full)
	} else {
		v.tls = v.full.Clone()
		v.tls.SessionTicketsDisabled = false
	}
	return v
}

// protocols is the ALPN at a listener that speaks the given ones.
func (p *Policy) protocols(spoken []string) []string {
	var out []string
	if p.alpn == nil {
		out = append(out, spoken...)
	}
	for _, name := range p.alpn {
		// Nobody would answer on such a connection.
		if (name == "h2" || name == "http/1.1") && !slices.Contains(spoken, name) {
			continue
		}
		out = append(out, name)
	}
	out = slices.DeleteFunc(out, func(name string) bool { return name == "" || name == acmeALPN })
	return append(out, acmeALPN)
}

// config is the config for a handshake, with the ticket keys of now.
func (v *variant) config(t *Tickets) *tls.Config {
	s := t.state.Load()
	if s.disabled || v.tls == v.full {
		return v.full
	}
	if v.keys.Load() != s.version {
		// Several handshakes may do this at once. One with an older state must not have the last word, so whoever finds that the
		// state has moved on does it again.
		for {
			v.tls.SetSessionTicketKeys(s.keys)
			v.keys.Store(s.version)
			now := t.state.Load()
			if now == s {
				break
			}
			s = now
		}
	}
	return v.tls
}

// certificate has the type of [crypto/tls.Config.GetCertificate].
func (v *variant) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if name == "" {
		name = v.policy.defaultName
	}
	if patient, ok := v.key.source.(PatientSource); ok && !slices.Contains(hello.SupportedProtos, acmeALPN) {
		patient.Await(hello.Context(), name)
	}
	config := v.key.source.Config(name)
	if config == nil {
		return nil, fmt.Errorf("no source of certificates for server name %q", name)
	}
	if v.policy.selection != nil || v.policy.defaultName != "" || v.policy.fallbackName != "" {
		config = v.configs.of(config, v.policy)
	}
	return config.GetCertificate(hello)
}

// certConfigs is the configs of certificates as the policy has them, by those that they were copied from.
type certConfigs struct {
	mu    sync.Mutex
	n     int
	known atomic.Pointer[sync.Map] // *certmagic.Config to *certmagic.Config
}

// maxCertConfigs is how many copies are kept; with more, those of configs that may be gone are dropped with the others.
const maxCertConfigs = 1024

func (c *certConfigs) of(from *certmagic.Config, p *Policy) *certmagic.Config {
	if known := c.known.Load(); known != nil {
		if config, ok := known.Load(from); ok {
			return config.(*certmagic.Config)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.known.Load()
	if known == nil || c.n >= maxCertConfigs {
		known, c.n = &sync.Map{}, 0
		c.known.Store(known)
	}
	if config, ok := known.Load(from); ok {
		return config.(*certmagic.Config)
	}
	config := *from
	if p.defaultName != "" {
		config.DefaultServerName = p.defaultName
	}
	if p.fallbackName != "" {
		config.FallbackServerName = p.fallbackName
	}
	if p.selection != nil {
		config.CertSelection = p.selection
	}
	known.Store(from, &config)
	c.n++
	return &config
}

func index(i int) string { return "/" + strconv.Itoa(i) }
