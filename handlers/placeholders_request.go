package handlers

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// findRequest resolves {http.request.NAME}.
func (x *Exchange) findRequest(name string) found {
	r := x.request
	switch name {
	case "method":
		return textOf(r.Method)
	case "scheme":
		if r.TLS != nil {
			return textOf("https")
		}
		return textOf("http")
	case "hostport":
		return textOf(r.Host)
	case "port":
		return findPort(r.Host)
	case "proto":
		return textOf(r.Proto)
	case "proto_name":
		return textOf(protoName(r.Proto))
	}
	if f := x.findExchange(r, name); f.known() {
		return f
	}
	family, rest, dotted := strings.Cut(name, ".")
	switch {
	case strings.HasPrefix(family, "host"):
		return findHost(r.Host, name)
	case strings.HasPrefix(family, "remote"):
		return findRemote(r, name)
	case family == "local":
		return findLocal(r, name)
	case !dotted:
		return found{}
	}
	switch family {
	case "uri":
		return findURI(r.URL, rest)
	case "orig_uri":
		return findOriginal(&x.Original.URL, rest)
	case "header":
		return textOf(headerText(r.Header, rest))
	case "cookie":
		return findCookie(r.Header["Cookie"], rest)
	case "tls":
		return findTLS(r.TLS, rest)
	}
	return found{}
}

// findExchange resolves the plain names that are made rather than read.
func (x *Exchange) findExchange(r *http.Request, name string) found {
	switch name {
	case "uri":
		return textOf(requestURI(r))
	case "uri_escaped":
		return textOf(url.QueryEscape(requestURI(r)))
	case "body":
		return x.findBody(false)
	case "body_base64":
		return x.findBody(true)
	case "uuid":
		return textOf(x.uuid())
	case "duration":
		return valueOf(time.Since(x.Start))
	case "duration_ms":
		return valueOf(float64(time.Since(x.Start)) / float64(time.Millisecond))
	case "orig_method":
		return textOf(x.Original.Method)
	case "orig_uri":
		return textOf(x.Original.RequestURI)
	}
	return found{}
}

func protoName(proto string) string {
	switch proto {
	case "HTTP/2.0":
		return "HTTP/2"
	case "HTTP/3.0":
		return "HTTP/3"
	}
	return proto
}

// uuid makes the request's UUID (RFC 9562, version 4) at its first use.
func (x *Exchange) uuid() string {
	if id, ok := x.Var("uuid").(string); ok {
		return id
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var t [36]byte
	hex.Encode(t[0:8], b[0:4])
	hex.Encode(t[9:13], b[4:6])
	hex.Encode(t[14:18], b[6:8])
	hex.Encode(t[19:23], b[8:10])
	hex.Encode(t[24:36], b[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	id := string(t[:])
	x.SetVar("uuid", id)
	x.AddLogField(zap.String("uuid", id))
	return id
}

func (x *Exchange) findBody(encode bool) found {
	body, ok := bufferBody(x.request)
	switch {
	case !ok:
		return valueOf(nil)
	case encode:
		return textOf(base64.StdEncoding.EncodeToString([]byte(body)))
	}
	return textOf(body)
}

// findHost resolves "host" and "host.labels.N".
func findHost(hostport, name string) found {
	host, _, ok := splitHostPort(hostport)
	if !ok {
		host = hostport
	}
	if name == "host" {
		return textOf(host)
	}
	n, ok := strings.CutPrefix(name, "host.labels.")
	if !ok {
		return found{}
	}
	i, ok := index(n)
	if !ok {
		return found{}
	}
	for ; i > 0; i-- {
		dot := strings.LastIndexByte(host, '.')
		if dot < 0 {
			return textOf("")
		}
		host = host[:dot]
	}
	return textOf(strings.ToLower(host[strings.LastIndexByte(host, '.')+1:]))
}

// findPort resolves a port: a number if it is one.
func findPort(hostport string) found {
	_, port, _ := splitHostPort(hostport)
	if n, err := strconv.ParseUint(port, 10, 31); err == nil && (port == "0" || port[0] != '0') {
		return found{text: port, number: int(n), state: isNumber}
	}
	return textOf(port)
}

// findRemote resolves the names that begin with "remote".
func findRemote(r *http.Request, name string) found {
	early := r.TLS != nil && !r.TLS.HandshakeComplete
	host, _, ok := splitHostPort(r.RemoteAddr)
	if !ok {
		host = r.RemoteAddr
	}
	switch name {
	case "remote":
		if early {
			return valueOf(nil)
		}
		return textOf(r.RemoteAddr)
	case "remote.host":
		if early {
			return valueOf(nil)
		}
		return textOf(host)
	case "remote.port":
		return findPort(r.RemoteAddr)
	}
	bits, ok := strings.CutPrefix(name, "remote.host/")
	switch {
	case !ok:
		return found{}
	case early:
		return valueOf(nil)
	}
	return textOf(addressPrefix(host, bits))
}

// addressPrefix masks an address to "B" bits, or "B4,B6" by its family.
func addressPrefix(host, bits string) string {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if v4, v6, two := strings.Cut(bits, ","); two {
		bits = v4
		if ip.Is6() {
			bits = v6
		}
	}
	n, err := strconv.Atoi(bits)
	if err != nil {
		return ""
	}
	prefix, err := ip.Prefix(n)
	if err != nil {
		return ""
	}
	return prefix.String()
}

func findLocal(r *http.Request, name string) found {
	text := ""
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		text = a.String()
	}
	switch name {
	case "local":
		return textOf(text)
	case "local.host":
		if host, _, ok := splitHostPort(text); ok {
			return textOf(host)
		}
		return textOf(text)
	case "local.port":
		return findPort(text)
	}
	return found{}
}

// findCookie returns the first valid cookie of the name, in whatever case. A
// cookie that is missing is an unknown name.
func findCookie(lines []string, name string) found {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			key, value, _ := strings.Cut(strings.Trim(pair, " \t\r\n"), "=")
			if key = strings.Trim(key, " \t\r\n"); key == "" || !strings.EqualFold(key, name) || !isToken(key) {
				continue
			}
			if value, ok := cookieValue(value); ok {
				return textOf(value)
			}
		}
	}
	return found{}
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// cookieValue takes off the quotes and refuses bytes that net/http would.
func cookieValue(v string) (string, bool) {
	if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	for i := range len(v) {
		if c := v[i]; c < 0x20 || c >= 0x7f || c == '"' || c == ';' || c == '\\' {
			return "", false
		}
	}
	return v, true
}

// splitHostPort is net.SplitHostPort without an error to allocate.
func splitHostPort(s string) (host, port string, ok bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return "", "", false
	}
	host, port = s[:colon], s[colon+1:]
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end != len(host)-1 {
			return "", "", false
		}
		host = host[1 : len(host)-1]
	} else if strings.IndexByte(host, ':') >= 0 {
		return "", "", false
	}
	if strings.ContainsAny(host, "[]") || strings.ContainsAny(port, "[]") {
		return "", "", false
	}
	return host, port, true
}

// index reads the number of a list element.
func index(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}
