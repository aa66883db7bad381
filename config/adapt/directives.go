package adapt

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs"
)

// siteDirectives are the directives about servers rather than handlers.
var siteDirectives = []module.Directive{
	{Name: "bind", Read: readBind},
	{Name: "log", Read: readLog},
	{Name: "handle_errors", Read: readHandleErrors},
	{Name: "tls", Read: readTLS},
}

func readTLS(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	t, err := u.Assembly.(*scope).options.tls.Directive(u, d)
	return []any{t}, err
}

// bind is an address to listen on, and the protocols there.
type bind struct {
	host      string
	protocols []string
	token     caddyfile.Token
}

// binds is the lines of a bind directive or a default_bind option.
type binds struct{ protocols []string }

var bindOptions = caddyfile.Options[binds]{Unknown: "unknown subdirective: %s", Lines: []caddyfile.Option[binds]{
	{Name: "protocols", Args: caddyfile.AtLeast(0), Set: func(b *binds, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if len(args) == 0 {
			return d.Errf("protocols requires one or more arguments")
		}
		for _, a := range args {
			b.protocols = append(b.protocols, a.Text)
		}
		return nil
	}},
}}

// readBinds reads addresses and the block behind them.
func readBinds(d *caddyfile.Dispenser, always bool) ([]bind, error) {
	args := d.RemainingArgTokens()
	if len(args) == 0 && always {
		args = []caddyfile.Token{d.Token().With("")}
	}
	var block binds
	if err := bindOptions.Parse(d, &block); err != nil {
		return nil, err
	}
	out := make([]bind, len(args))
	for i, a := range args {
		out[i] = bind{a.Text, block.protocols, a}
	}
	return out, nil
}

func readBind(_ *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	list, err := readBinds(d, false)
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out, err
}

// accessLog is a log directive.
type accessLog struct {
	name       string
	hostnames  []string
	noHostname bool
	node       *config.Node // the logger, nil if the directive does not define one
	token      caddyfile.Token
}

func readLog(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	w, err := logs.ReadWords(u, d, logs.Site)
	if err != nil {
		return nil, err
	}
	l := accessLog{name: w.Name, hostnames: w.Hostnames, noHostname: w.NoHostname, node: w.Log, token: u.Token}
	if l.node != nil && l.name == "" {
		l.name = "log" + strconv.Itoa(u.Assembly.(*scope).logNames.next())
	}
	return []any{l}, nil
}

// errorRoute is a handle_errors directive.
type errorRoute module.Route

func readHandleErrors(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	var classes, codes []string
	for _, a := range d.RemainingArgs() {
		if len(a) != 3 {
			return nil, d.Errf("bad status value '%s'", caddyfile.Shorten(a))
		}
		digits, class := strings.CutSuffix(a, "xx")
		if _, err := strconv.Atoi(digits); err != nil {
			return nil, d.Errf("bad status value '%s'; it is a number such as 404, or a class such as 5xx", caddyfile.Shorten(a))
		}
		if class {
			classes = append(classes, fmt.Sprintf("{http.error.status_code} >= %[1]s00 && {http.error.status_code} <= %[1]s99", digits))
		} else {
			codes = append(codes, a)
		}
	}
	if len(codes) > 0 {
		classes = append(classes, "{http.error.status_code} in ["+strings.Join(codes, ", ")+"]")
	}
	routes, err := u.Block(d, true)
	if err != nil {
		return nil, err
	}
	sub, err := u.Handler("subroute", subroute(u, routes))
	if err != nil {
		return nil, err
	}
	r := errorRoute{Handle: []*config.Node{sub}, Token: u.Token}
	if len(classes) > 0 {
		set := config.NewObject(map[string]*config.Node{"expression": config.NewString(strings.Join(classes, " || "))})
		u.Placed(set, u.Token)
		r.Match = []*config.Node{set}
	}
	return []any{r}, nil
}
