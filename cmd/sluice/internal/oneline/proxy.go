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
	if err := p.refuse(from); err != nil {
		return nil, Addresses{}, err
	}
	handler, dials, err := p.handler()
	if err != nil {
		return nil, Addresses{}, err
	}
	route := object{"handle": []any{handler}}
	if from.host != "" {
		route["match"] = []any{object{"host": []any{from.host}}}
		route["terminal"] = true
	}
	server := object{
		"listen": []any{":" + from.port}, "routes": []any{route},
		"automatic_https": object{"disable": true},
	}
	if p.AccessLog {
		server["logs"] = object{}
	}
	doc, err := document(object{"proxy": server}, p.Debug)
	return doc, Addresses{from.scheme + "://" + net.JoinHostPort(from.host, from.port), dials}, err
}

// refuse names what asks for HTTPS, which is not there yet.
func (p *Proxy) refuse(from site) error {
	const yet = "HTTPS is not supported yet"
	switch {
	case from.scheme == "https":
		return fmt.Errorf("--from %s would be served over HTTPS, and %s; write --from http://%s, or --from :8080", p.From, yet, from.original)
	case p.InternalCerts:
		return fmt.Errorf("--internal-certs is for HTTPS, and %s", yet)
	case p.Insecure:
		return fmt.Errorf("--insecure is for upstreams with HTTPS, and %s", yet)
	}
	return nil
}

// handler makes the handler reverse_proxy, and lists the upstreams.
func (p *Proxy) handler() (object, []string, error) {
	scheme := ""
	upstreams, dials := []any{}, []string{}
	for _, text := range p.To {
		a, err := upstreamaddr.Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--to %s: %w", text, err)
		}
		if scheme == "" {
			scheme = a.Scheme
		}
		for _, dial := range a.Dials() {
			upstreams, dials = append(upstreams, object{"dial": dial}), append(dials, dial)
		}
	}
	handler := object{"handler": "reverse_proxy", "upstreams": upstreams}
	switch scheme {
	case "https":
		return nil, nil, errors.New("--to with https:// is for upstreams with HTTPS, which is not supported yet; use http://")
	case "h2c":
		handler["transport"] = object{"protocol": "http", "versions": []any{"h2c", "2"}}
	}
	up, err := fields("header-up", p.HeaderUp)
	if err != nil {
		return nil, nil, err
	}
	down, err := fields("header-down", p.HeaderDown)
	if err != nil {
		return nil, nil, err
	}
	if p.ChangeHostHeader {
		for name := range up {
			if strings.EqualFold(name, "Host") {
				return nil, nil, errors.New("--change-host-header and --header-up both set the Host header")
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
	if len(headers) > 0 {
		handler["headers"] = headers
	}
	return handler, dials, nil
}

// site is an address that a server is reached at.
type site struct {
	original, scheme, host, port string
}

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
	s := site{original: rest, scheme: strings.ToLower(scheme), host: strings.Trim(rest, "[]")}
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
