package configloader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/trust"
)

// The tries of one load (section 15 of the admin API reference).
const (
	tries      = 10
	tryAgainIn = 500 * time.Millisecond
)

// Bounds of what a server may do.
const (
	maxRedirects   = 10
	maxHeaderBytes = 64 << 10
	handshakeTime  = 10 * time.Second
	maxPEM         = 4 << 20
)

// httpLoader is the compiled loader http.
type httpLoader struct {
	globals     vars.Scope
	method, url vars.Text
	header      []field
	source      string
	timeout     time.Duration
	contentType string // "" for that of the answer
	tls         TLS
	readFile    func(string) ([]byte, error)
	// dial replaces the network in tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Source implements Loader.
func (l *httpLoader) Source() string { return l.source }

// NeedsIdentity implements Loader.
func (l *httpLoader) NeedsIdentity() bool { return l.tls.UseServerIdentity }

// Load implements Loader.
func (l *httpLoader) Load(ctx context.Context, c Call) (Text, error) {
	var last error
	for try := range tries {
		if try > 0 && !sleep(ctx, tryAgainIn) {
			return Text{}, context.Cause(ctx)
		}
		text, err := l.try(ctx, c)
		if err == nil {
			return text, nil
		}
		var final *finalError
		switch {
		case ctx.Err() != nil:
			return Text{}, context.Cause(ctx)
		case errors.As(err, &final):
			return Text{}, final.error
		}
		last = err
	}
	return Text{}, fmt.Errorf("after %d tries: %w", tries, last)
}

// finalError is one that another try would not change.
type finalError struct{ error }

// try asks the server once.
func (l *httpLoader) try(ctx context.Context, c Call) (Text, error) {
	request, err := l.request()
	if err != nil {
		return Text{}, &finalError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	transport, err := l.transport(ctx, c.Identity)
	if err != nil {
		return Text{}, err
	}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: l.redirect}
	res, err := client.Do(request.WithContext(ctx))
	if err != nil {
		return Text{}, l.plain(err)
	}
	defer res.Body.Close()
	if code := res.StatusCode; code < 200 || code > 499 {
		return Text{}, fmt.Errorf("server responded with HTTP %d", code)
	} else if code > 299 {
		return Text{}, &finalError{fmt.Errorf("server responded with HTTP %d", code)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, c.Limit+1))
	if err != nil {
		return Text{}, fmt.Errorf("reading the answer: %w", l.plain(err))
	}
	if int64(len(body)) > c.Limit {
		return Text{}, &finalError{fmt.Errorf("the answer is longer than the limit of %d bytes", c.Limit)}
	}
	text := Text{ContentType: l.contentType, Body: body}
	if text.ContentType == "" {
		text.ContentType = res.Header.Get("Content-Type")
	}
	return text, nil
}

// request makes the request, with what its placeholders stand for now.
func (l *httpLoader) request() (*http.Request, error) {
	method, err := l.readMethod()
	if err != nil {
		return nil, err
	}
	u, err := l.readURL()
	if err != nil {
		return nil, err
	}
	r := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{"User-Agent": {"sluice"}}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	for _, f := range l.header {
		name, values, err := f.read(l.globals)
		if err != nil {
			return nil, err
		}
		if name == "Host" && len(values) > 0 {
			r.Host = values[0]
			continue
		}
		r.Header[name] = values
	}
	return r, nil
}

// redirect is the rules for following a redirection: the header that the
// document gives is for no other server than the one that it names, and TLS is
// not given up.
func (l *httpLoader) redirect(r *http.Request, before []*http.Request) error {
	first := before[0]
	switch {
	case len(before) >= maxRedirects:
		return &finalError{fmt.Errorf("the server redirects more than %d times", maxRedirects)}
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return &finalError{errors.New("the server redirects to something that is no web server")}
	case before[len(before)-1].URL.Scheme == "https" && r.URL.Scheme == "http":
		return &finalError{errors.New("the server redirects from https to http")}
	}
	if r.URL.Host == first.URL.Host {
		return nil
	}
	for name := range first.Header {
		if name != "User-Agent" {
			delete(r.Header, name)
		}
	}
	delete(r.Header, "Referer")
	return nil
}

// plain takes out of an error what repeats the URL.
func (l *httpLoader) plain(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the server did not answer within %s", l.timeout)
	}
	return err
}

// transport makes the connections of one try. What it shows and trusts may have
// been renewed since the last one.
func (l *httpLoader) transport(ctx context.Context, identity Identity) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.tls.UseServerIdentity {
		if identity == nil {
			return nil, errors.New("this instance has no identity to show to the server")
		}
		certificate, err := identity.ClientCertificate(ctx)
		if err != nil {
			return nil, fmt.Errorf("the certificate of this instance, to show to the server: %w", err)
		}
		config.Certificates = []tls.Certificate{*certificate}
	}
	if l.tls.ClientCertificateFile != "" {
		pair, err := l.tls.keyPair(l.readFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if len(l.tls.RootCAPEMFiles) > 0 {
		config.RootCAs = x509.NewCertPool()
		for _, name := range l.tls.RootCAPEMFiles {
			list, err := authorities(l.readFile, name)
			if err != nil {
				return nil, err
			}
			for _, c := range list {
				config.RootCAs.AddCert(c)
			}
		}
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: l.dial, TLSClientConfig: config, TLSHandshakeTimeout: handshakeTime,
		MaxResponseHeaderBytes: maxHeaderBytes, ForceAttemptHTTP2: true,
	}, nil
}

// keyPair reads the client certificate.
func (c *TLS) keyPair(read func(string) ([]byte, error)) (tls.Certificate, error) {
	cert, err := read(c.ClientCertificateFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the client certificate: %w", err)
	}
	key, err := read(c.ClientCertificateKeyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the key of the client certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("the client certificate of %s with the key of %s: %w", c.ClientCertificateFile, c.ClientCertificateKeyFile, err)
	}
	return pair, nil
}

func authorities(read func(string) ([]byte, error), name string) ([]*x509.Certificate, error) {
	text, err := read(name)
	if err != nil {
		return nil, fmt.Errorf("certificate authorities of %s: %w", name, err)
	}
	list, err := trust.ParsePEM(text)
	if err != nil {
		return nil, fmt.Errorf("certificate authorities of %s: %w", name, err)
	}
	return list, nil
}

// readFile reads a file of certificates or a key.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(text) > maxPEM {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxPEM)
	}
	return text, err
}

// sleep waits; it is false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var _ Loader = (*httpLoader)(nil)
