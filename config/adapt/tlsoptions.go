package adapt

import (
	"math"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/policies"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// tlsOptions is the global options about certificates and TLS.
type tlsOptions struct {
	acme       policies.ACME
	acmeDNS    caddyfile.Token // of the option acme_dns
	localCerts bool
	issuers    []*config.Node
	issuerAt   caddyfile.Token

	keyType                 string
	ratio                   float64
	noStapling              bool
	defaultSNI, fallbackSNI string
	ech                     []string

	app        members // fields of the tls app
	automation members // fields of its automation
	at         map[string]place
}

func newTLSOptions() tlsOptions {
	return tlsOptions{app: members{}, automation: members{}, at: map[string]place{}}
}

// base is the policy that those of sites start from.
func (o *tlsOptions) base(r *run) *policies.Automation {
	p := &policies.Automation{KeyType: o.keyType, RenewalWindowRatio: o.ratio, DisableOCSPStapling: o.noStapling}
	if o.localCerts {
		p.Issuers = []*config.Node{policies.Issuer("internal")}
	} else {
		p.Issuers = r.copies(o.issuers)
	}
	return p
}

// catchAll reports whether there is a policy for all names.
func (o *tlsOptions) catchAll() bool {
	return len(o.issuers) > 0 || o.localCerts || o.keyType != "" || o.noStapling || o.ratio != 0 || o.acme.CatchAll()
}

// tlsReaders is the global options about TLS.
var tlsReaders = map[string]option{
	"email":                  textOption(func(o *tlsOptions) *string { return &o.acme.Email }),
	"acme_ca":                textOption(func(o *tlsOptions) *string { return &o.acme.CA }),
	"acme_ca_root":           textOption(func(o *tlsOptions) *string { return &o.acme.CARoot }),
	"key_type":               textOption(func(o *tlsOptions) *string { return &o.keyType }),
	"default_sni":            textOption(func(o *tlsOptions) *string { return &o.defaultSNI }),
	"fallback_sni":           textOption(func(o *tlsOptions) *string { return &o.fallbackSNI }),
	"local_certs":            func(r *run, _ *module.Use, _ *caddyfile.Dispenser) error { r.options.tls.localCerts = true; return nil },
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
	"ocsp_stapling":          readStapling,
	"ocsp_interval":          intervalOption("ocsp_interval"),
	"renew_interval":         intervalOption("renew_interval"),
	"storage_check":          readStorageCheck,
	"storage_clean_interval": readStorageClean,
}

func textOption(field func(o *tlsOptions) *string) option {
	return func(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
		if !d.AllArgs(field(&r.options.tls)) {
			return d.ArgErr()
		}
		return nil
	}
}

// appField sets a field of the tls app.
func (r *run) appField(u *module.Use, name string, n *config.Node) {
	r.options.tls.app[name] = n
	r.options.tls.at[name] = place{u.Token, r.places.current}
}

// automationField sets a field of the app's automation; nil takes it out.
func (r *run) automationField(u *module.Use, name string, n *config.Node) {
	delete(r.options.tls.automation, name)
	if n != nil {
		r.options.tls.automation[name] = n
	}
	r.options.tls.at[name] = place{u.Token, r.places.current}
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

func intervalOption(name string) option {
	return func(r *run, u *module.Use, d *caddyfile.Dispenser) error {
		n, err := oneDuration(d)
		if err == nil {
			r.automationField(u, name, n)
		}
		return err
	}
}

func readCertLifetime(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
	n, err := oneDuration(d)
	if err == nil {
		r.options.tls.acme.CertificateLifetime = int64(n.Number())
	}
	return err
}

func readStorageCheck(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	var word string
	if !d.AllArgs(&word) {
		return d.ArgErr()
	}
	if word != "off" {
		return d.Errf("storage_check must be 'off'")
	}
	r.appField(u, "disable_storage_check", config.NewBool(true))
	return nil
}

func readStorageClean(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if next, ok := d.Peek(); ok && next.Text == "off" && d.CountRemainingArgs() == 1 {
		d.NextArg()
		delete(r.options.tls.automation, "storage_clean_interval")
		r.appField(u, "disable_storage_clean", config.NewBool(true))
		return nil
	}
	n, err := oneDuration(d)
	if err != nil {
		return err
	}
	delete(r.options.tls.app, "disable_storage_clean")
	r.automationField(u, "storage_clean_interval", n)
	return nil
}

func readStapling(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	var word string
	if !d.AllArgs(&word) {
		return d.ArgErr()
	}
	if word != "off" {
		return d.Errf("invalid argument '%s'; ocsp_stapling can only be off", caddyfile.Shorten(word))
	}
	r.options.tls.noStapling = true
	r.appField(u, "disable_ocsp_stapling", config.NewBool(true))
	return nil
}

func readRatio(r *run, _ *module.Use, d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgTokens()
	if len(args) != 1 {
		return d.ArgErr()
	}
	r.options.tls.ratio, err = parseRatio(args[0].Text, false)
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

// eab is the block of the option acme_eab.
var eabLines = caddyfile.Options[issuance.ExternalAccount]{Unknown: "unrecognized parameter '%s'", Lines: []caddyfile.Option[issuance.ExternalAccount]{
	{Name: "key_id", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(e *issuance.ExternalAccount) *string { return &e.KeyID })},
	{Name: "mac_key", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(e *issuance.ExternalAccount) *string { return &e.MACKey })},
}}

func readEAB(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	account := &issuance.ExternalAccount{}
	if err := eabLines.Parse(d, account); err != nil {
		return err
	}
	n, err := u.Table().Encode("acme_eab", account)
	r.options.tls.acme.ExternalAccount = n
	return err
}

func readPreferredChains(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	chains, err := issuance.ReadPreferredChains(d, d.RemainingArgTokens())
	if err != nil {
		return err
	}
	r.options.tls.acme.PreferredChains, err = u.Table().Encode("preferred_chains", chains)
	return err
}

func readACMEDNS(r *run, u *module.Use, d *caddyfile.Dispenser) (err error) {
	o := &r.options.tls
	o.acme.DNS, o.acme.Provider, o.acmeDNS = true, nil, u.Token
	if d.NextArg() {
		o.acme.Provider, err = u.Module(d, dnsproviders.Namespace, dnsproviders.InlineKey)
	}
	return err
}

func readDNS(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	n, err := u.Module(d, dnsproviders.Namespace, dnsproviders.InlineKey)
	r.appField(u, "dns", n)
	return err
}

func readTLSResolvers(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	if len(list) == 0 {
		return d.ArgErr()
	}
	r.options.tls.acme.Resolvers = list
	r.appField(u, "resolvers", stringNodes(list))
	return nil
}

func readCertIssuer(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	n, err := u.Module(d, "tls.issuance", "module")
	r.options.tls.issuers, r.options.tls.issuerAt = append(r.options.tls.issuers, n), u.Token
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

func readOnDemand(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	o := &onDemand{use: u}
	if err := onDemandLines.Parse(d, o); err != nil {
		return err
	}
	if o.permission == nil {
		return d.Errf("expected at least one config parameter for on_demand_tls")
	}
	u.Placed(o.permission, u.Token)
	r.automationField(u, "on_demand", config.NewObject(members{"permission": o.permission}))
	return nil
}

// echLines is the block of the option ech.
var echLines = caddyfile.Options[tlsOptions]{Lines: []caddyfile.Option[tlsOptions]{
	{Name: "dns", Args: caddyfile.AtLeast(1), Block: true, Set: func(_ *tlsOptions, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
		return d.Errf("'dns' in ech is not supported yet; publish the keys by other means")
	}},
}}

func readECH(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	o := &r.options.tls
	if err := echLines.Parse(d, o); err != nil {
		return err
	}
	configs := make([]*config.Node, len(names))
	for i, name := range names {
		configs[i] = config.NewObject(members{"public_name": config.NewString(name)})
	}
	o.ech = names
	r.appField(u, "encrypted_client_hello", config.NewObject(members{"configs": config.NewArray(configs)}))
	return nil
}

// checkTLSOptions finds options that contradict each other, and completes what
// depends on several.
func (r *run) checkTLSOptions() {
	o := &r.options.tls
	if o.localCerts && len(o.issuers) > 0 {
		r.fail(o.issuerAt.Errf("global options are ambiguous: local_certs is confusing when combined with cert_issuer, since it names an issuer as well; write 'cert_issuer internal' instead"))
	}
	if o.acme.DNS && o.acme.Provider == nil && o.app["dns"] == nil {
		r.fail(o.acmeDNS.Errf("acme_dns specified without DNS provider config, but no provider specified with 'dns' global option"))
	}
	if port, ok := r.options.values["http_port"].(int); ok {
		o.acme.HTTPPort = port
	}
	if port, ok := r.options.values["https_port"].(int); ok {
		o.acme.TLSALPNPort = port
	}
	if len(r.options.binds) > 0 {
		o.acme.BindHost = r.options.binds[0].host
	}
}
