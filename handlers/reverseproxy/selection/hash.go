package selection

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/upstream"
)

// byHash takes the available upstream with the highest score for the key (SEL-3).
func byHash(c *Choice, key string) int {
	best := -1
	var highest uint64
	for i, u := range c.Upstreams {
		if !u.Available() {
			continue
		}
		if score := upstream.Score(u.Dial, key); best < 0 || score > highest {
			best, highest = i, score
		}
	}
	return best
}

type ipHash struct{}

// Select implements [Policy].
func (ipHash) Select(c *Choice) int {
	peer := c.Request.RemoteAddr
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	return byHash(c, peer)
}

type clientIPHash struct{}

// Select implements [Policy].
func (clientIPHash) Select(c *Choice) int {
	return byHash(c, vars.ToString(c.Exchange.Var("client_ip")))
}

type uriHash struct{}

// Select implements [Policy].
func (uriHash) Select(c *Choice) int { return byHash(c, c.Request.URL.RequestURI()) }

// Query is the config of policy query.
type Query struct {
	// Key is the query key whose values, joined by commas, decide. Required.
	Key string `json:"key" check:"required"`
	// Fallback is the policy for requests without the key, or with an empty value. Default: random.
	Fallback module.Ref[Policy] `json:"fallback" module:"http.reverse_proxy.selection_policies" inline:"policy"`
}

func compileQuery(_ *module.Env, c *Query) (Policy, error) {
	if c.Key == "" {
		return nil, module.Problem("/key", "key is empty; name the query key to hash")
	}
	return &query{key: c.Key, fallback: orRandom(c.Fallback)}, nil
}

type query struct {
	key      string
	fallback Policy
}

// Select implements [Policy].
func (p *query) Select(c *Choice) int {
	// What cannot be parsed of a query is left out, as everywhere.
	values, _ := url.ParseQuery(c.Request.URL.RawQuery)
	if key := strings.Join(values[p.key], ","); key != "" {
		return byHash(c, key)
	}
	return p.fallback.Select(c)
}

// Header is the config of policy header.
type Header struct {
	// Field is the request header field whose first value decides; "Host" is the requested host. Required.
	Field string `json:"field" check:"required"`
	// Fallback is the policy for requests without the field, or with an empty one. Default: random.
	Fallback module.Ref[Policy] `json:"fallback" module:"http.reverse_proxy.selection_policies" inline:"policy"`
}

func compileHeader(_ *module.Env, c *Header) (Policy, error) {
	if c.Field == "" {
		return nil, module.Problem("/field", "field is empty; name the header field to hash")
	}
	return &headerHash{host: c.Field == "Host", field: http.CanonicalHeaderKey(c.Field), fallback: orRandom(c.Fallback)}, nil
}

type headerHash struct {
	host     bool
	field    string
	fallback Policy
}

// Select implements [Policy].
func (p *headerHash) Select(c *Choice) int {
	key := c.Request.Host
	if !p.host {
		key = ""
		if values := c.Request.Header[p.field]; len(values) > 0 {
			key = values[0]
		}
	}
	if key == "" {
		return p.fallback.Select(c)
	}
	return byHash(c, key)
}

// Cookie is the config of policy cookie.
type Cookie struct {
	// Name is the name of the cookie. Default: lb.
	Name string `json:"name"`
	// Secret keys the hash that stands for an upstream, so that clients cannot learn its address from the cookie. Give it as
	// {env.NAME} or {file.PATH}. Default: empty.
	Secret string `json:"secret"`
	// MaxAge is how long a browser keeps the cookie, in whole seconds. Default: until it is closed.
	MaxAge module.Duration `json:"max_age"`
	// Fallback is the policy for clients without the cookie, or whose upstream is not available. Default: random.
	Fallback module.Ref[Policy] `json:"fallback" module:"http.reverse_proxy.selection_policies" inline:"policy"`
}

func compileCookie(env *module.Env, c *Cookie) (Policy, error) {
	p := &cookie{name: c.Name, secret: []byte(env.Expand(c.Secret)), maxAge: int(time.Duration(c.MaxAge) / time.Second), fallback: orRandom(c.Fallback)}
	if p.name == "" {
		p.name = "lb"
	}
	if !httpguts.ValidHeaderFieldName(p.name) { // the same tokens (RFC 6265 section 4.1.1)
		return nil, module.Problem("/name", "name is no cookie name; use letters, digits, hyphens and underscores")
	}
	if c.Secret != "" && vars.Parse(c.Secret).Names() == nil {
		env.Warn("/secret", "the secret stands literally in the configuration; {env.NAME} or {file.PATH} keeps it out")
	}
	return p, nil
}

type cookie struct {
	name     string
	secret   []byte
	maxAge   int
	fallback Policy
}

// Select implements [Policy] (SEL-8).
func (p *cookie) Select(c *Choice) int {
	for _, sent := range c.Request.CookiesNamed(p.name) {
		for i, u := range c.Upstreams {
			if u.Available() && subtle.ConstantTimeCompare([]byte(sent.Value), []byte(p.value(u))) == 1 {
				return i
			}
		}
		break // the first cookie of the name counts
	}
	i := p.fallback.Select(c)
	if i >= 0 {
		p.set(c, p.value(c.Upstreams[i]))
	}
	return i
}

func (p *cookie) value(u *Upstream) string {
	return u.Memo(p, func() string {
		mac := hmac.New(sha256.New, p.secret)
		mac.Write([]byte(u.Dial))
		return hex.EncodeToString(mac.Sum(nil))
	})
}

// set adds the cookie to the response. It replaces what an earlier attempt of the request has set.
func (p *cookie) set(c *Choice, value string) {
	set := http.Cookie{Name: p.name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if p.maxAge > 0 {
		set.MaxAge = p.maxAge
	}
	if secure(c) {
		set.Secure, set.SameSite = true, http.SameSiteNoneMode
	}
	kept := c.Response["Set-Cookie"][:0:0]
	for _, line := range c.Response["Set-Cookie"] {
		if !strings.HasPrefix(line, p.name+"=") {
			kept = append(kept, line)
		}
	}
	c.Response["Set-Cookie"] = append(kept, set.String())
}

// secure reports whether the client's connection is TLS, as far as we see or a proxy that the server trusts tells.
func secure(c *Choice) bool {
	if c.Request.TLS != nil {
		return true
	}
	if trusted, _ := c.Exchange.Var("trusted_proxy").(bool); !trusted {
		return false
	}
	proto := c.Request.Header["X-Forwarded-Proto"]
	return len(proto) > 0 && proto[len(proto)-1] == "https"
}

func orRandom(r module.Ref[Policy]) Policy {
	if r.Set() && r.Value() != nil {
		return r.Value()
	}
	return random{}
}
