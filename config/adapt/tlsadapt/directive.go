package tlsadapt

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// Directive is a tls directive.
type Directive struct {
	// Token is its name.
	Token caddyfile.Token

	at places.Place
	// policy is the fields of the connection policy, without those that depend on
	// the site's names.
	policy members
	// force manages the site's names whatever certificates there are.
	force bool
	// files and folders is where certificates are loaded from.
	files   []*config.Node
	folders []string

	issuers, managers []*config.Node
	onDemand, reuse   bool
	keyType           string
	ratio             float64
}

// reading is a tls directive while it is read.
type reading struct {
	*Directive
	options  *Options
	use      *module.Use
	policy   handshake.Config
	acme     issuance.ACMEConfig
	internal bool
	implicit bool // a line describes the ACME issuer
	explicit []*config.Node
	tuning   []string // lines about the DNS challenge, in the order of use
}

var directiveLines = caddyfile.Options[reading]{Lines: append([]caddyfile.Option[reading]{
	{Name: "protocols", Args: caddyfile.Between(1, 2), Set: func(t *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		t.policy.ProtocolMin = args[0].Text
		if len(args) == 2 {
			t.policy.ProtocolMax = args[1].Text
		}
		return known(args, handshake.Protocols(), "wrong protocol name or protocol not supported: '%s'")
	}},
	{Name: "ciphers", Args: caddyfile.AtLeast(1), Set: func(t *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		t.policy.CipherSuites = appendTexts(t.policy.CipherSuites, args)
		return known(args, handshake.CipherSuites(), "wrong cipher suite name or cipher suite not supported: '%s'")
	}},
	{Name: "curves", Args: caddyfile.AtLeast(1), Set: func(t *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		t.policy.Curves = appendTexts(t.policy.Curves, args)
		return known(args, handshake.Curves(), "wrong curve name or curve not supported: '%s'")
	}},
	{Name: "alpn", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(t *reading) *[]string { return &t.policy.ALPN })},
	{Name: "client_auth", Args: caddyfile.AtLeast(0), Block: true, Set: func(t *reading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
		d.Back(len(args))
		t.policy.ClientAuthentication, err = handshake.ReadClientAuth(t.use, d, t.options.readFile)
		return err
	}},
	{Name: "insecure_secrets_log", Args: one, Set: caddyfile.String(func(t *reading) *string { return &t.policy.InsecureSecretsLog })},
	{Name: "load", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(t *reading) *[]string { return &t.folders })},
	{Name: "key_type", Args: one, Set: caddyfile.String(func(t *reading) *string { return &t.keyType })},
	{Name: "on_demand", Set: caddyfile.Flag(func(t *reading) *bool { return &t.onDemand })},
	{Name: "reuse_private_keys", Set: caddyfile.Flag(func(t *reading) *bool { return &t.reuse })},
	{Name: "renewal_window_ratio", Args: one, Set: func(t *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
		t.ratio, err = parseRatio(args[0].Text, false)
		return err
	}},
	{Name: "get_certificate", Args: caddyfile.AtLeast(1), Block: true, Set: func(t *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		d.Back(len(args) - 1)
		n, err := t.use.Module(d, "tls.get_certificate", "via")
		t.managers = append(t.managers, n)
		return err
	}},
	{Name: "issuer", Args: caddyfile.AtLeast(1), Block: true, Set: func(t *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		d.Back(len(args) - 1)
		n, err := t.use.Module(d, "tls.issuance", "module")
		t.explicit = append(t.explicit, n)
		return err
	}},
	{Name: "ca", Args: one, Set: acmeLine(func(a *issuance.ACMEConfig, args []caddyfile.Token) { a.CA = args[0].Text })},
	{Name: "ca_root", Args: one, Set: acmeLine(func(a *issuance.ACMEConfig, args []caddyfile.Token) {
		a.TrustedRootsPEMFiles = append(a.TrustedRootsPEMFiles, args[0].Text)
	})},
	{Name: "eab", Args: caddyfile.Exactly(2), Set: acmeLine(func(a *issuance.ACMEConfig, args []caddyfile.Token) {
		a.ExternalAccount = &issuance.ExternalAccount{KeyID: args[0].Text, MACKey: args[1].Text}
	})},
	{Name: "dns", Args: caddyfile.AtLeast(0), Block: true, Set: func(t *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if len(args) == 0 && t.options.app["dns"] == nil {
			return d.ArgErr()
		}
		t.implicit = true
		return issuance.ReadProvider(t.use, t.challenge(), d, args)
	}},
}, tuningLines()...)}

// tuningLines is the lines about the DNS challenge, which need a provider.
func tuningLines() []caddyfile.Option[reading] {
	lines := issuance.DNSLines((*reading).challenge, true)
	for i := range lines {
		name, set := lines[i].Name, lines[i].Set
		lines[i].Set = func(t *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			t.implicit = true
			if !slices.Contains(t.tuning, name) {
				t.tuning = append(t.tuning, name)
			}
			return set(t, d, args)
		}
	}
	return lines
}

func acmeLine(set func(a *issuance.ACMEConfig, args []caddyfile.Token)) func(*reading, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(t *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		t.implicit = true
		set(&t.acme, args)
		return nil
	}
}

func (t *reading) challenge() *issuance.DNSChallenge {
	if t.acme.Challenges.DNS == nil {
		t.acme.Challenges.DNS = &issuance.DNSChallenge{}
	}
	return t.acme.Challenges.DNS
}

