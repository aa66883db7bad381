package reverseproxy

import (
	"maps"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/upstreamaddr"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/upstream"
)

// reading is a handler while a directive that makes one is read.
type reading struct {
	u      *module.Use
	cfg    Config
	scheme caddyfile.Token // the last scheme that an upstream was given; its text is empty without one
	ranged int             // how many of the upstreams come of ranges of ports
	// records is the upstreams that are names of SRV records.
	records   []caddyfile.Token
	responses route.ResponseWords

	transport     *config.Node // nil without the option transport
	transportName string

	// Where elements of cfg were written.
	upstreamsAt []caddyfile.Token
	retriesAt   []caddyfile.Token
}

// readDirective reads the directive reverse_proxy.
func readDirective(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	r := &reading{u: u}
	if err := readUpstreams(r, d, d.RemainingArgTokens()); err != nil {
		return nil, err
	}
	if err := lines.Parse(d, r); err != nil {
		return nil, err
	}
	h, err := r.handler()
	if err != nil {
		return nil, err
	}
	return u.Route(m, h), nil
}

// readUpstreams reads addresses, of the directive's own line and of lines to.
func readUpstreams(r *reading, d *caddyfile.Dispenser, tokens []caddyfile.Token) error {
	for _, t := range tokens {
		if upstreamaddr.IsSRV(t.Text) {
			r.records = append(r.records, t)
			continue
		}
		a, err := upstreamaddr.Parse(t.Text)
		if err != nil {
			return t.Errf("parsing upstream '%s': %w", caddyfile.Shorten(t.Text), err)
		}
		if r.scheme.Text != "" && a.Scheme != r.scheme.Text {
			return t.Errf("for now, all proxy upstreams must use the same scheme (transport protocol); expecting '%s://' but got '%s://'", r.scheme.Text, a.Scheme)
		}
		if a.Scheme != "" {
			r.scheme = t.With(a.Scheme)
		}
		if a.Network != "" && !a.IsFile() && !strings.HasPrefix(a.Network, "tcp") {
			d.Warnf("no upstream can be reached by network '%s' of %s; if this is meant as a path, an upstream has none",
				caddyfile.Shorten(a.Network), caddyfile.Shorten(t.Text))
		}
		if n := a.Count(); n > 1 {
			r.ranged += n
		}
		if r.ranged > maxRange {
			return t.Errf("parsing upstream '%s': the ranges of ports make more than %d upstreams", caddyfile.Shorten(t.Text), maxRange)
		}
		for _, dial := range a.Dials() {
			r.cfg.Upstreams = append(r.cfg.Upstreams, UpstreamConfig{Dial: dial})
			r.upstreamsAt = append(r.upstreamsAt, t)
		}
	}
	return nil
}

// handler makes the node of what was read.
func (r *reading) handler() (*config.Node, error) {
	t, err := r.finishTransport()
	if err != nil {
		return nil, err
	}
	r.cfg.Transport = module.RefTo[upstream.Transport](t)
	if err := r.finishDynamic(); err != nil {
		return nil, err
	}
	if r.cfg.HandleResponse, err = r.responses.Responses(r.u); err != nil {
		return nil, err
	}
	h, err := r.u.Handler("reverse_proxy", &r.cfg)
	if err != nil {
		return nil, err
	}
	r.place(h.Get("upstreams"), r.upstreamsAt)
	r.place(h.Get("load_balancing").Get("retry_match"), r.retriesAt)
	return h, nil
}

// place remembers where the elements of a list were written.
func (r *reading) place(list *config.Node, tokens []caddyfile.Token) {
	for i, n := range list.Elements() {
		r.u.Placed(n, tokens[i])
	}
}

// maxRange is how many upstreams the ranges of one handler may make.
const maxRange = 4096

const defaultTransport = "http"

// finishTransport returns the transport that the upstreams need, nil for the default one (section 6.34.3 of the reference).
func (r *reading) finishTransport() (*config.Node, error) {
	n, name := r.transport, r.transportName
	plain := name == "" || name == defaultTransport
	switch r.scheme.Text {
	case "h2c":
		if !plain {
			return nil, r.scheme.Errf("upstreams are configured for h2c but transport '%s' does not speak HTTP/2; leave h2c:// out", name)
		}
		n = r.withMember("versions", config.NewArray([]*config.Node{config.NewString("h2c"), config.NewString("2")}))
	case "https":
		if !plain {
			return nil, r.scheme.Errf("upstreams are configured for HTTPS but transport module does not support TLS: %s; leave https:// out", name)
		}
		if n.Get("tls") == nil {
			n = r.withMember("tls", config.NewObject(nil))
		}
	case "http":
		if plain && n.Get("tls") != nil {
			return nil, r.scheme.Errf("upstream address scheme is HTTP but transport is configured for HTTP+TLS (HTTPS); write https://, or leave the options of TLS out")
		}
	}
	if plain && n.Len() == 1 { // only its name
		return nil, nil
	}
	return n, nil
}

// withMember returns the transport http with one more member.
func (r *reading) withMember(key string, value *config.Node) *config.Node {
	members := map[string]*config.Node{"protocol": config.NewString(defaultTransport)}
	maps.Insert(members, r.transport.Members())
	members[key] = value
	n := config.NewObject(members)
	r.u.Placed(n, r.scheme)
	return n
}

// readModule reads the module that the first of the arguments names. d is at the last of them.
func (r *reading) readModule(d *caddyfile.Dispenser, args []caddyfile.Token, namespace, inline string) (*config.Node, error) {
	d.Back(len(args) - 1)
	return r.u.Module(d, namespace, inline)
}

func readTransport(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
	r.transportName = args[0].Text
	r.transport, err = r.readModule(d, args, "http.reverse_proxy.transport", "protocol")
	return err
}

func readPolicy(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	n, err := r.readModule(d, args, selection.Namespace, "policy")
	r.cfg.LoadBalancing.SelectionPolicy = module.RefTo[selection.Policy](n)
	return err
}

// readRetryMatch reads one matcher set, which may be empty.
func readRetryMatch(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	d.Back(len(args))
	t := d.Token()
	n, err := r.u.MatcherSet(d)
	if err != nil {
		return err
	}
	set := make(map[string]module.Ref[handlers.Matcher], n.Len())
	for name, matcher := range n.Members() {
		set[name] = module.RefTo[handlers.Matcher](matcher)
	}
	r.cfg.LoadBalancing.RetryMatch = append(r.cfg.LoadBalancing.RetryMatch, set)
	r.retriesAt = append(r.retriesAt, t)
	return nil
}
