package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// HTTP is the source http. It asks its servers when the document is put to use; one that does not answer is a reason to
// refuse the document.
type HTTP struct {
	// Endpoints is URLs whose answers are certificates in PEM.
	Endpoints []string `json:"endpoints"`
	// TLS is how the servers are spoken to. Default: as the system trusts.
	TLS *HTTPClientTLS `json:"tls"`
}

// HTTPClientTLS is the settings of TLS to the servers.
type HTTPClientTLS struct {
	// CA is who may have signed the certificates of the servers. Default: those whom the system trusts.
	CA module.Ref[*Pool] `json:"ca" module:"tls.ca_pool.source" inline:"provider"`
	// InsecureSkipVerify takes any certificate, so that whoever is on the way decides who is trusted. Default: false.
	InsecureSkipVerify bool `json:"insecure_skip_verify"`
	// HandshakeTimeout bounds the TLS handshake. Default: 0, only the bound of the whole request of 30s.
	HandshakeTimeout module.Duration `json:"handshake_timeout" check:"min=0"`
	// ServerName is the name to send and to verify. Default: the host of the URL.
	ServerName string `json:"server_name"`
	// Renegotiation says whether a server may ask for another handshake: never, once or freely. Default: never.
	Renegotiation string `json:"renegotiation"`
}

// Bounds of what the servers may take and send.
const (
	fetchTimeout = 30 * time.Second
	fetchSize    = 4 << 20
)

func compileHTTP(env *module.Env, c *HTTP) (*Pool, error) {
	var problems schema.Problems
	if len(c.Endpoints) == 0 {
		problems = module.Problem("/endpoints", "no URL is given, so nobody would be trusted; give at least one")
	}
	for i, e := range c.Endpoints {
		if u, err := url.Parse(e); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			problems = append(problems, schema.Problem{Pointer: "/endpoints/" + strconv.Itoa(i), Found: e, Message: "this is no URL of a web server; want https:// and a host"})
		}
	}
	f := &fetch{endpoints: c.Endpoints}
	if c.TLS != nil {
		renegotiation, err := ParseRenegotiation(c.TLS.Renegotiation)
		if err != nil {
			problems = append(problems, module.Problem("/tls/renegotiation", err.Error())...)
		}
		f.ca = c.TLS.CA.Value()
		f.tls = tls.Config{ServerName: c.TLS.ServerName, InsecureSkipVerify: c.TLS.InsecureSkipVerify, Renegotiation: renegotiation} //nolint:gosec // as configured
		f.handshake = time.Duration(c.TLS.HandshakeTimeout)
		if c.TLS.InsecureSkipVerify {
			env.Warn("/tls/insecure_skip_verify", "whoever is between sluice and the servers decides which certificates are trusted")
		}
	}
	if err := asError(problems); err != nil {
		return nil, err
	}
	p := &Pool{}
	env.Own(module.Acquired(func() error { return f.into(p) }, func() {}))
	return p, nil
}

// ParseRenegotiation reads never, once or freely; an empty text is never.
func ParseRenegotiation(text string) (tls.RenegotiationSupport, error) {
	switch text {
	case "", "never":
		return tls.RenegotiateNever, nil
	case "once":
		return tls.RenegotiateOnceAsClient, nil
	case "freely":
		return tls.RenegotiateFreelyAsClient, nil
	}
	return 0, fmt.Errorf("renegotiation %q is unknown; it is never, once or freely", text)
}

// fetch gets certificates from web servers.
type fetch struct {
	endpoints []string
	ca        *Pool // nil for the system's
	tls       tls.Config
	handshake time.Duration
}

func (f *fetch) into(p *Pool) error {
	config := f.tls.Clone()
	if f.ca != nil {
		config.RootCAs = f.ca.CertPool()
	}
	t := &http.Transport{TLSClientConfig: config, TLSHandshakeTimeout: f.handshake, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer t.CloseIdleConnections()
	client := http.Client{Transport: t, Timeout: fetchTimeout}
	p.certificates = nil
	for _, e := range f.endpoints {
		list, err := get(&client, e)
		if err != nil {
			return fmt.Errorf("fetching certificate authorities from %s: %w", e, err)
		}
		p.certificates = append(p.certificates, list...)
	}
	return nil
}

func get(client *http.Client, endpoint string) ([]*x509.Certificate, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(r)
	if err != nil {
		var outer *url.Error // whose text repeats the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, fetchSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(text) > fetchSize {
		return nil, fmt.Errorf("the answer is larger than %d bytes", fetchSize)
	}
	return ParsePEM(text)
}
