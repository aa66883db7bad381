package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
)

// TLSOptions are the settings of TLS to upstreams. The zero value is clear text.
type TLSOptions struct {
	// Enabled speaks TLS.
	Enabled bool
	// Roots is who may have signed the upstream's certificate; nil is those that the system trusts. RootsKey stands for them:
	// it is equal for equal roots.
	Roots    *x509.CertPool
	RootsKey string
	// Certificate is shown to upstreams that ask for one. CertificateKey stands for it.
	Certificate    *tls.Certificate
	CertificateKey string
	// Managed is the name of a certificate of Certificates that is shown instead: the one that is there when a connection is made.
	Managed      string
	Certificates ClientCertificates
	// Insecure takes any certificate.
	Insecure bool
	// HandshakeTimeout bounds the handshake; 0 is no bound.
	HandshakeTimeout time.Duration
	// ServerName is sent and verified instead of the upstream's host.
	ServerName string
	// Renegotiation says whether the upstream may ask for another handshake, in TLS 1.2 and below.
	Renegotiation tls.RenegotiationSupport
	// Curves are the key exchanges to offer, the first that are not 0; without any it is Go's choice.
	Curves [8]tls.CurveID
	// ExceptPorts are ports, separated by commas, that are spoken to in clear text all the same.
	ExceptPorts string
}

// ClientCertificates is the certificates that the process manages, for those that are shown to upstreams. It is a service, and
// safe for concurrent use.
type ClientCertificates interface {
	// Need has the certificate of a name looked after until Unneed was called as often. Neither waits for anything.
	Need(name string)
	Unneed(name string)
	// ClientCertificate returns the present certificate of a name, for a server that asks for one and accepts it.
	ClientCertificate(name string, info *tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// excepts reports whether an address is spoken to in clear text.
func (o *TLSOptions) excepts(address string) bool {
	if o.ExceptPorts == "" {
		return false
	}
	_, port, err := net.SplitHostPort(address)
	return err == nil && slices.Contains(strings.Split(o.ExceptPorts, ","), port)
}

// meaning returns options that are equal where the connections that they make are alike.
func (o HTTPOptions) meaning() HTTPOptions {
	o.TLS.Roots, o.TLS.Certificate, o.TLS.Certificates = nil, nil, nil
	if !o.TLS.Enabled {
		o.TLS, o.HTTP1Only = TLSOptions{}, false
		o.HTTP2Only = o.HTTP2Only && o.H2C
	}
	return o
}

// base returns the part of a TLS config that is the same for all connections, nil without TLS.
func (o *TLSOptions) base() *tls.Config {
	if !o.Enabled {
		return nil
	}
	c := &tls.Config{RootCAs: o.Roots, ServerName: o.ServerName, InsecureSkipVerify: o.Insecure, Renegotiation: o.Renegotiation} //nolint:gosec // as configured
	if name, from := o.Managed, o.Certificates; name != "" {
		c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return from.ClientCertificate(name, info)
		}
	} else if o.Certificate != nil {
		certificate := o.Certificate
		// Not by the list of certificates, of which net/http would only show those that the server's list of authorities names.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	for _, id := range o.Curves {
		if id != 0 {
			c.CurvePreferences = append(c.CurvePreferences, id)
		}
	}
	return c
}

// Protocols of the negotiation in the handshake (RFC 7301).
const (
	protoHTTP2 = "h2"
	protoHTTP1 = "http/1.1"
)

// secure makes the handshake on a connection to an upstream, or to a forward proxy, and returns the connection to use.
// What speaks HTTP/2 is a *tls.Conn, as net/http wants it.
func (d *dialer) secure(ctx context.Context, conn net.Conn, w *way) (net.Conn, error) {
	c, err := d.tlsConfig(w)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if d.handshake > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.handshake)
		defer cancel()
	}
	gate := &gateConn{Conn: conn}
	over := tls.Client(gate, c)
	if err := over.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &HandshakeError{Address: w.address, Err: err}
	}
	if over.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		return over, nil
	}
	g := newGuard(over)
	g.gate = gate
	return g, nil
}

func (d *dialer) tlsConfig(w *way) (*tls.Config, error) {
	host := ""
	if isTCP(w.network) {
		host, _, _ = net.SplitHostPort(w.address)
		host, _, _ = strings.Cut(host, "%") // an IPv6 zone is not part of a name
		host = strings.TrimSuffix(host, ".")
	}
	if w.has(modeProxy) || d.tls == nil {
		return &tls.Config{ServerName: host, NextProtos: []string{protoHTTP1}}, nil
	}
	c := d.tls.Clone()
	if w.serverName != "" {
		c.ServerName = w.serverName
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if c.ServerName == "" && !c.InsecureSkipVerify {
		return nil, errors.New("TLS over a unix socket needs a server_name to verify")
	}
	c.NextProtos = []string{protoHTTP2, protoHTTP1}
	if d.http1Only || w.has(modeHTTP1) {
		c.NextProtos = c.NextProtos[1:]
	}
	return c, nil
}
