package oneline

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/upstreamaddr"
)

// Proxy is the flags of the command `reverse-proxy`: one site that is passed on
// to upstreams.
type Proxy struct {
	From             string
	To               []string
	ChangeHostHeader bool
	Insecure         bool
	DisableRedirects bool
	InternalCerts    bool
	HeaderUp         []string
	HeaderDown       []string
	AccessLog        bool
	Debug            bool
}

// Addresses are what a Proxy connects, for people.
type Addresses struct {
	From string
	To   []string
	// Notes say what of the flags has no effect.
	Notes []string
}

// Document makes the document, and says what is connected with what.
func (p *Proxy) Document() (*config.Node, Addresses, error) {
	if len(p.To) == 0 {
		return nil, Addresses{}, errors.New("--to is required")
	}
	from, err := parseFrom(p.From)
	if err != nil {
		return nil, Addresses{}, err
	}
	handler, to, err := p.handler()
	if err != nil {
		return nil, Addresses{}, err
	}
	server := object{"listen": []any{":" + from.port}, "routes": []any{routeTo(from.host, handler)}}
	if p.AccessLog {
		server["logs"] = object{}
	}
	apps := servers(object{"proxy": server})
	switch {
	case from.scheme == "http":
		server["automatic_https"] = object{"disable": true}
		if p.InternalCerts {
			to.Notes = append(to.Notes, "--internal-certs has no effect, since "+from.String()+" is served without TLS")
		}
	case from.host == "":
		return nil, Addresses{}, fmt.Errorf("--from %s is HTTPS for no name, and a certificate needs one; write --from https://localhost:%s, or --from http://:%s for HTTP", p.From, from.port, from.port)
	case p.DisableRedirects:
		server["automatic_https"] = object{"disable_redirects": true}
	}
	if p.InternalCerts && from.scheme == "https" {
		apps["tls"] = object{"automation": object{"policies": []any{
			object{"subjects": []any{from.host}, "issuers": []any{object{"module": "internal"}}},
		}}}
	}
	to.From = from.String()
	doc, err := document(apps, p.Debug)
	return doc, to, err
}

// upstreams reads --to. The first scheme in it is that of all.
func (p *Proxy) upstreams() (list []any, scheme string, to Addresses, err error) {
	for _, text := range p.To {
		a, err := upstreamaddr.Parse(text)
		if err != nil {
			return nil, "", to, fmt.Errorf("--to %s: %w", text, err)
		}
		switch {
		case scheme == "":
			scheme = a.Scheme
		case a.Scheme != "" && a.Scheme != scheme:
			to.Notes = append(to.Notes, fmt.Sprintf("--to %s is reached over %s, too, since all upstreams are reached in the same way", text, scheme))
		}
		for _, dial := range a.Dials() {
			list, to.To = append(list, object{"dial": dial}), append(to.To, dial)
		}
	}
	return list, scheme, to, nil
}

// handler makes the handler reverse_proxy, and lists the upstreams.
func (p *Proxy) handler() (object, Addresses, error) {
	upstreams, scheme, to, err := p.upstreams()
	if err != nil {
		return nil, to, err
	}
	handler := object{"handler": "reverse_proxy", "upstreams": upstreams}
	switch scheme {
	case "https":
		settings := object{}
		if p.Insecure {
			settings["insecure_skip_verify"] = true
		}
		handler["transport"] = object{"protocol": "http", "tls": settings}
	case "h2c":
		handler["transport"] = object{"protocol": "http", "versions": []any{"h2c", "2"}}
	}
	if p.Insecure && scheme != "https" {
		to.Notes = append(to.Notes, "--insecure has no effect, since no upstream is reached over https://")
	}
	headers, err := p.headers()
	if err != nil {
		return nil, to, err
	}
	if len(headers) > 0 {
		handler["headers"] = headers
	}
	return handler, to, nil
}

// headers is what is changed in the headers of requests and responses.
func (p *Proxy) headers() (object, error) {
	up, err := fields("header-up", p.HeaderUp)
	if err != nil {
		return nil, err
	}
	down, err := fields("header-down", p.HeaderDown)
	if err != nil {
		return nil, err
	}
	if p.ChangeHostHeader {
		for name := range up {
			if strings.EqualFold(name, "Host") {
				return nil, errors.New("--change-host-header and --header-up both set the Host header")
			}
		}
		up["Host"] = []any{"{http.reverse_proxy.upstream.hostport}"}
	}
	headers := object{}
	if len(up) > 0 {
		headers["request"] = object{"set": up}
	}
	if len(down) > 0 {
		headers["response"] = object{"set": down}
	}
	return headers, nil
}

// site is an address that a server is reached at.
type site struct{ scheme, host, port string }

func (s site) String() string { return s.scheme + "://" + net.JoinHostPort(s.host, s.port) }

// parseFrom reads [scheme://]host[:port]. Without a scheme it is http if the port
// is 80 or there is no host, else https.
func parseFrom(text string) (site, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	}
	if strings.Contains(rest, "/") {
		return site{}, fmt.Errorf("paths are not allowed: %s", text)
	}
	s := site{scheme: strings.ToLower(scheme), host: strings.Trim(rest, "[]")}
	if host, port, err := net.SplitHostPort(rest); err == nil {
		s.host, s.port = host, port
	}
	if s.port != "" {
		if n, err := strconv.ParseUint(s.port, 10, 16); err != nil || n == 0 {
			return site{}, fmt.Errorf("--from %s: invalid port '%s'", text, s.port)
		}
	}
	s.host = strings.ToLower(s.host)
	switch {
	case s.scheme != "" && s.scheme != "http" && s.scheme != "https":
		return site{}, fmt.Errorf("--from %s: unsupported URL scheme %s://", text, s.scheme)
	case s.scheme != "":
	case s.port == "80" || s.host == "":
		s.scheme = "http"
	default:
		s.scheme = "https"
	}
	if s.port == "" {
		s.port = map[string]string{"http": "80", "https": "443"}[s.scheme]
	}
	return s, nil
}
