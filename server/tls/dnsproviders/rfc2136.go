package dnsproviders

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// RFC2136 is the config of the provider rfc2136: a name server whose zones are changed with dynamic updates (RFC 2136), as
// BIND, Knot, PowerDNS and others take them. It is spoken to over TCP.
type RFC2136 struct {
	// Server is the primary name server of the zones, as host or host:port. Placeholders are expanded when the document is
	// loaded. Default port: 53.
	Server string `json:"server" check:"required"`
	// KeyName is the name of the TSIG key (RFC 8945) that signs what is asked. Placeholders are expanded when the document is
	// loaded. Default: none, nothing is signed, so that the server must know sluice by its address.
	KeyName string `json:"key_name"`
	// KeyAlg is the algorithm of the key: hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 or hmac-sha512. Placeholders are
	// expanded when the document is loaded. Default: hmac-sha256.
	KeyAlg string `json:"key_alg"`
	// Key is the key in base64. It is a secret. Placeholders are expanded when the document is loaded, so that it can stay in a
	// file or in the environment.
	Key string `json:"key"`
}

func rfc2136Spec() module.Spec {
	return module.New(Namespace+".rfc2136", "Changes zones by dynamic updates, signed with a TSIG key.", nil, compileRFC2136,
		module.Examples(module.Example{Title: "Update a name server with a key from the environment.",
			JSON: `{"name":"rfc2136","server":"192.0.2.53:53","key_name":"acme","key_alg":"hmac-sha256","key":"{env.TSIG_KEY}"}`}),
		module.Words(rfc2136Words))
}

// algorithms are those of TSIG that are taken.
var algorithms = []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}

// nameServer is the provider rfc2136.
type nameServer struct {
	address            string
	key, alg, password string // the key's name, algorithm and secret; "" for no key
	now                func() time.Time
}

func compileRFC2136(env *module.Env, c *RFC2136) (Provider, error) {
	s := &nameServer{now: time.Now}
	var problems schema.Problems
	expand := func(pointer, text string) string {
		if text == "" {
			return ""
		}
		expanded, err := env.ExpandStrict(text)
		if err != nil {
			problems = append(problems, module.Problem(pointer, err.Error())...)
		}
		return expanded
	}
	server, name := expand("/server", c.Server), expand("/key_name", c.KeyName)
	alg, key := expand("/key_alg", c.KeyAlg), expand("/key", c.Key)
	if len(problems) > 0 {
		return nil, problems
	}
	var err error
	if s.address, err = address(server); err != nil {
		problems = append(problems, module.Problem("/server", err.Error())...)
	}
	switch {
	case name == "" && key == "":
		return s, asError(problems)
	case name == "":
		problems = append(problems, module.Problem("/key_name", "key is given without key_name; give both or none")...)
	case key == "":
		problems = append(problems, module.Problem("/key", "key_name is given without key; give both or none")...)
	}
	if _, ok := dns.IsDomainName(name); !ok && name != "" {
		problems = append(problems, module.Problem("/key_name", "the name of a key is written like a domain name; this is none")...)
	}
	if _, err := base64.StdEncoding.DecodeString(key); err != nil {
		problems = append(problems, module.Problem("/key", "the key cannot be read; want it in base64, as tsig-keygen writes it")...)
	}
	if alg == "" {
		alg = dns.HmacSHA256
	}
	s.key, s.alg, s.password = dns.CanonicalName(name), dns.CanonicalName(alg), key
	if !slices.Contains(algorithms, s.alg) {
		problems = append(problems, module.Problem("/key_alg", fmt.Sprintf("unknown algorithm %q; the algorithms are hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 and hmac-sha512", caddyfile.Shorten(alg)))...)
	}
	return s, asError(problems)
}

// address adds the port to a server.
func address(server string) (string, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = strings.Trim(server, "[]"), "53"
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", errServer
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/ ") {
		return "", errServer
	}
	return net.JoinHostPort(host, port), nil
}

var errServer = errors.New("this is no name server; want host or host:port")

// asError returns nil for no problems, as an error that is nil.
func asError(ps schema.Problems) error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// AppendRecords implements [Provider]. All records are added or none.
func (s *nameServer) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return s.change(ctx, zone, records, true, func(m *dns.Msg, list []dns.RR) { m.Insert(list) })
}

// SetRecords implements [Provider]. All records are set or none.
func (s *nameServer) SetRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return s.change(ctx, zone, records, true, func(m *dns.Msg, list []dns.RR) {
		m.RemoveRRset(list)
		m.Insert(list)
	})
}

