// Package proxyprotocol is the listener wrapper proxy_protocol: it reads the
// PROXY header, version 1 or 2, with which a proxy in front of this one says
// who its client is.
//
// The header is read on the connection's own goroutine, so a sender that is slow
// or silent holds up nobody else. It is taken off the connection entirely: what
// follows never sees a part of it.
package proxyprotocol

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/wire"
)

// Config says from whom a PROXY header is taken.
type Config struct {
	// Timeout is how long the header may take to arrive. A connection that has
	// sent nothing of it by then counts as one without a header. Negative means no
	// limit. Default: 10s.
	Timeout module.Duration `json:"timeout"`
	// Allow is the senders whose header is used, as CIDR prefixes.
	Allow []string `json:"allow"`
	// Deny is the senders that must not send a header, as CIDR prefixes. It goes
	// before allow.
	Deny []string `json:"deny"`
	// FallbackPolicy is what to do with all others, in upper or lower case: USE
	// takes the addresses of the header, if there is one; IGNORE reads a header
	// and takes nothing of it; REJECT closes a connection that sends one; REQUIRE
	// takes it, and closes a connection without one; SKIP does not look for one.
	// Connections through unix sockets are always used. Default: IGNORE.
	FallbackPolicy string `json:"fallback_policy"`
}

// defaultTimeout is how long a header may take if nothing else is set.
const defaultTimeout = 10 * time.Second

type policy uint8

const (
	ignore policy = iota
	use
	reject
	require
	skip
)

// policies are the names of the policies, in the order of their values.
var policies = []string{"IGNORE", "USE", "REJECT", "REQUIRE", "SKIP"}

// Spec describes the wrapper.
func Spec() module.Spec {
	return module.New("caddy.listeners.proxy_protocol", "Reads the PROXY header of a proxy in front, which names the client.", nil, compile,
		module.Words(readWords),
		module.Examples(
			module.Example{Title: "Take the header of one proxy only", JSON: `{"wrapper": "proxy_protocol", "allow": ["192.0.2.10/32"]}`},
			module.Example{Title: "Let nobody in without a header", JSON: `{"wrapper": "proxy_protocol", "timeout": "2s", "deny": ["198.51.100.0/24"], "fallback_policy": "REQUIRE"}`},
		))
}

// opener is the compiled wrapper.
type opener struct {
	timeout     time.Duration // not positive means none
	allow, deny []netip.Prefix
	fallback    policy
}

func compile(_ *module.Env, c *Config) (wire.Opener, error) {
	o := &opener{timeout: time.Duration(c.Timeout)}
	if o.timeout == 0 {
		o.timeout = defaultTimeout
	}
	var ps schema.Problems
	prefixes := func(field string, list []string) (out []netip.Prefix) {
		for i, text := range list {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				ps = append(ps, schema.Problem{Pointer: "/" + field + "/" + strconv.Itoa(i), Found: text,
					Message: fmt.Sprintf("%q is not a CIDR prefix; for a single address append /32 or /128", text)})
				continue
			}
			out = append(out, p.Masked())
		}
		return out
	}
	o.allow, o.deny = prefixes("allow", c.Allow), prefixes("deny", c.Deny)
	if c.FallbackPolicy != "" {
		i := slices.Index(policies, strings.ToUpper(c.FallbackPolicy))
		if i < 0 {
			ps = append(ps, schema.Problem{Pointer: "/fallback_policy", Found: c.FallbackPolicy,
				Message: fmt.Sprintf("%q is not a policy; want IGNORE, USE, REJECT, REQUIRE or SKIP", c.FallbackPolicy)})
		} else {
			o.fallback = policy(i)
		}
	}
	if len(ps) > 0 {
		return nil, ps
	}
	return o, nil
}

// policyFor chooses what to do with the header of a peer.
func (o *opener) policyFor(peer net.Addr) (policy, error) {
	if strings.HasPrefix(peer.Network(), "unix") {
		return use, nil
	}
	at, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return 0, fmt.Errorf("the peer has no IP address: %s", peer)
	}
	ip := at.Addr().Unmap().WithZone("")
	within := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	switch {
	case within(o.deny):
		return reject, nil
	case within(o.allow):
		return use, nil
	}
	return o.fallback, nil
}

// Open implements wire.Opener.
func (o *opener) Open(c net.Conn) (wire.Opening, error) {
	p, err := o.policyFor(c.RemoteAddr())
	if err != nil || p == skip {
		return wire.Opening{}, err
	}
	h, read, err := o.read(c)
	switch {
	case err != nil:
		return wire.Opening{}, fmt.Errorf("PROXY header: %w", err)
	case h == nil && p == require:
		return wire.Opening{}, errors.New("the connection has no PROXY header, which is required of it")
	case h == nil:
		return wire.Opening{Rest: read}, nil
	case p == reject:
		return wire.Opening{}, errors.New("the connection has a PROXY header, which its sender must not use")
	case p == ignore:
		return wire.Opening{Rest: read[h.size:]}, nil
	}
	return wire.Opening{Local: h.destination, Remote: h.source, Rest: read[h.size:]}, nil
}

// read reads until it is known what the connection begins with. Without a header
// h is nil.
func (o *opener) read(c net.Conn) (h *header, read []byte, err error) {
	if o.timeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(o.timeout)); err != nil {
			return nil, nil, fmt.Errorf("limiting the time: %w", err)
		}
	}
	buf := make([]byte, 0, 512)
	for {
		n, readErr := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		h, err = parse(buf)
		if errors.Is(err, errMore) && readErr == nil {
			if len(buf) == cap(buf) {
				buf = slices.Grow(buf, fixed2+maxBlock)
			}
			continue
		}
		break
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, nil, fmt.Errorf("ending the limit of time: %w", err)
	}
	switch {
	case errors.Is(err, errNone), errors.Is(err, errMore) && !begun(buf):
		return nil, buf, nil // also when the time is over, or the peer has said all
	case errors.Is(err, errMore):
		return nil, nil, errors.New("it breaks off")
	}
	return h, buf, err
}

var words = caddyfile.Options[Config]{
	Unknown: "unrecognized proxy_protocol option '%s'",
	Lines: []caddyfile.Option[Config]{
		{Name: "timeout", Args: caddyfile.Exactly(1), Set: caddyfile.Duration(func(c *Config) *module.Duration { return &c.Timeout })},
		{Name: "allow", Args: caddyfile.AtLeast(1), Set: addTo(func(c *Config) *[]string { return &c.Allow })},
		{Name: "deny", Args: caddyfile.AtLeast(1), Set: addTo(func(c *Config) *[]string { return &c.Deny })},
		{Name: "fallback_policy", Args: caddyfile.Exactly(1), Set: func(c *Config, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			name := strings.ToUpper(args[0].Text)
			if !slices.Contains(policies, name) {
				return d.Errf("%s is invalid policy", caddyfile.Shorten(args[0].Text))
			}
			if c.FallbackPolicy = name; name == policies[ignore] {
				c.FallbackPolicy = ""
			}
			return nil
		}},
	},
}

func addTo(field func(*Config) *[]string) func(*Config, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(c *Config, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		for _, a := range args {
			*field(c) = append(*field(c), a.Text)
		}
		return nil
	}
}

// readWords: proxy_protocol { timeout D; allow CIDR...; deny CIDR...; fallback_policy P }
func readWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := &Config{}
	return c, words.Parse(d, c)
}
