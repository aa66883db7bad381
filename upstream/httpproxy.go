package upstream

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// Bounds of the dialogue with a forward proxy.
const (
	tunnelTimeout = time.Minute
	tunnelHeader  = 64 << 10
)

// tunnel asks a forward proxy for a connection to address.
func (d *dialer) tunnel(ctx context.Context, text, address string) (net.Conn, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	at := proxyAddress(u)
	if u.Scheme == "socks5" || u.Scheme == "socks5h" {
		return d.socks(ctx, u, at, address)
	}
	conn, err := d.dial(ctx, d.choose("tcp"), "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("reaching the forward proxy %s: %w", at, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // the connection is lost then
	if u.Scheme == "https" {
		if conn, err = d.secure(ctx, conn, &way{network: "tcp", address: at, mode: modeProxy}); err != nil {
			return nil, err
		}
		if g, ok := conn.(*guardConn); ok {
			conn = g.Conn // the dialogue is not one of requests and responses
		}
	}
	conn, err = connect(conn, u, address)
	if !stop() && err == nil {
		conn.Close()
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("asking the forward proxy %s for %s: %w", at, address, err)
	}
	return conn, nil
}

// connect sends CONNECT (RFC 9110 section 9.3.6). The connection is closed when it fails.
func connect(conn net.Conn, u *url.URL, address string) (net.Conn, error) {
	head := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if u.User != nil {
		password, _ := u.User.Password()
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)) + "\r\n"
	}
	limited := &io.LimitedReader{R: conn, N: tunnelHeader}
	reader := bufio.NewReader(limited)
	_, err := io.WriteString(conn, head+"\r\n")
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	}
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("it answered %s", res.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	if reader.Buffered() == 0 {
		return conn, nil
	}
	ahead, _ := reader.Peek(reader.Buffered())
	return &aheadConn{Conn: conn, ahead: ahead}, nil
}

// aheadConn is a connection of which a part was read ahead.
type aheadConn struct {
	net.Conn
	ahead []byte
}

// Read implements io.Reader.
func (c *aheadConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// socks asks a SOCKS5 proxy (RFC 1928), which resolves names itself.
func (d *dialer) socks(ctx context.Context, u *url.URL, at, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	s, err := proxy.SOCKS5("tcp", at, auth, toProxy{d})
	if err != nil {
		return nil, err
	}
	conn, err := s.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("asking the forward proxy %s for %s: %w", at, address, err)
	}
	return conn, nil
}

// toProxy dials forward proxies.
type toProxy struct{ d *dialer }

// Dial implements proxy.Dialer.
func (t toProxy) Dial(network, address string) (net.Conn, error) {
	return t.DialContext(context.Background(), network, address)
}

// DialContext implements proxy.ContextDialer.
func (t toProxy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return t.d.dial(ctx, t.d.choose(network), network, address)
}
