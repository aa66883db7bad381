// Package forwardauth is the directive forward_auth, which asks another server whether a request may pass.
//
// It has no handler of its own: it stands for a reverse_proxy that sends the head of the request to that server, and goes
// on with the request if the answer is good. Whatever the directive reverse_proxy takes, it takes too, and leaves to that.
package forwardauth

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// Directives lists the directive. It needs the directive reverse_proxy, of the module http.handlers.reverse_proxy.
func Directives() []module.Directive {
	return []module.Directive{{Name: "forward_auth", Read: read}}
}

const (
	proxyModule    = "http.handlers.reverse_proxy"
	proxyDirective = "reverse_proxy"
)

// reading is the directive while it is read.
type reading struct {
	uri    caddyfile.Token
	given  bool             // uri was
	fields map[string]field // by the name in the answer as it is written
	rest   []caddyfile.Token
}

// field is a field of the answer that the request gets.
type field struct {
	from, to string
	at       caddyfile.Token
}

var lines = caddyfile.Options[reading]{
	Lines: []caddyfile.Option[reading]{
		{Name: "uri", Args: caddyfile.Exactly(1), Set: readURI},
		{Name: "copy_headers", Args: caddyfile.AtLeast(0), Block: true, Set: readCopyHeaders},
	},
	Other: func(r *reading, d *caddyfile.Dispenser) (bool, error) {
		r.rest = append(r.rest, d.NextSegment()...)
		return true, nil
	},
}

func readURI(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if r.given {
		return args[0].Errf("cannot re-declare uri: %s", caddyfile.Shorten(args[0].Text))
	}
	r.uri, r.given = args[0], true
	return nil
}

func readCopyHeaders(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		args = append(append(args, d.Token()), d.RemainingArgTokens()...)
	}
	if len(args) == 0 {
		return d.ArgErr()
	}
	for _, a := range args {
		from, to, renamed := strings.Cut(a.Text, ">")
		if !renamed {
			to = from
		}
		if from == "" || to == "" || strings.ContainsAny(from+to, ">*") {
			return a.Errf("bad field '%s'; want a name, or FROM>TO", caddyfile.Shorten(a.Text))
		}
		if r.fields == nil {
			r.fields = map[string]field{}
		}
		r.fields[from] = field{http.CanonicalHeaderKey(from), http.CanonicalHeaderKey(to), a}
	}
	return nil
}

// read: forward_auth [<matcher>] [<upstreams...>] { uri <to>; copy_headers <fields...> { <fields...> }; what reverse_proxy takes }
func read(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	tokens := append([]caddyfile.Token{d.Token()}, d.RemainingArgTokens()...)
	var r reading
	if d.OpensBlock() {
		open, _ := d.Peek()
		if err := lines.Parse(d, &r); err != nil {
			return nil, err
		}
		tokens = append(append(append(tokens, open), r.rest...), d.Token())
	}
	if !r.given {
		return nil, d.Errf("the 'uri' subdirective is required")
	}
	values, err := readProxy(u, d.Over(tokens))
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		route, ok := v.(module.Route)
		if !ok {
			continue
		}
		route.Handle = slices.Clone(route.Handle)
		for j, handler := range route.Handle {
			if handler.Get("handler").Str() == proxyDirective {
				route.Handle[j] = r.asking(u, handler)
			}
		}
		values[i] = route
	}
	return values, nil
}

// readProxy reads the directive as a reverse_proxy.
func readProxy(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	d.Next()
	if spec, ok := u.Table().Spec(proxyModule); ok {
		for _, directive := range spec.Directives {
			if directive.Name == proxyDirective {
				return directive.Read(u, d)
			}
		}
	}
	return nil, d.Errf("module %s is missing; forward_auth is made of it", proxyModule)
}

// asking adds to a proxy what makes it ask. What the user has given for the same thing counts more.
func (r *reading) asking(u *module.Use, proxy *config.Node) *config.Node {
	request := proxy.Get("headers").Get("request")
	set := object("X-Forwarded-Method", texts("{http.request.method}"), "X-Forwarded-Uri", texts("{http.request.uri}"))
	uri := object("method", text("GET"), "uri", text(r.uri.Text))
	u.Placed(uri, r.uri)
	handlers := []*config.Node{r.accepting(u)}
	for _, n := range proxy.Get("handle_response").Elements() {
		handlers = append(handlers, n)
	}
	out := with(proxy,
		"headers", with(proxy.Get("headers"), "request", with(request, "set", over(set, request.Get("set")))),
		"rewrite", placedAs(u, over(uri, proxy.Get("rewrite")), r.uri),
		"handle_response", config.NewArray(handlers))
	u.Placed(out, u.Token)
	return out
}

// accepting is what happens with a good answer: nothing but that the request gets the fields that are copied. A field of
// the client's own never stays (FA-1).
func (r *reading) accepting(u *module.Use) *config.Node {
	routes := []*config.Node{object("handle", list(object("handler", text("vars"))))}
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		f := r.fields[name]
		placeholder := "{http.reverse_proxy.header." + f.from + "}"
		remove := object("handle", list(object("handler", text("headers"), "request", object("delete", texts(f.to)))))
		put := object(
			"match", list(object("not", list(object("vars", object(placeholder, texts("")))))),
			"handle", list(object("handler", text("headers"), "request", object("set", object(f.to, texts(placeholder))))))
		u.Placed(remove, f.at)
		u.Placed(put, f.at)
		routes = append(routes, remove, put)
	}
	return object("match", object("status_code", list(config.NewNumber(2))), "routes", config.NewArray(routes))
}

func placedAs(u *module.Use, n *config.Node, t caddyfile.Token) *config.Node {
	u.Placed(n, t)
	return n
}

func text(s string) *config.Node { return config.NewString(s) }

func list(nodes ...*config.Node) *config.Node { return config.NewArray(nodes) }

func texts(s string) *config.Node { return list(text(s)) }

// object makes an object of keys and nodes in turn.
func object(pairs ...any) *config.Node { return with(nil, pairs...) }

// with is the object n with other members.
func with(n *config.Node, pairs ...any) *config.Node {
	members := maps.Collect(n.Members())
	for i := 0; i < len(pairs); i += 2 {
		members[pairs[i].(string)] = pairs[i+1].(*config.Node)
	}
	return config.NewObject(members)
}

// over is an object with the members of both; those of the second count.
func over(n, more *config.Node) *config.Node {
	members := maps.Collect(n.Members())
	maps.Insert(members, more.Members())
	return config.NewObject(members)
}
