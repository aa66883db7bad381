package tlsadapt

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// readers is the global options that exist.
var readers = map[string]Option{
	"email":                  textOption(func(o *Options) *string { return &o.acme.Email }),
	"acme_ca":                textOption(func(o *Options) *string { return &o.acme.CA }),
	"acme_ca_root":           textOption(func(o *Options) *string { return &o.acme.CARoot }),
	"key_type":               textOption(func(o *Options) *string { return &o.keyType }),
	"default_sni":            textOption(func(o *Options) *string { return &o.defaultSNI }),
	"fallback_sni":           textOption(func(o *Options) *string { return &o.fallbackSNI }),
	"local_certs":            func(o *Options, _ *module.Use, _ *caddyfile.Dispenser) error { o.localCerts = true; return nil },
	"acme_eab":               readEAB,
	"acme_dns":               readACMEDNS,
	"dns":                    readDNS,
	"tls_resolvers":          readTLSResolvers,
	"ech":                    readECH,
	"on_demand_tls":          readOnDemand,
	"cert_issuer":            readCertIssuer,
	"cert_lifetime":          readCertLifetime,
	"preferred_chains":       readPreferredChains,
	"renewal_window_ratio":   readRatio,
	"auto_https":             readAutomaticHTTPS,
	"ocsp_stapling":          readStapling,
	"ocsp_interval":          intervalOption("ocsp_interval"),
	"renew_interval":         intervalOption("renew_interval"),
	"storage_check":          readStorageCheck,
	"storage_clean_interval": readStorageClean,
	"pki":                    readPKI,
	"skip_install_trust":     func(o *Options, _ *module.Use, _ *caddyfile.Dispenser) error { o.skipTrust = true; return nil },
}

func textOption(field func(o *Options) *string) Option {
	return func(o *Options, _ *module.Use, d *caddyfile.Dispenser) error {
		if !d.AllArgs(field(o)) {
			return d.ArgErr()
		}
		return nil
	}
}

// appField sets a field of the tls app.
func (o *Options) appField(u *module.Use, name string, n *config.Node) {
	o.app[name] = n
	o.at[name] = o.Places.Here(u.Token)
}

// automationField sets a field of the app's automation; nil takes it out.
func (o *Options) automationField(u *module.Use, name string, n *config.Node) {
	delete(o.automation, name)
	if n != nil {
		o.automation[name] = n
	}
	o.at[name] = o.Places.Here(u.Token)
}

// oneDuration reads the argument of an option.
func oneDuration(d *caddyfile.Dispenser) (*config.Node, error) {
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	v, err := caddyfile.ParseDuration(d.Val())
	if err != nil {
		return nil, d.Errf("bad duration value '%s': %w", caddyfile.Shorten(d.Val()), err)
	}
	if v == 0 {
		return nil, nil
	}
	return config.NewNumber(float64(v)), nil
}

func intervalOption(name string) Option {
	return func(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
		n, err := oneDuration(d)
		if err == nil {
			o.automationField(u, name, n)
		}
		return err
	}
}

func readCertLifetime(o *Options, _ *module.Use, d *caddyfile.Dispenser) error {
	n, err := oneDuration(d)
	if err == nil {
		o.acme.CertificateLifetime = int64(n.Number())
	}
	return err
}

func readStorageCheck(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	var word string
	if !d.AllArgs(&word) {
		return d.ArgErr()
	}
	if word != "off" {
		return d.Errf("storage_check must be 'off'")
	}
	o.appField(u, "disable_storage_check", config.NewBool(true))
	return nil
}

func readStorageClean(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	if next, ok := d.Peek(); ok && next.Text == "off" && d.CountRemainingArgs() == 1 {
		d.NextArg()
		delete(o.automation, "storage_clean_interval")
		o.appField(u, "disable_storage_clean", config.NewBool(true))
		return nil
	}
	n, err := oneDuration(d)
	if err != nil {
		return err
	}
	delete(o.app, "disable_storage_clean")
	o.automationField(u, "storage_clean_interval", n)
	return nil
}

func readStapling(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	var word string
	if !d.AllArgs(&word) {
		return d.ArgErr()
	}
	if word != "off" {
		return d.Errf("invalid argument '%s'; ocsp_stapling can only be off", caddyfile.Shorten(word))
	}
	o.noStapling = true
	o.appField(u, "disable_ocsp_stapling", config.NewBool(true))
	return nil
}

