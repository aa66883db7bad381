package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// atOnce is how many requests a client of the case tls has open on a connection
// that can carry several.
const atOnce = 8

// requestsH1 sends one request after the other on a connection.
func requestsH1(c *secureClient) (func() (int, error), func()) {
	config := c.config("http/1.1")
	dialer := &tls.Dialer{Config: config}
	client := newClient(c.addr, 20*time.Second)
	request := get("/", secureHost)
	return func() (int, error) {
		if client.conn == nil {
			conn, err := dialer.Dial("tcp", c.addr)
			if err != nil {
				return 0, err
			}
			client.use(conn)
		}
		return 1, client.expect(request, greeting)
	}, client.close
}

// requestsH2 keeps some requests open on a connection of HTTP/2.
func requestsH2(c *secureClient) (func() (int, error), func()) {
	config := c.config("h2")
	t := &http2.Transport{TLSClientConfig: config, DialTLSContext: func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, c.addr)
	}}
	return several(t), t.CloseIdleConnections
}

// requestsH3 does it on a connection of HTTP/3.
func requestsH3(c *secureClient) (func() (int, error), func()) {
	t := &http3.Transport{TLSClientConfig: c.config("h3"), Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
		return quic.DialAddr(ctx, c.addr, tlsConfig, config)
	}}
	return several(t), func() { _ = t.Close() }
}

// several sends requests at a time and waits for all of them. The first is
// alone, so that the others find its connection.
func several(t http.RoundTripper) func() (int, error) {
	n := 1
	return func() (int, error) {
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = ask(t) })
		}
		wg.Wait()
		done := n
		n = atOnce
		return done, errors.Join(errs...)
	}
}

// ask sends one request and checks the answer.
func ask(t http.RoundTripper) error {
	req, err := http.NewRequest("GET", "https://"+secureHost+"/", nil)
	if err != nil {
		return err
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != 200 || string(body) != greeting) {
		err = fmt.Errorf("answer %d %.200q", res.StatusCode, body)
	}
	return err
}
