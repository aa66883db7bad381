package upstream

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Route is what one request asks of the connection that it is sent on, beyond the options of its transport. Requests
// share a connection only where the routes are equal too. The zero value asks for nothing.
type Route struct {
	// ServerName is sent and verified in the TLS handshake, instead of that of the options and the upstream's host.
	ServerName string
	// Client is the IP address that the header of the PROXY protocol names as the source; without one the header says that
	// the connection is the proxy's own, as that of a health check is.
	Client string
	// Proxy is the forward proxy to use, instead of the one that the surroundings ask for: http, https, socks5 or socks5h.
	Proxy *url.URL
	// Direct uses no forward proxy, whatever the surroundings ask for.
	Direct bool
}

// way is how to reach an upstream: what net/http pools connections by. It travels as the host of a request's URL.
type way struct {
	network, address string
	serverName       string
	client           string
	proxy            string // URL of the forward proxy
	mode             string // letters of what follows
}

const (
	modeHTTP1    = "1" // offer no HTTP/2 in the handshake
	modeAbsolute = "a" // the proxy gets requests in absolute form, instead of being asked for a tunnel
	modeProxy    = "p" // the address is that of a forward proxy
)

func (w *way) has(mode string) bool { return strings.Contains(w.mode, mode) }

// hostMark begins an encoded host, and stands between its parts. No host name, address or port has it.
const hostMark = "!"

// encode returns the authority under which net/http pools the connections of w.
func (w *way) encode() string {
	if w.network == "tcp" && w.serverName == "" && w.client == "" && w.proxy == "" && w.mode == "" {
		return w.address
	}
	b := make([]byte, 0, 32+2*(len(w.address)+len(w.serverName)+len(w.client)+len(w.proxy)))
	b = append(append(b, hostMark...), w.network...)
	b = hex.AppendEncode(append(b, hostMark...), []byte(w.address))
	if w.serverName != "" || w.client != "" || w.proxy != "" || w.mode != "" {
		for _, part := range [...]string{w.serverName, w.client, w.proxy} {
			b = hex.AppendEncode(append(b, hostMark...), []byte(part))
		}
		b = append(append(b, hostMark...), w.mode...)
	}
	return string(append(b, ":0"...))
}

// decodeWay is the reverse of encode, applied to what net/http asks the dialer for.
func decodeWay(authority string) (way, error) {
	rest, encoded := strings.CutPrefix(authority, hostMark)
	if !encoded {
		return way{network: "tcp", address: authority}, nil
	}
	var w way
	rest, _, _ = strings.Cut(rest, ":")
	w.network, rest, _ = strings.Cut(rest, hostMark)
	for _, part := range [...]*string{&w.address, &w.serverName, &w.client, &w.proxy} {
		var coded string
		coded, rest, _ = strings.Cut(rest, hostMark)
		text, err := hex.DecodeString(coded)
		if err != nil {
			return way{}, fmt.Errorf("decoding the upstream address %q: %w", authority, err)
		}
		*part = string(text)
	}
	w.mode = rest
	return w, nil
}

// encodeHost returns the authority for an address alone.
func encodeHost(network, address string) string {
	w := way{network: network, address: address}
	return w.encode()
}

// DecodeHost returns what to dial for the URLHost of an [Address].
func DecodeHost(urlHost string) (network, address string, err error) {
	w, err := decodeWay(urlHost)
	return w.network, w.address, err
}