func readRatio(o *Options, _ *module.Use, d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgTokens()
	if len(args) != 1 {
		return d.ArgErr()
	}
	o.ratio, err = parseRatio(args[0].Text, false)
	return err
}

// parseRatio reads a number between 0 and 1, which it may be if that is said.
func parseRatio(text string, one bool) (float64, error) {
	ratio, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(ratio) {
		return 0, errNoRatio(text)
	}
	if ratio <= 0 || ratio > 1 || (ratio == 1 && !one) {
		return 0, errRatio(one)
	}
	return ratio, nil
}

func errNoRatio(text string) error {
	return fmt.Errorf("parsing renewal_window_ratio: '%s' is no number", caddyfile.Shorten(text))
}

func errRatio(one bool) error {
	if one {
		return fmt.Errorf("renewal_window_ratio must be above 0 and at most 1")
	}
	return fmt.Errorf("renewal_window_ratio must be between 0 and 1 (exclusive)")
}

// eabLines is the block of the option acme_eab.
var eabLines = caddyfile.Options[issuance.ExternalAccount]{Unknown: "unrecognized parameter '%s'", Lines: []caddyfile.Option[issuance.ExternalAccount]{
	{Name: "key_id", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(e *issuance.ExternalAccount) *string { return &e.KeyID })},
	{Name: "mac_key", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(e *issuance.ExternalAccount) *string { return &e.MACKey })},
}}

func readEAB(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	account := &issuance.ExternalAccount{}
	if err := eabLines.Parse(d, account); err != nil {
		return err
	}
	n, err := u.Table().Encode("acme_eab", account)
	o.acme.ExternalAccount = n
	return err
}

func readPreferredChains(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	chains, err := issuance.ReadPreferredChains(d, d.RemainingArgTokens())
	if err != nil {
		return err
	}
	o.acme.PreferredChains, err = u.Table().Encode("preferred_chains", chains)
	return err
}

func readACMEDNS(o *Options, u *module.Use, d *caddyfile.Dispenser) (err error) {
	o.acme.DNS, o.acme.Provider, o.acmeDNS = true, nil, u.Token
	if d.NextArg() {
		o.acme.Provider, err = u.Module(d, dnsproviders.Namespace, dnsproviders.InlineKey)
	}
	return err
}

func readDNS(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	n, err := u.Module(d, dnsproviders.Namespace, dnsproviders.InlineKey)
	o.appField(u, "dns", n)
	return err
}

func readTLSResolvers(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	if len(list) == 0 {
		return d.ArgErr()
	}
	o.acme.Resolvers = list
	o.appField(u, "resolvers", config.NewStrings(list))
	return nil
}

func readCertIssuer(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	n, err := u.Module(d, "tls.issuance", "module")
	o.issuers, o.issuerAt = append(o.issuers, n), u.Token
	return err
}

// onDemand is the block of the option on_demand_tls.
type onDemand struct {
	use        *module.Use
	permission *config.Node
	lines      int
}

const askedTwice = "on-demand TLS permission module (or 'ask') already specified"

var onDemandLines = caddyfile.Options[onDemand]{Unknown: "unrecognized parameter '%s'", Lines: []caddyfile.Option[onDemand]{
	{Name: "ask", Args: caddyfile.Exactly(1), Set: func(o *onDemand, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if o.permission != nil {
			return d.Errf(askedTwice)
		}
		o.permission = config.NewObject(members{"module": config.NewString("http"), "endpoint": config.NewString(args[0].Text)})
		return nil
	}},
	{Name: "permission", Args: caddyfile.AtLeast(1), Block: true, Set: func(o *onDemand, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
		if o.permission != nil {
			return d.Errf(askedTwice)
		}
		d.Back(len(args) - 1)
		o.permission, err = o.use.Module(d, "tls.permission", "module")
		return err
	}},
	{Name: "interval", Args: caddyfile.AtLeast(0), Set: noRateLimit},
	{Name: "burst", Args: caddyfile.AtLeast(0), Set: noRateLimit},
}}

func noRateLimit(_ *onDemand, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
	return d.Errf("the on_demand_tls 'interval' and 'burst' options are no longer supported; decide in the permission endpoint instead")
}

func readOnDemand(o *Options, u *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	od := &onDemand{use: u}
	if err := onDemandLines.Parse(d, od); err != nil {
		return err
	}
	if od.permission == nil {
		return d.Errf("expected at least one config parameter for on_demand_tls")
	}
	u.Placed(od.permission, u.Token)
	o.automationField(u, "on_demand", config.NewObject(members{"permission": od.permission}))
	return nil
}