// known checks that names are in a list.
func known(args []caddyfile.Token, names []string, sentence string) error {
	for _, a := range args {
		if !slices.Contains(names, a.Text) {
			return a.Errf(sentence, caddyfile.Shorten(a.Text)).Suggest(a.Text, names)
		}
	}
	return nil
}

func appendTexts(list []string, args []caddyfile.Token) []string {
	for _, a := range args {
		list = append(list, a.Text)
	}
	return list
}

// Directive reads a directive tls.
func (o *Options) Directive(u *module.Use, d *caddyfile.Dispenser) (*Directive, error) {
	t := &reading{Directive: &Directive{Token: u.Token, at: o.Places.Here(u.Token)}, options: o, use: u}
	args := d.RemainingArgTokens()
	var pair []string
	switch {
	case len(args) == 0:
	case len(args) == 2:
		pair = []string{args[0].Text, args[1].Text}
	case len(args) > 2:
		return nil, d.ArgErr()
	case args[0].Text == "internal":
		t.internal = true
	case args[0].Text == "force_automate":
		t.force = true
	case strings.Contains(args[0].Text, "@"):
		t.acme.Email, t.implicit = args[0].Text, true
	default:
		return nil, d.Errf("single argument must either be 'internal', 'force_automate', or an email address")
	}
	before := d.Token()
	if err := directiveLines.Parse(d, t); err != nil {
		return nil, err
	}
	if len(args) == 0 && emptyBlock(before, d) {
		return nil, d.ArgErr()
	}
	if err := t.finish(d, pair); err != nil {
		return nil, err
	}
	return t.Directive, nil
}

// emptyBlock reports whether nothing was read between two tokens but the braces
// of a block.
func emptyBlock(before caddyfile.Token, d *caddyfile.Dispenser) bool {
	if d.Token() == before {
		return true
	}
	d.Prev()
	defer d.Next()
	return d.Token().Opens() || d.Token() == before
}

// finish makes what the directive stands for of what was read.
func (t *reading) finish(d *caddyfile.Dispenser, pair []string) error {
	if len(t.tuning) > 0 && !t.challenge().Provider.Set() && t.options.app["dns"] == nil && t.options.acme.Provider == nil {
		return d.Errf("setting DNS challenge options [%s] requires a DNS provider (set with the 'dns' subdirective or 'acme_dns' global option)", strings.Join(t.tuning, ", "))
	}
	if len(t.explicit) > 0 && (t.implicit || t.internal) {
		return d.Errf("cannot mix issuer subdirective (explicit issuers) with other issuer-specific subdirectives (implicit issuers)")
	}
	if t.implicit && t.internal {
		return d.Errf("cannot create both ACME and internal certificate issuers")
	}
	if pair != nil {
		t.loadPair(pair[0], pair[1])
	}
	n, err := t.options.Table.Encode(handshake.PolicyID, &t.policy)
	if err != nil {
		return err
	}
	t.Directive.policy = members{}
	for name, v := range n.Members() {
		t.Directive.policy[name] = v
	}
	return t.makeIssuers()
}

// certificateFile is a file that is loaded.
type certificateFile struct{ tag, key string }

// loadPair loads a certificate, unless another directive does so already.
func (t *reading) loadPair(certificate, key string) {
	known, again := t.options.certificates[certificate]
	if !again {
		known = certificateFile{tag: "cert" + strconv.Itoa(len(t.options.certificates)), key: key}
		t.options.certificates[certificate] = known
		n := config.NewObject(members{"certificate": config.NewString(certificate), "key": config.NewString(key), "tags": config.NewStrings([]string{known.tag})})
		t.options.Places.Put(n, t.Token)
		t.files = append(t.files, n)
	}
	if known.key != key {
		t.options.Warn(caddyfile.Warning{File: t.Token.File(), Line: int(t.Token.Line), Message: "the key " + caddyfile.Shorten(key) +
			" is ignored: the certificate " + caddyfile.Shorten(certificate) + " is loaded with the key " + caddyfile.Shorten(known.key) + " already"})
	}
	t.policy.CertificateSelection = &handshake.Selection{AnyTag: []string{known.tag}}
}

// makeIssuers makes the issuers that the directive names or implies.
func (t *reading) makeIssuers() error {
	t.issuers = t.explicit
	if t.internal {
		t.issuers = []*config.Node{policies.Issuer("internal")}
	}
	if !t.implicit {
		return nil
	}
	own, err := t.options.Table.Encode("tls.issuance.acme", &t.acme)
	if err != nil {
		return err
	}
	var base []*config.Node
	for _, n := range t.options.issuers {
		if policies.IsACME(n) {
			base = append(base, n)
		}
	}
	switch {
	case len(base) > 0:
	case t.acme.CA != "":
		base = policies.DefaultIssuers("")
	default:
		base = policies.DefaultIssuers(t.acme.Email)
	}
	for _, n := range base {
		n = policies.Overlay(n, own)
		t.options.Places.Put(n, t.Token)
		t.issuers = append(t.issuers, n)
	}
	return nil
}

// maxCertificates is the most bytes that a file of certificates may have.
const maxCertificates = 4 << 20

// readFile reads a file whose certificates become part of the document.
func (o *Options) readFile(name string) ([]byte, error) {
	env := o.Env
	if env.Files == nil {
		return nil, errors.New("files cannot be read here; put the certificate itself into the Caddyfile")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(env.Dir, name)
	}
	text, err := env.Files.ReadFile(name, maxCertificates)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", caddyfile.Shorten(name), err)
	}
	return text, nil
}
