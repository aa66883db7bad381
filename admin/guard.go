package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/admin/access"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// DefaultAddress is where the endpoint listens if nobody says otherwise.
const DefaultAddress = "localhost:2019"

// GuardOptions say who may use an endpoint.
type GuardOptions struct {
	// Address is what the endpoint listens on. It decides whether the Host
	// header is checked, and what origins are allowed by default.
	Address netaddr.Addr
	// EnforceOrigin requires an allowed origin of every request.
	EnforceOrigin bool
	// Origins are the allowed origins; nil means those of Address (section 4),
	// an empty list none.
	Origins []string
	// Tokens, if not nil, are the bearer tokens of which each request needs one.
	Tokens []Token
	// Remote, if not nil, makes it the rules of a remote endpoint: clients are
	// known by their TLS certificates, may use any host name, and no origin is
	// allowed. Nothing else of these options counts then.
	Remote *access.Rules
}

// Token is a bearer token.
type Token struct {
	// Name says who a change came from in the history. It may be empty.
	Name string
	// Digest is the SHA-256 of the token. The token itself is not kept.
	Digest [sha256.Size]byte
}

// NewToken makes a Token of its secret text.
func NewToken(name, secret string) Token {
	return Token{Name: name, Digest: sha256.Sum256([]byte(secret))}
}

// Guard applies the checks of section 4, and tokens after them. It is immutable
// and safe for concurrent use.
type Guard struct {
	checkHost bool
	enforce   bool
	origins   []origin
	tokens    []Token
	locked    bool // tokens are required
	remote    *access.Rules
}

// origin is an allowed origin; without a scheme any will do.
type origin struct{ scheme, host string }

func (o origin) String() string {
	if o.scheme == "" {
		return "//" + o.host
	}
	return o.scheme + "://" + o.host
}

// NewGuard makes a Guard. The error names the origin that is malformed.
func NewGuard(o GuardOptions) (*Guard, error) {
	if o.Remote != nil {
		return &Guard{remote: o.Remote}, nil
	}
	g := &Guard{
		checkHost: !openInterface(o.Address),
		enforce:   o.EnforceOrigin,
		tokens:    slices.Clone(o.Tokens),
		locked:    o.Tokens != nil,
	}
	if o.Origins == nil {
		g.origins = defaultOrigins(o.Address)
		return g, nil
	}
	for i, text := range o.Origins {
		parsed, err := parseOrigin(text)
		if err != nil {
			return nil, fmt.Errorf("origin %d: %w", i, err)
		}
		g.origins = append(g.origins, parsed)
	}
	return g, nil
}

// LockedGuard makes a Guard that lets nobody in, whatever they send. It is for
// an endpoint whose own rules cannot be had.
func LockedGuard() *Guard { return &Guard{checkHost: true, locked: true} }

// CheckOrigin returns what is wrong with the text of an allowed origin, if
// anything is.
func CheckOrigin(text string) error {
	_, err := parseOrigin(text)
	return err
}

// ChecksHost reports whether requests must call the endpoint by one of its
// names. They need not if it is open to every name of the machine, or has none.
func (g *Guard) ChecksHost() bool { return g.checkHost }

// openInterface reports whether requests reach the address under any host name.
func openInterface(a netaddr.Addr) bool { return a.IsWildcard() || a.IsUnix() || a.IsFD() }

func defaultOrigins(a netaddr.Addr) []origin {
	if a.IsUnix() || a.IsFD() {
		return nil
	}
	port := strconv.FormatUint(uint64(a.StartPort), 10)
	if !a.IsLoopback() {
		return []origin{{host: net.JoinHostPort(a.Host, port)}}
	}
	return []origin{{host: "localhost:" + port}, {host: "[::1]:" + port}, {host: "127.0.0.1:" + port}}
}

func parseOrigin(text string) (origin, error) {
	if !strings.Contains(text, "://") {
		if text == "" || strings.ContainsAny(text, "/?#@ ") {
			return origin{}, fmt.Errorf("%q is not an origin; write host, host:port or scheme://host:port", text)
		}
		return origin{host: text}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return origin{}, fmt.Errorf("%q is not an origin; write host, host:port or scheme://host:port", text)
	}
	return origin{scheme: u.Scheme, host: u.Host}, nil
}

// Origins lists the allowed origins, each in the form //host:port or
// scheme://host:port.
func (g *Guard) Origins() []string {
	list := make([]string, len(g.origins))
	for i, o := range g.origins {
		list[i] = o.String()
	}
	return list
}

