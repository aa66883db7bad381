package adapt

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/adapt/tlsadapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs"
)

// options is the global options.
type options struct {
	debug    bool
	http     members                 // fields of apps.http
	at       map[string]places.Place // of fields of apps.http and of the document
	admin    *adminOption
	adminAt  places.Place // of the options admin and persist_config, the last one
	persist  *bool
	storage  *config.Node
	binds    []bind
	logs     []logOption
	logNames map[string]bool
	servers  map[string]*serverOptions // by address
	nested   *metricsOption            // metrics of servers
	metrics  *metricsOption
	ports    address.Ports
	values   map[string]any
	tls      *tlsadapt.Options
	apps     members // besides http, tls and pki
}

// logOption is one log option.
type logOption struct {
	name string
	node *config.Node // nil if its block is empty
}

func newOptions(w tlsadapt.World) *options {
	return &options{http: members{}, at: map[string]places.Place{}, servers: map[string]*serverOptions{}, logNames: map[string]bool{}, ports: address.Ports{HTTP: "80", HTTPS: "443"}, values: map[string]any{},
		tls: tlsadapt.New(w), apps: members{}}
}

// option reads one global option; d stands on its name.
type option func(r *run, u *module.Use, d *caddyfile.Dispenser) error

// optionReaders is the global options that exist.
var optionReaders = map[string]option{
	"debug":          func(r *run, _ *module.Use, _ *caddyfile.Dispenser) error { r.options.debug = true; return nil },
	"http_port":      portOption("http_port", func(p *address.Ports) *string { return &p.HTTP }),
	"https_port":     portOption("https_port", func(p *address.Ports) *string { return &p.HTTPS }),
	"grace_period":   durationOption("grace_period"),
	"shutdown_delay": durationOption("shutdown_delay"),
	"default_bind":   readDefaultBind,
	"order":          readOrder,
	"admin":          readAdmin,
	"persist_config": readPersistConfig,
	"log":            readLogOption,
	"servers":        readServers,
	"metrics":        readMetrics,
	"storage": func(r *run, u *module.Use, d *caddyfile.Dispenser) (err error) {
		if !d.NextArg() {
			return d.ArgErr()
		}
		r.options.storage, err = u.Module(d, "caddy.storage", "module")
		return err
	},
}

// readOptions reads the block of global options.
func (r *run) readOptions(b *caddyfile.ServerBlock) {
	s := &scope{run: r, groups: &r.groups, pile: &pile{files: filesOf(b)}}
	for _, seg := range b.Segments {
		if len(r.errs) >= maxErrors {
			break
		}
		name := seg[0]
		read := readerOf(name.Text)
		if read == nil {
			r.fail(r.unknownOption(name))
			continue
		}
		before := r.places.Enter(seg)
		d := r.dispenser(seg)
		d.Next()
		if err := read(r, &module.Use{Assembly: s, Token: name}, d); err != nil {
			r.fail(within(name, placed(d.Token(), err)))
		}
		r.places.Leave(before)
	}
}

// completeTLS tells the options about TLS what others say.
func (r *run) completeTLS() {
	o := r.options
	h := tlsadapt.HTTP{Ports: o.ports}
	h.HTTPPort, _ = o.values["http_port"].(int)
	h.HTTPSPort, _ = o.values["https_port"].(int)
	if len(o.binds) > 0 {
		h.BindHost = o.binds[0].host
	}
	for _, err := range o.tls.Complete(h) {
		r.fail(err)
	}
}

// readerOf is the option of a name, nil if there is none.
func readerOf(name string) option {
	for _, readers := range []map[string]option{optionReaders, appReaders} {
		if read := readers[name]; read != nil {
			return read
		}
	}
	if read := tlsadapt.Reader(name); read != nil {
		return func(r *run, u *module.Use, d *caddyfile.Dispenser) error { return read(r.options.tls, u, d) }
	}
	return nil
}

func (r *run) unknownOption(name caddyfile.Token) error {
	names := tlsadapt.Names()
	for _, readers := range []map[string]option{optionReaders, appReaders} {
		names = slices.AppendSeq(names, maps.Keys(readers))
	}
	slices.Sort(names)
	return name.ErrFirstf("unrecognized global option: %s", caddyfile.Shorten(name.Text)).Suggest(name.Text, names)
}

