// Package managers is the modules tls.get_certificate.*: who is asked for a certificate in a handshake for which there is
// none.
package managers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "tls.get_certificate"
	InlineKey = "via"
)

// Bounds of an answer: time and size.
const (
	timeout = 30 * time.Second
	maxSize = 1 << 20
)

// Specs describes the modules.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".http", "Asks a web server for the certificate of a handshake.", nil, compileHTTP,
			module.Examples(module.Example{Title: "Ask a local program.", JSON: `{"via":"http","url":"http://127.0.0.1:5556/certificate"}`}),
			module.Words(httpWords)),
		module.New(Namespace+".tailscale", "Asks the local Tailscale for the certificates of its names.", nil,
			func(*module.Env, *TailscaleConfig) (certmagic.Manager, error) { return NewTailscale(""), nil },
			module.Words(tailscaleWords)),
	}
}

// httpWords reads the URL.
func httpWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	c := &HTTPConfig{URL: d.Val()}
	return c, nothingElse(d)
}

func tailscaleWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	return &TailscaleConfig{}, nothingElse(d)
}

// nothingElse refuses further arguments and lines of a block.
func nothingElse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return (&caddyfile.Options[struct{}]{}).Parse(d, &struct{}{})
}

// HTTPConfig asks a web server. It gets a GET request with the parameters server_name, signature_schemes and cipher_suites
// (numbers in hexadecimal, separated by commas) and local_ip. Its answer is 200 with a certificate, what leads to its root, and the
// private key, in PEM; or 204 if it has none for this name.
type HTTPConfig struct {
	// URL is whom to ask. Placeholders {env.*}, {file.*} and {system.*} are expanded. Anybody who can answer in its place can
	// be the site, so it should be near, or https.
	URL string `json:"url"`
}

func compileHTTP(env *module.Env, c *HTTPConfig) (certmagic.Manager, error) {
	text, err := env.ExpandStrict(c.URL)
	if err != nil {
		return nil, module.Problem("/url", err.Error())
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, module.Problem("/url", fmt.Sprintf("%q is no URL of a web server; want http:// or https:// and a host", c.URL))
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return &HTTP{url: u, client: &http.Client{Transport: t, Timeout: timeout}}, nil
}

// HTTP asks a web server.
type HTTP struct {
	url    *url.URL
	client *http.Client
}

// GetCertificate implements certmagic.Manager.
func (m *HTTP) GetCertificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	u := *m.url
	query := u.Query()
	query.Set("server_name", hello.ServerName)
	query.Set("signature_schemes", hex(hello.SignatureSchemes))
	query.Set("cipher_suites", hex(hello.CipherSuites))
	if hello.Conn != nil {
		if host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String()); err == nil {
			query.Set("local_ip", host)
		}
	}
	u.RawQuery = query.Encode()
	status, body, err := get(ctx, m.client, u.String())
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking %s for a certificate: %w", m.url.Host, err)
	case status == http.StatusNoContent:
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("asking %s for a certificate: it answered %d", m.url.Host, status)
	}
	c, err := loaders.ParseBundle(body)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", m.url.Host, err)
	}
	return &c, nil
}

func hex[T ~uint16](list []T) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(v), 16))
	}
	return b.String()
}

func get(ctx context.Context, client *http.Client, target string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(r)
	if err != nil {
		var outer *url.Error // whose text repeats the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSize+1))
	if err == nil && len(body) > maxSize {
		err = fmt.Errorf("the answer is larger than %d bytes", maxSize)
	}
	return res.StatusCode, body, err
}

// TailscaleConfig asks the local Tailscale, which has certificates for names that end in .ts.net. It has no settings.
type TailscaleConfig struct{}

// Tailscale asks the local Tailscale.
type Tailscale struct{ client *http.Client }

// Suffix is how the names of Tailscale end.
const Suffix = ".ts.net"

// NewTailscale returns a manager that asks at a unix socket, by default where Tailscale has it.
func NewTailscale(socket string) *Tailscale {
	if socket == "" {
		socket = "/var/run/tailscale/tailscaled.sock"
	}
	dialer := &net.Dialer{Timeout: timeout}
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		// The daemon tells requests of programs from those that a browser was led to make by this host name.
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}
	return &Tailscale{&http.Client{Transport: t, Timeout: 2 * timeout}}
}

// GetCertificate implements certmagic.Manager. It has nothing to say about names that are not Tailscale's.
func (m *Tailscale) GetCertificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if !strings.HasSuffix(name, Suffix) {
		return nil, nil
	}
	status, body, err := get(ctx, m.client, "http://local-tailscaled.sock/localapi/v0/cert/"+url.PathEscape(name)+"?type=pair")
	if err != nil {
		return nil, fmt.Errorf("asking Tailscale for the certificate of %s: %w", name, err)
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("asking Tailscale for the certificate of %s: it answered %d", name, status)
	}
	c, err := loaders.ParseBundle(body)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s from Tailscale: %w", name, err)
	}
	return &c, nil
}
