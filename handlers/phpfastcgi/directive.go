// Package phpfastcgi is the directive php_fastcgi of the Caddyfile, which sends requests to PHP: a short form of a
// redirect, a rewrite and a reverse proxy with the transport fastcgi. It makes nothing but nodes of a document, through
// the words of the modules that they are of.
package phpfastcgi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// Directives returns the directive. It belongs to no module of its own.
func Directives() []module.Directive {
	return []module.Directive{{Name: "php_fastcgi", Read: read}}
}

// The texts that the directive is made of (section 6.26 of the reference).
const (
	path           = "{http.request.uri.path}"
	defaultIndex   = "index.php"
	defaultSplit   = ".php"
	redirectTarget = "{http.request.orig_uri.path}/{http.request.orig_uri.prefixed_query}"
	rewriteTarget  = "{http.matchers.file.relative}"
	fallback       = "first_exist_fallback"

	transportNamespace = "http.reverse_proxy.transport"
	proxyDirective     = "reverse_proxy"
)

// reading is the directive while it is read.
type reading struct {
	u         *module.Use
	d         *caddyfile.Dispenser
	split     []string
	index     string // "off" for none
	tryFiles  []string
	transport []caddyfile.Token // lines for the transport
	proxy     []caddyfile.Token // lines for the reverse proxy
}

func read(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	name := d.Token()
	r := &reading{u: u, d: d, index: defaultIndex}
	gateways := d.RemainingArgTokens()
	if err := lines.Parse(d, r); err != nil {
		return nil, err
	}
	if len(r.split) == 0 {
		r.split = []string{defaultSplit}
	}
	routes, err := r.routes(name, gateways)
	if err != nil {
		return nil, err
	}
	if !m.Given || len(m.Sets) == 0 {
		return []any{routes}, nil
	}
	sub, err := u.Handler("subroute", object("routes", u.RouteNodes(routes)))
	if err != nil {
		return nil, err
	}
	return u.Route(m, sub), nil
}

// lines is what the block may hold. What is not in it is for the transport or for the reverse proxy.
var lines = caddyfile.Options[reading]{
	Lines: []caddyfile.Option[reading]{
		{Name: "split", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *reading) *[]string { return &r.split })},
		{Name: "index", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(r *reading) *string { return &r.index })},
		{Name: "try_files", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *reading) *[]string { return &r.tryFiles })},
	},
	Other: func(r *reading, d *caddyfile.Dispenser) (bool, error) {
		switch d.Val() {
		case "root", "env", "resolve_root_symlink", "capture_stderr", "dial_timeout", "read_timeout", "write_timeout", "body_spool_size":
			r.transport = append(r.transport, d.NextSegment()...)
		case "transport":
			return true, d.Errf("transport already specified; php_fastcgi brings its own, with its options in its own block")
		default:
			r.proxy = append(r.proxy, d.NextSegment()...)
		}
		return true, nil
	},
}

// routes makes the routes: redirect to a folder's slash, rewrite to the script, proxy.
func (r *reading) routes(name caddyfile.Token, gateways []caddyfile.Token) (module.RouteList, error) {
	var routes module.RouteList
	add := func(match *config.Node, handler *config.Node) {
		r.u.Placed(match, name)
		routes = append(routes, module.Route{Match: []*config.Node{match}, Handle: []*config.Node{handler}, Token: name})
	}
	if r.index != "off" {
		try, policy := r.candidates()
		if folder := path + "/" + r.index; slices.Contains(try, folder) {
			redirect, err := r.u.Handler("static_response", config.NewObject(map[string]*config.Node{
				"headers": object("Location", texts(redirectTarget)), "status_code": config.NewNumber(308),
			}))
			if err != nil {
				return nil, err
			}
			add(config.NewObject(map[string]*config.Node{
				"file": object("try_files", texts(folder)),
				"not":  config.NewArray([]*config.Node{object("path", texts("*/"))}),
			}), redirect)
		}
		file := map[string]*config.Node{"try_files": texts(try...), "split_path": texts(r.split...)}
		if policy != "" {
			file["try_policy"] = config.NewString(policy)
		}
		rewrite, err := r.u.Handler("rewrite", object("uri", config.NewString(rewriteTarget)))
		if err != nil {
			return nil, err
		}
		add(object("file", config.NewObject(file)), rewrite)
	}
	proxy, err := r.proxyNode(name, gateways)
	if err != nil {
		return nil, err
	}
	scripts := make([]string, len(r.split))
	for i, s := range r.split {
		scripts[i] = "*" + s
	}
	add(object("path", texts(scripts...)), proxy)
	return routes, nil
}

