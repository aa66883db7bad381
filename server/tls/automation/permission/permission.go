// Package permission is the modules tls.permission.*: whether a certificate may be obtained for a name that a client asked
// for.
package permission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "tls.permission"
	InlineKey = "module"
)

// Permission says which names may have a certificate. It is safe for concurrent use.
type Permission interface {
	// Allow returns nil if the name may have a certificate. The name is in ASCII and lower case.
	Allow(ctx context.Context, name string) error
}

// ErrDenied is what Allow's error is when the answer was no, in contrast to none.
var ErrDenied = errors.New("a certificate is not allowed for this name")

// HTTPConfig asks a web server. It gets a GET request for each name, with the name as parameter domain in the query; a status
// of 200 to 299 is a yes, and all else a no. Redirects are not followed.
type HTTPConfig struct {
	// Endpoint is the URL to ask, such as "http://127.0.0.1:5555/allowed". Placeholders {env.*}, {file.*} and {system.*} are
	// expanded. It should answer fast, since a client waits.
	Endpoint string `json:"endpoint"`
}

// Bounds of asking: time, and how many requests are under way at once.
const (
	timeout  = 10 * time.Second
	parallel = 256
	maxDrain = 16 << 10
)

// Spec describes the module http.
func Spec() module.Spec {
	return module.New(Namespace+".http", "Asks a web server whether a name may have a certificate.", nil,
		func(env *module.Env, c *HTTPConfig) (Permission, error) {
			endpoint, err := env.ExpandStrict(c.Endpoint)
			if err == nil {
				var p *HTTP
				if p, err = New(endpoint); err == nil {
					return p, nil
				}
			}
			return nil, module.Problem("/endpoint", err.Error())
		},
		module.Examples(module.Example{Title: "Ask a local program.", JSON: `{"module":"http","endpoint":"http://127.0.0.1:5555/allowed"}`}),
		module.Words(words))
}

// words reads the URL, as the argument or in the block.
func words(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	c := &HTTPConfig{}
	if d.NextArg() {
		c.Endpoint = d.Val()
		if d.NextArg() {
			return nil, d.ArgErr()
		}
	}
	lines := caddyfile.Options[HTTPConfig]{Lines: []caddyfile.Option[HTTPConfig]{
		{Name: "endpoint", Args: caddyfile.Exactly(1), Set: func(c *HTTPConfig, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			if c.Endpoint != "" {
				return d.Errf("the endpoint is given twice; give one URL")
			}
			c.Endpoint = args[0].Text
			return nil
		}},
	}}
	if err := lines.Parse(d, c); err != nil {
		return nil, err
	}
	if c.Endpoint == "" {
		return nil, d.ArgErr()
	}
	return c, nil
}

// HTTP asks a web server.
type HTTP struct {
	endpoint *url.URL
	client   *http.Client
	slots    chan struct{}
}

// New returns the permission of an endpoint.
func New(endpoint string) (*HTTP, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q is no URL of a web server; want http:// or https:// and a host", endpoint)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.DisableCompression = 16, true
	return &HTTP{
		endpoint: u,
		client: &http.Client{Transport: t, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
		slots: make(chan struct{}, parallel),
	}, nil
}

// Allow asks the endpoint.
func (p *HTTP) Allow(ctx context.Context, name string) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	u := *p.endpoint
	query := u.Query()
	query.Set("domain", name)
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("asking whether %s may have a certificate: %w", name, err)
	}
	res, err := p.client.Do(r)
	if err != nil {
		var outer *url.Error // whose text repeats the URL, which may hold a secret
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return fmt.Errorf("asking %s whether %s may have a certificate: %w", p.endpoint.Host, name, err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain)
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("%s: %s answered %d: %w", name, p.endpoint.Host, res.StatusCode, ErrDenied)
	}
	return nil
}