// check applies the checks in order.
func (g *Guard) check(c *call) error {
	if g.remote != nil {
		if err := g.checkClient(c); err != nil {
			return err
		}
	}
	h := c.r.Header
	switch {
	case contains(h["Upgrade"], "websocket"):
		return failf(http.StatusBadRequest, "WebSocket connections aren't allowed.")
	case contains(h["Sec-Fetch-Mode"], "no-cors"):
		return failf(http.StatusBadRequest, "Disabling same-origin restrictions is not allowed.")
	case slices.Contains(h["Origin"], "null"):
		return failf(http.StatusBadRequest, "Buggy browser is sending null Origin header.")
	case g.checkHost && !slices.ContainsFunc(g.origins, func(o origin) bool { return o.host == c.r.Host }):
		return failf(http.StatusForbidden, "host not allowed: %s", c.r.Host)
	}
	_, hasOrigin := h["Origin"]
	_, hasMode := h["Sec-Fetch-Mode"]
	if g.enforce || hasOrigin || hasMode {
		if err := g.checkOrigin(c); err != nil {
			return err
		}
	}
	return g.checkToken(c)
}

// checkClient finds out what the client of a remote endpoint may do, and
// whether this is it (section 14). Who may do nothing is disconnected.
func (g *Guard) checkClient(c *call) error {
	grant, err := g.remote.Of(c.r, time.Now())
	if err != nil {
		c.Header().Set("Connection", "close")
		return denied(err)
	}
	c.grant, c.caller = grant, grant.Name()
	return c.allow(c.r.URL.Path)
}

// allow reports whether the client may use its method on a path, besides the
// one that it has asked for.
func (c *call) allow(path string) error {
	if c.grant == nil {
		return nil
	}
	return denied(c.grant.Allow(c.r.Method, path))
}

// allowValue is allow for a value of the document, wherever the request found
// its path. A slash in a key does not separate.
func (c *call) allowValue(p config.Path) error {
	if c.grant == nil {
		return nil
	}
	if len(p) == 0 {
		return c.allow(requestPathOf(p))
	}
	text := "/config"
	for _, seg := range p {
		text += "/" + strings.ReplaceAll(seg, "/", "%2F")
	}
	return c.allow(text)
}

// denied makes an answer of what access control says; nil stays nil.
func denied(err error) error {
	var d *access.Denied
	if errors.As(err, &d) {
		return failf(d.Status, "%s", d.Msg)
	}
	return err
}

func contains(values []string, part string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, part) })
}

func (g *Guard) checkOrigin(c *call) error {
	text := c.r.Header.Get("Origin")
	if text == "" {
		text = c.r.Header.Get("Referer")
	}
	u, err := url.Parse(text)
	if err != nil {
		return failf(http.StatusForbidden, "required Origin header is missing or invalid")
	}
	u = &url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}
	from := u.String()
	if u.Host == "" || !slices.ContainsFunc(g.origins, func(o origin) bool {
		return o.host == u.Host && (o.scheme == "" || o.scheme == u.Scheme)
	}) {
		return failf(http.StatusForbidden, "client is not allowed to access from origin '%s'", from)
	}
	h := c.Header()
	h.Set("Access-Control-Allow-Origin", from)
	h.Add("Vary", "Origin")
	if c.r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "OPTIONS, GET, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Content-Type, Content-Length, Cache-Control")
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return nil
}

// checkToken requires a bearer token (RFC 6750, section 2.1) where there are
// any, but not of probes.
func (g *Guard) checkToken(c *call) error {
	if !g.locked {
		return nil
	}
	scheme, text, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if c.r.Method == http.MethodGet && (c.r.URL.Path == healthPattern || c.r.URL.Path == readyPattern) {
			c.anonymous = true
			return nil
		}
		return unauthorized(`Bearer realm="sluice admin"`, "a token is required; send the header Authorization: Bearer <token>")
	}
	digest := sha256.Sum256([]byte(strings.TrimSpace(text)))
	found := -1
	for i := range g.tokens {
		// Every token is compared, so that the time does not tell which one fits.
		if subtle.ConstantTimeCompare(digest[:], g.tokens[i].Digest[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return unauthorized(`Bearer realm="sluice admin", error="invalid_token"`, "the token is not valid")
	}
	c.caller = g.tokens[found].Name
	return nil
}

func unauthorized(challenge, msg string) *Error {
	return &Error{Status: http.StatusUnauthorized, Msg: msg, Header: http.Header{"Www-Authenticate": {challenge}}}
}
