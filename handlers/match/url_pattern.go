package match

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match/urlpattern"
	"github.com/sluiceproxy/sluice/schema"
)

// URLPatternConfig matches the URL of a request, with its path decoded, cleaned
// and encoded again.
type URLPatternConfig struct {
	// Pattern is in the syntax of the WHATWG URL Pattern standard, with regular
	// expressions in RE2 syntax: /users/:id is any one segment there, /files/* all
	// below, /:n(\d+) a number, /a{/b}? has a part that may be missing. Without a
	// "://" in it and without base_url it holds for any scheme, host and port.
	// Without a query part any query matches. What a group takes is
	// {http.url_pattern.COMPONENT.GROUP}, such as {http.url_pattern.pathname.id};
	// groups without a name are numbered from 0. Placeholders are not expanded.
	// Default: empty, which matches every request.
	Pattern string `json:"pattern,omitempty"`
	// BaseURL is an absolute URL, such as https://example.com, that gives the
	// parts which the pattern leaves out. Default: none.
	BaseURL string `json:"base_url,omitempty"`
	// IgnoreCase makes letters match in either case. Default: false.
	IgnoreCase bool `json:"ignore_case,omitempty"`
}

func urlPatternSpec() module.Spec {
	return module.New("http.matchers.url_pattern", "Matches the URL of a request with a URL pattern.", nil, compileURLPattern, module.Words(urlPatternWords),
		module.Examples(
			module.Example{Title: "A segment with a name and the rest", JSON: `{"pattern": "/users/:id/*"}`},
			module.Example{Title: "A number, whatever the case", JSON: `{"pattern": "/Order/:number(\\d+)", "ignore_case": true}`},
			module.Example{Title: "One site", JSON: `{"pattern": "/search", "base_url": "https://example.com"}`},
		))
}

type urlPattern struct{ *urlpattern.Pattern }

func compileURLPattern(_ *module.Env, cfg *URLPatternConfig) (handlers.Matcher, error) {
	p, err := urlpattern.Compile(cfg.Pattern, urlpattern.Options{BaseURL: cfg.BaseURL, IgnoreCase: cfg.IgnoreCase})
	var base urlpattern.BaseError
	if errors.As(err, &base) {
		return nil, schema.Problems{{Pointer: "/base_url", Found: cfg.BaseURL, Expected: "an absolute URL such as https://example.com", Message: base.Error()}}
	}
	if err != nil {
		return nil, schema.Problems{{Pointer: "/pattern", Found: cfg.Pattern, Expected: "a URL pattern such as /users/:id/*",
			Message: fmt.Sprintf("compiling the URL pattern: %v", err)}}
	}
	return urlPattern{p}, nil
}

// urlGroups knows what the groups of a pattern took.
type urlGroups struct {
	pattern *urlpattern.Pattern
	url     urlpattern.URL
	values  []string
	space   [4]string // of values, if they are few
}

// Lookup implements vars.Scope.
func (g *urlGroups) Lookup(name string) (any, bool) {
	rest, ok := strings.CutPrefix(name, "http.url_pattern.")
	if !ok {
		return nil, false
	}
	component, group, _ := strings.Cut(rest, ".")
	c, ok := urlpattern.ComponentOf(component)
	if !ok {
		return nil, false
	}
	v, ok := g.pattern.Value(&g.url, g.values, c, group)
	if !ok {
		return nil, false
	}
	return v, true
}

// Match implements handlers.Matcher.
func (m urlPattern) Match(r *http.Request) (bool, error) {
	u := urlOf(r, !m.KeepsEmpty())
	var space [8]string
	values, ok := m.Pattern.Match(&u, space[:0])
	if !ok {
		return false, nil
	}
	if x := handlers.Of(r); x != nil {
		g := &urlGroups{pattern: m.Pattern, url: u}
		g.values = append(g.space[:0], values...)
		x.AddScope(g)
	}
	return true, nil
}

// urlOf is the URL that a request is for.
func urlOf(r *http.Request, merge bool) (u urlpattern.URL) {
	u[urlpattern.Protocol] = "http"
	standard := "80"
	if r.TLS != nil {
		u[urlpattern.Protocol], standard = "https", "443"
	}
	u[urlpattern.Hostname], u[urlpattern.Port] = hostAndPort(r.Host, standard)
	u[urlpattern.Pathname] = urlpattern.EncodePath(cleanPath(r.URL.Path, merge, false), true)
	u[urlpattern.Search] = urlpattern.EncodeSearch(r.URL.RawQuery)
	return u
}

// hostAndPort splits a Host field; the port is empty if it is the standard one.
func hostAndPort(host, standard string) (name, port string) {
	name = host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && host[len(host)-1] != ']' {
		name, port = host[:i], host[i+1:]
	}
	if port == standard {
		port = ""
	}
	return strings.ToLower(name), port
}

// urlPatternWords takes the last line.
func urlPatternWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var cfg URLPatternConfig
	for d.Next() {
		cfg = URLPatternConfig{}
		if !d.AllArgs(&cfg.Pattern) {
			return nil, d.ArgErr()
		}
		if err := urlPatternLines.Parse(d, &cfg); err != nil {
			return nil, err
		}
	}
	return &cfg, nil
}

var urlPatternLines = caddyfile.Options[URLPatternConfig]{Lines: []caddyfile.Option[URLPatternConfig]{
	{Name: "base_url", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *URLPatternConfig) *string { return &c.BaseURL })},
	{Name: "ignore_case", Args: caddyfile.None, Set: caddyfile.Flag(func(c *URLPatternConfig) *bool { return &c.IgnoreCase })},
}}