// DeleteRecords implements [Provider]. A record without a type stands for all of its name, and one without data for all of
// its name and type. A name server does not say what there was, so that records that were not there are returned too; a
// TTL is not looked at.
func (s *nameServer) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return s.change(ctx, zone, records, false, func(m *dns.Msg, list []dns.RR) {
		for _, rr := range list {
			switch h := rr.Header(); {
			case h.Rrtype == dns.TypeANY:
				m.RemoveName([]dns.RR{rr})
			case isEmpty(rr):
				m.RemoveRRset([]dns.RR{rr})
			default:
				m.Remove([]dns.RR{rr})
			}
		}
	})
}

// change sends one update. If whole is set each record must have data.
func (s *nameServer) change(ctx context.Context, zone string, records []libdns.Record, whole bool, put func(*dns.Msg, []dns.RR)) ([]libdns.Record, error) {
	if len(records) == 0 {
		return nil, nil
	}
	zone = dns.Fqdn(zone)
	list := make([]dns.RR, 0, len(records))
	for _, r := range records {
		rr, err := toRR(r.RR(), zone)
		if err != nil {
			return nil, err
		}
		if whole && isEmpty(rr) {
			return nil, fmt.Errorf("record %s has no type or no data", rr.Header().Name)
		}
		list = append(list, rr)
	}
	m := new(dns.Msg).SetUpdate(zone)
	put(m, list)
	if err := s.exchange(ctx, m); err != nil {
		return nil, fmt.Errorf("updating zone %s at name server %s: %w", zone, s.address, err)
	}
	out := make([]libdns.Record, 0, len(records))
	for _, r := range records {
		out = append(out, typed(r.RR()))
	}
	return out, nil
}

// Bounds of what is asked of a name server.
const (
	askTimeout = 30 * time.Second
	maxRecords = 1 << 20
	tsigFudge  = 300
)

// exchange sends a message and reads the answer, which is to be a good one.
func (s *nameServer) exchange(ctx context.Context, m *dns.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := &dns.Client{Net: "tcp", Timeout: askTimeout}
	if s.key != "" {
		m.SetTsig(s.key, s.alg, tsigFudge, s.now().Unix())
		client.TsigSecret = map[string]string{s.key: s.password}
	}
	conn, err := client.DialContext(ctx, s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer, _, err := client.ExchangeWithConnContext(ctx, m, conn)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if answer != nil {
		if why := refused(answer); why != nil {
			return why
		}
	}
	if err != nil {
		return signatureError(err)
	}
	if s.key != "" && answer.IsTsig() == nil {
		return errors.New("the answer is not signed, although the question was; the name server may know nothing of TSIG")
	}
	return nil
}

// refused says why an answer is a bad one; nil for a good one.
func refused(answer *dns.Msg) error {
	if answer.Rcode == dns.RcodeSuccess {
		return nil
	}
	code := uint16(answer.Rcode)
	if t := answer.IsTsig(); t != nil && t.Error != 0 {
		code = t.Error
	}
	name, ok := dns.RcodeToString[int(code)]
	if !ok {
		name = fmt.Sprint(code)
	}
	if advice := advices[int(code)]; advice != "" {
		return fmt.Errorf("it answers %s: %s", name, advice)
	}
	return fmt.Errorf("it answers %s", name)
}

// advices says what the answers of a name server mean here.
var advices = map[int]string{
	dns.RcodeRefused: "it does not let this key, or this address, do so",
	dns.RcodeNotAuth: "it has not this zone, or does not know the key",
	dns.RcodeNotZone: "a record lies outside of the zone",
	dns.RcodeBadSig:  "the key is not the one that it has under this name, or key_alg is another",
	dns.RcodeBadKey:  "it knows no key of this name and with this key_alg",
	dns.RcodeBadTime: "its clock and ours are more than five minutes apart",
}

// signatureError explains an answer that is signed in a wrong way.
func signatureError(err error) error {
	for _, e := range []error{dns.ErrSig, dns.ErrKey, dns.ErrSecret, dns.ErrTime, dns.ErrKeyAlg} {
		if errors.Is(err, e) {
			return fmt.Errorf("the signature of the answer is wrong, see that the key is the same on both sides: %w", err)
		}
	}
	return err
}

// rfc2136Words reads the provider rfc2136.
func rfc2136Words(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := &RFC2136{}
	if err := rfc2136Lines.Parse(d, c); err != nil {
		return nil, err
	}
	return c, nil
}

var one = caddyfile.Exactly(1)

var rfc2136Lines = caddyfile.Options[RFC2136]{Lines: []caddyfile.Option[RFC2136]{
	{Name: "server", Args: one, Set: caddyfile.String(func(c *RFC2136) *string { return &c.Server })},
	{Name: "key_name", Args: one, Set: caddyfile.String(func(c *RFC2136) *string { return &c.KeyName })},
	{Name: "key_alg", Args: one, Set: caddyfile.String(func(c *RFC2136) *string { return &c.KeyAlg })},
	{Name: "key", Args: one, Set: caddyfile.String(func(c *RFC2136) *string { return &c.Key })},
}}