// candidates returns the files to look for, and how. The policy that falls back to the last one fits where that is a
// script, which then answers what no file does.
func (r *reading) candidates() (try []string, policy string) {
	if len(r.tryFiles) == 0 {
		return []string{path, path + "/" + r.index, r.index}, fallback
	}
	if strings.HasSuffix(r.tryFiles[len(r.tryFiles)-1], defaultSplit) {
		policy = fallback
	}
	return r.tryFiles, policy
}

// proxyNode makes the reverse proxy: what its own directive makes of the gateways and the lines that are for it, with the
// transport.
func (r *reading) proxyNode(name caddyfile.Token, gateways []caddyfile.Token) (*config.Node, error) {
	transport, err := r.transportNode(name)
	if err != nil {
		return nil, err
	}
	directive, err := r.directive(name)
	if err != nil {
		return nil, err
	}
	d := r.segment(name.With(proxyDirective), gateways, r.proxy)
	values, err := directive.Read(&module.Use{Assembly: r.u.Assembly, Definition: r.u.Definition, Token: name}, d)
	if err != nil {
		return nil, err
	}
	var route module.Route
	ok := len(values) == 1
	if ok {
		route, ok = values[0].(module.Route)
	}
	if !ok || len(route.Handle) != 1 {
		return nil, name.Errf("the directive %s makes something else than one handler", proxyDirective)
	}
	if len(route.Match) > 0 {
		return nil, gateways[0].Errf("%s is no gateway but a matcher; there can only be one, before the gateways", caddyfile.Shorten(gateways[0].Text))
	}
	members := map[string]*config.Node{}
	for k, v := range route.Handle[0].Members() {
		members[k] = v
	}
	if members["transport"] != nil {
		return nil, r.badGateway(name, gateways)
	}
	members["transport"] = transport
	n := config.NewObject(members)
	r.u.Placed(n, name)
	return n, nil
}

// badGateway is the error for a scheme that needs another transport.
func (r *reading) badGateway(name caddyfile.Token, gateways []caddyfile.Token) error {
	for _, t := range slices.Concat(gateways, r.proxy) {
		scheme, _, ok := strings.Cut(strings.ToLower(t.Text), "://")
		if ok && scheme != "http" || strings.HasPrefix(strings.ToLower(t.Text), "unix+h2c/") {
			return t.Errf("upstreams are configured for HTTPS or h2c, but FastCGI speaks neither: %s; leave the scheme out", caddyfile.Shorten(t.Text))
		}
	}
	return name.Errf("transport already specified; php_fastcgi brings its own")
}

func (r *reading) directive(name caddyfile.Token) (module.Directive, error) {
	spec, ok := r.u.Table().Spec("http.handlers." + proxyDirective)
	if ok {
		for _, d := range spec.Directives {
			if d.Name == proxyDirective {
				return d, nil
			}
		}
	}
	return module.Directive{}, name.Errf("php_fastcgi needs the handler %s, which this program does not have", proxyDirective)
}

// transportNode makes the transport of the lines that are for it.
func (r *reading) transportNode(name caddyfile.Token) (*config.Node, error) {
	block := []caddyfile.Token{name.With("split")}
	for _, s := range r.split {
		block = append(block, name.With(s))
	}
	d := r.segment(name.With("fastcgi"), nil, append(block, r.transport...))
	n, err := r.u.Module(d, transportNamespace, "protocol")
	if err != nil {
		return nil, fmt.Errorf("the transport of php_fastcgi: %w", err)
	}
	return n, nil
}

// segment returns a dispenser at the name of a directive that is put together of tokens: its arguments, and its block
// without the braces.
func (r *reading) segment(name caddyfile.Token, args, block []caddyfile.Token) *caddyfile.Dispenser {
	tokens := append([]caddyfile.Token{name}, args...)
	if len(block) > 0 {
		open := tokens[len(tokens)-1].With("{")
		open.Quote, open.Line = caddyfile.Bare, open.End
		last := block[len(block)-1].With("}")
		last.Quote = caddyfile.Bare
		last.Line, last.End = last.End+1, last.End+1
		tokens = append(append(append(tokens, open), block...), last)
	}
	d := r.d.Over(tokens)
	d.Next()
	return d
}

func object(key string, value *config.Node) *config.Node {
	return config.NewObject(map[string]*config.Node{key: value})
}

func texts(list ...string) *config.Node {
	nodes := make([]*config.Node, len(list))
	for i, s := range list {
		nodes[i] = config.NewString(s)
	}
	return config.NewArray(nodes)
}
