package mirror

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/upstreamaddr"
	"github.com/sluiceproxy/sluice/upstream"
)

// reading is the handler while a directive that makes it is read.
type reading struct {
	u         *module.Use
	cfg       *Config
	scheme    caddyfile.Token // of the upstreams; its text is empty without one
	transport *config.Node
}

var one = caddyfile.Exactly(1)

var lines = caddyfile.Options[reading]{Lines: []caddyfile.Option[reading]{
	{Name: "to", Args: caddyfile.AtLeast(1), Set: readUpstreams},
	{Name: "percent", Args: one, Set: caddyfile.Parsed("bad percentage '%s': %w", func(text string) (float64, error) {
		return strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	}, func(r *reading) *float64 { return &r.cfg.Percent })},
	{Name: "max_body", Args: one, Set: caddyfile.Size(func(r *reading) *int64 { return &r.cfg.MaxBody })},
	{Name: "max_concurrent", Args: one, Set: caddyfile.Int(func(r *reading) *int { return &r.cfg.MaxConcurrent })},
	{Name: "queue", Args: one, Set: caddyfile.Int(func(r *reading) *int { return &r.cfg.Queue })},
	{Name: "timeout", Args: one, Set: caddyfile.Duration(func(r *reading) *module.Duration { return &r.cfg.Timeout })},
	{Name: "transport", Args: caddyfile.AtLeast(1), Block: true, Once: "transport already specified", Set: readTransport},
}}

// readDirective: mirror [<matcher>] [<upstreams...>] { to; percent; max_body; max_concurrent; queue; timeout; transport }
func readDirective(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	r := &reading{u: u, cfg: defaults()}
	if err := readUpstreams(r, d, d.RemainingArgTokens()); err != nil {
		return nil, err
	}
	if err := lines.Parse(d, r); err != nil {
		return nil, err
	}
	if len(r.cfg.Upstreams) == 0 {
		return nil, d.Errf("mirror needs an upstream to send copies to")
	}
	switch n := r.transportOf(r.scheme.Text); {
	case r.transport == nil:
		r.transport = n
	case n != nil:
		return nil, r.scheme.Errf("%s:// stands for a transport of its own; leave it out, or the transport", r.scheme.Text)
	}
	r.cfg.Transport = module.RefTo[upstream.Transport](r.transport)
	return u.One(m, "mirror", r.cfg)
}

func readUpstreams(r *reading, d *caddyfile.Dispenser, tokens []caddyfile.Token) error {
	for _, t := range tokens {
		a, err := upstreamaddr.Parse(t.Text)
		if err != nil {
			return t.Errf("parsing upstream '%s': %w", caddyfile.Shorten(t.Text), err)
		}
		if n := a.Count(); n != 1 {
			return t.Errf("parsing upstream '%s': a range of ports is not possible here", caddyfile.Shorten(t.Text))
		}
		if len(r.cfg.Upstreams) > 0 && a.Scheme != r.scheme.Text {
			return t.Errf("all upstreams of a mirror must use the same scheme")
		}
		r.scheme = t.With(a.Scheme)
		r.cfg.Upstreams = append(r.cfg.Upstreams, Upstream{Dial: a.Dials()[0]})
	}
	return nil
}

// transportOf is the transport that a scheme stands for, nil for the default one.
func (r *reading) transportOf(scheme string) *config.Node {
	members := map[string]*config.Node{"protocol": config.NewString(defaultTransport)}
	switch scheme {
	case "https":
		members["tls"] = config.NewObject(nil)
	case "h2c":
		members["versions"] = config.NewArray([]*config.Node{config.NewString("h2c"), config.NewString("2")})
	default:
		return nil
	}
	n := config.NewObject(members)
	r.u.Placed(n, r.scheme)
	return n
}

func readTransport(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
	for range len(args) - 1 {
		d.Prev()
	}
	r.transport, err = r.u.Module(d, transportNamespace, "protocol")
	return err
}
