package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Dialer makes QUIC connections. Its fields are not changed once it is in use. Safe for concurrent use.
type Dialer struct {
	// Net is what sockets are opened with: its Resolver finds names, its Timeout bounds the time until the upstream is heard of
	// for the first time, its FallbackDelay is that between attempts at the addresses of a name, negative for one after the
	// other.
	Net *net.Dialer
	// Open opens a socket; it is told a network of udp, udp4 and udp6, and an address with an IP.
	Open func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)
	// HandshakeTimeout bounds the handshake with an upstream that is there; 0 leaves it to QUIC.
	HandshakeTimeout time.Duration
	// Probe is the time between packets that keep a connection open on which nothing happens; 0 is 30 seconds, negative is
	// none, and then the connection is not given up for silence either.
	Probe time.Duration
}

// Times of connections.
const (
	defaultProbe    = 30 * time.Second
	silence         = 30 * time.Second // after which a connection is given up
	unprobedSilence = 15 * time.Minute // as much where nothing is sent to be answered; TCP gives up after as long
	handshakeTime   = 10 * time.Second
	fallbackDelay   = 300 * time.Millisecond
)

// Bounds of what an upstream decides.
const (
	maxAddresses   = 8  // of a name, that are tried
	maxPeerStreams = 16 // that it may open: HTTP/3 needs three
)

var (
	errSilent    error = timeoutError("the upstream did not answer in time")
	errHandshake error = timeoutError("the handshake took too long")
)

type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// RefusedError is an upstream that is there and does not come to terms: over its certificate or ours, the version of QUIC,
// or that it speaks no HTTP/3.
type RefusedError struct{ Err error }

// Error implements error.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// Dial makes a connection to host:port, with the handshake. The network is udp, udp4 or udp6. c says all about TLS but the
// protocol. An error that is no [*RefusedError] says that nobody was reached.
func (d *Dialer) Dial(ctx context.Context, network, address string, c *tls.Config) (*quic.Conn, error) {
	c = c.Clone()
	c.NextProtos, c.MinVersion, c.MaxVersion = []string{http3.NextProtoH3}, tls.VersionTLS13, 0
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &attempt{dialer: d, network: network, tls: c, cancel: cancel}
	if d.Net.Timeout > 0 {
		defer time.AfterFunc(d.Net.Timeout, a.late).Stop()
	}
	list, err := d.lookup(ctx, network, address)
	if err != nil {
		return nil, cause(ctx, err)
	}
	if d.HandshakeTimeout > 0 {
		defer a.limit(d.HandshakeTimeout)()
	}
	conn, err := a.race(ctx, list)
	if err != nil {
		return nil, cause(ctx, err)
	}
	return conn, nil
}

// cause prefers the reason for which a context has ended.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lookup returns the addresses of an upstream, in the order in which they are to be tried.
func (d *Dialer) lookup(ctx context.Context, network, address string) ([]string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	resolver := d.Net.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	port, err := resolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return []string{net.JoinHostPort(host, strconv.Itoa(port))}, nil
	}
	found, err := resolver.LookupNetIP(ctx, "ip"+strings.TrimPrefix(network, "udp"), host)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, ip := range found[:min(len(found), maxAddresses)] {
		list = append(list, netip.AddrPortFrom(ip.Unmap(), uint16(port)).String())
	}
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no suitable address", Name: host, IsNotFound: true}
	}
	return list, nil
}

// open makes a connection to one address.
func (a *attempt) open(ctx context.Context, address string) (*quic.Conn, error) {
	raw, err := a.dialer.Open(ctx, a.dialer.Net, a.network, address)
	if err != nil {
		return nil, err
	}
	over, ok := raw.(*net.UDPConn)
	if !ok {
		raw.Close()
		return nil, fmt.Errorf("QUIC needs a UDP socket and not a %T", raw)
	}
	s := newSocket(over)
	a.add(s)
	conn, err := quic.Dial(ctx, s, over.RemoteAddr(), a.tls, a.dialer.config())
	if err != nil {
		over.Close()
		return nil, explain(err, over.RemoteAddr(), s.heard.Load())
	}
	context.AfterFunc(conn.Context(), func() { over.Close() })
	return conn, nil
}

func (d *Dialer) config() *quic.Config {
	c := &quic.Config{
		Versions: []quic.Version{quic.Version1}, MaxIncomingStreams: -1, MaxIncomingUniStreams: maxPeerStreams,
		HandshakeIdleTimeout: max(handshakeTime, d.Net.Timeout, d.HandshakeTimeout), MaxIdleTimeout: silence, KeepAlivePeriod: d.Probe,
	}
	switch {
	case d.Probe < 0:
		c.KeepAlivePeriod, c.MaxIdleTimeout = 0, unprobedSilence
	case d.Probe == 0:
		c.KeepAlivePeriod = defaultProbe
	default:
		c.MaxIdleTimeout = max(silence, 2*d.Probe)
	}
	return c
}

// explain tells upstreams that do not come to terms from those that are not there.
func explain(err error, to net.Addr, heard bool) error {
	var transport *quic.TransportError
	var application *quic.ApplicationError
	var version *quic.VersionNegotiationError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &net.OpError{Op: "dial", Net: to.Network(), Addr: to, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case errors.As(err, &transport) && transport.ErrorCode == quic.ConnectionRefused:
		return err
	case errors.As(err, &transport), errors.As(err, &application), errors.As(err, &version):
		return &RefusedError{err}
	case heard && errors.As(err, &timeout) && timeout.Timeout():
		return &RefusedError{err}
	}
	return err
}