// Send sends r as [Transport.RoundTrip] does, on a connection of the route. It changes the scheme and the host of r.URL.
func (h *HTTP) Send(r *http.Request, to Route) (*http.Response, error) {
	if h.http3 != nil {
		return h.sendHTTP3(r, &to)
	}
	upgrade := r.Header["Upgrade"] != nil
	if upgrade && h.connector != nil {
		if res, err := h.sendUpgradeHTTP2(r, &to); err != errHTTP1 { //nolint:errorlint // never wrapped
			return res, err
		}
	}
	t := h.http1
	if h.plainly(&to) {
		r.URL.Scheme = "http"
		if h.http2 != nil && !upgrade {
			t = h.http2
		}
		return h.send(t, r)
	}
	w, err := decodeWay(r.URL.Host)
	if err != nil {
		return nil, err
	}
	secure := h.options.TLS.Enabled && !h.options.TLS.excepts(w.address)
	r.URL.Scheme = "http"
	switch {
	case secure:
		r.URL.Scheme = "https"
		w.serverName = to.ServerName
		if upgrade && !h.options.HTTP1Only {
			w.mode += modeHTTP1
		}
	case h.http2 != nil && !upgrade:
		t = h.http2
	}
	if h.options.ProxyProtocol != 0 {
		w.client = to.Client
	}
	if err := h.viaProxy(r, &w, &to, secure || t == h.http2); err != nil {
		return nil, err
	}
	if r.URL.Host = w.encode(); r.Host == "" {
		r.Host = hostFor(w.network, w.address)
	}
	return h.send(t, r)
}

// plainly reports whether requests need nothing beyond their address.
func (h *HTTP) plainly(to *Route) bool {
	return !h.options.TLS.Enabled && h.options.ProxyProtocol == 0 && to.Proxy == nil && (h.proxy == nil || to.Direct)
}

func (h *HTTP) send(t *http.Transport, r *http.Request) (*http.Response, error) {
	var res *http.Response
	var err error
	if r.Header["Upgrade"] != nil {
		res, err = sendUpgrade(t, r)
	} else {
		res, err = t.RoundTrip(r)
	}
	if h.released.Load() {
		// A request makes net/http keep idle connections again; this one's is closed when it becomes idle.
		t.CloseIdleConnections()
	}
	if err == nil && len(res.TransferEncoding) > 0 {
		delete(res.Header, "Content-Length") // it is overridden (RFC 9112 section 6.3); net/http leaves it in the response to a HEAD
	}
	return res, err
}

// hostFor is the Host of a request that has none.
func hostFor(network, address string) string {
	if !isTCP(network) {
		return "localhost"
	}
	return address
}

// viaProxy adds the forward proxy that a request has to use. Other networks than tcp are always dialled directly (HT-10).
func (h *HTTP) viaProxy(r *http.Request, w *way, to *Route, tunnel bool) error {
	u := to.Proxy
	if !isTCP(w.network) || to.Direct {
		return nil
	}
	if u == nil && h.proxy != nil {
		var err error
		about := r
		if strings.HasPrefix(r.URL.Host, hostMark) {
			about = &http.Request{URL: &url.URL{Scheme: r.URL.Scheme, Host: w.address}}
		}
		if u, err = h.proxy(about); err != nil {
			return fmt.Errorf("choosing a forward proxy for %s: %w", w.address, err)
		}
	}
	if u == nil {
		return nil
	}
	if u.Host == "" || proxyPort(u.Scheme) == "" {
		return fmt.Errorf("the URL %q of the forward proxy cannot be used; want http, https, socks5 or socks5h:// and a host", u.Redacted())
	}
	w.proxy = u.String()
	if !tunnel && (u.Scheme == "http" || u.Scheme == "https") {
		w.mode += modeAbsolute
	}
	return nil
}

// absoluteProxy is the Proxy function of the transports: it names the proxies that get requests in absolute form. Their
// connections are pooled by what else they depend on, which stands in the host of their URL.
func absoluteProxy(r *http.Request) (*url.URL, error) {
	if !strings.HasPrefix(r.URL.Host, hostMark) {
		return nil, nil
	}
	w, err := decodeWay(r.URL.Host)
	if err != nil || !w.has(modeAbsolute) {
		return nil, err
	}
	u, err := url.Parse(w.proxy)
	if err != nil {
		return nil, err
	}
	at := way{network: "tcp", address: proxyAddress(u), client: w.client, mode: modeProxy}
	return &url.URL{Scheme: u.Scheme, User: u.User, Host: at.encode()}, nil
}

func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = proxyPort(u.Scheme)
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// proxyPort is the port of a proxy whose URL has none; it is empty for schemes that are not known.
func proxyPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	case "socks5", "socks5h":
		return "1080"
	}
	return ""
}