func portOption(name string, field func(*address.Ports) *string) option {
	return func(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
		var text string
		if !d.AllArgs(&text) {
			return d.ArgErr()
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return d.Errf("converting port '%s' to integer value: %w", caddyfile.Shorten(text), err)
		}
		if port < 0 || port > 65535 {
			return d.Errf("port %d is out of range", port)
		}
		*field(&r.options.ports) = strconv.Itoa(port)
		r.options.http[name] = config.NewNumber(float64(port))
		r.options.values[name] = port
		r.options.at[name] = places.At(d.Token())
		return nil
	}
}

func durationOption(name string) option {
	return func(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
		if !d.NextArg() {
			return d.ArgErr()
		}
		v, err := caddyfile.ParseDuration(d.Val())
		if err != nil {
			return d.Errf("bad duration value '%s': %w", caddyfile.Shorten(d.Val()), err)
		}
		delete(r.options.http, name)
		if v != 0 {
			r.options.http[name] = config.NewNumber(float64(v))
		}
		r.options.at[name] = places.At(d.Token())
		return nil
	}
}

func readDefaultBind(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
	list, err := readBinds(d, true)
	r.options.binds = append(r.options.binds, list...)
	return err
}

// readOrder moves a directive within the order.
func readOrder(r *run, _ *module.Use, d *caddyfile.Dispenser) error {
	var name, position string
	if !d.Args(&name, &position) {
		return d.ArgErr()
	}
	if !r.known(name) {
		return d.Errf("%s is not a registered directive", caddyfile.Shorten(name))
	}
	order := slices.DeleteFunc(slices.Clone(r.order), func(n string) bool { return n == name })
	at := 0
	switch position {
	case "first":
	case "last":
		at = len(order)
	case "before", "after":
		if !d.NextArg() {
			return d.ArgErr()
		}
		if at = slices.Index(order, d.Val()); at < 0 {
			return d.Token().Errf("directive '%s' not found", caddyfile.Shorten(d.Val())).Suggest(d.Val(), order)
		}
		if position == "after" {
			at++
		}
	default:
		return d.Errf("unknown positional '%s'; it is first, last, before or after", caddyfile.Shorten(position))
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	r.setOrder(slices.Insert(order, at, name))
	return nil
}

func readLogOption(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	w, err := logs.ReadWords(u, d, logs.Global)
	if err != nil {
		return err
	}
	l := logOption{name: cmp.Or(w.Name, defaultLogger), node: w.Log}
	if r.options.logNames[l.name] {
		return u.Token.Errf("duplicate global log option for: %s", caddyfile.Shorten(l.name))
	}
	r.options.logNames[l.name] = true
	r.options.logs = append(r.options.logs, l)
	return nil
}

// metricsOption is the option metrics.
type metricsOption struct {
	PerHost              bool `json:"per_host"`
	ObserveCatchallHosts bool `json:"observe_catchall_hosts"`
	OTLP                 bool `json:"otlp"`
	nested               bool // it stood in servers
}

var metricsOptions = caddyfile.Options[metricsOption]{Unknown: "unrecognized servers option '%s'", Lines: []caddyfile.Option[metricsOption]{
	{Name: "per_host", Set: caddyfile.Flag(func(m *metricsOption) *bool { return &m.PerHost })},
	{Name: "observe_catchall_hosts", Set: caddyfile.Flag(func(m *metricsOption) *bool { return &m.ObserveCatchallHosts })},
	{Name: "otlp", Set: caddyfile.Flag(func(m *metricsOption) *bool { return &m.OTLP })},
}}

func readMetrics(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	m := &metricsOption{}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := metricsOptions.Parse(d, m); err != nil {
		return err
	}
	r.options.metrics = m
	r.options.at["metrics"] = r.places.Here(u.Token)
	return nil
}

// metricsNode is the metrics of the http app. The older form in servers keeps
// nothing but per_host.
func (o *options) metricsNode() *config.Node {
	m := o.metrics
	if o.nested != nil {
		m = &metricsOption{PerHost: o.nested.PerHost || (m != nil && m.PerHost)}
	}
	if m == nil {
		return nil
	}
	out := members{}
	for name, set := range map[string]bool{"per_host": m.PerHost, "observe_catchall_hosts": m.ObserveCatchallHosts, "otlp": m.OTLP} {
		if set {
			out[name] = config.NewBool(true)
		}
	}
	return config.NewObject(out)
}
