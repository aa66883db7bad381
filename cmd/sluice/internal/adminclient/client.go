// Package adminclient talks to the admin API of a running instance.
package adminclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// DefaultAddress is the admin address of documents that name none: SLUICE_ADMIN,
// else CADDY_ADMIN. A variable that is set but empty counts as given, and means
// the built-in default.
func DefaultAddress(lookup func(string) (string, bool)) string {
	for _, key := range []string{"SLUICE_ADMIN", "CADDY_ADMIN"} {
		if v, ok := lookup(key); ok {
			if v == "" {
				break
			}
			return v
		}
	}
	return admin.DefaultAddress
}

// Address finds the admin endpoint of a running instance (cli, section 1 rule
// 6): the flag --address, else what the document says, which may be nil, else
// the default.
func Address(flag string, root *config.Node, byDefault string) (netaddr.Addr, error) {
	text := flag
	if text == "" {
		text = root.Get("admin").Get("listen").Str()
	}
	if text == "" {
		text = byDefault
	}
	a, err := netaddr.ParseDefault(text, "tcp", 2019)
	switch {
	case err != nil:
		return a, fmt.Errorf("parsing the admin address: %w", err)
	case a.Count() != 1:
		return a, fmt.Errorf("the admin address must be one address, not a range: %s", a)
	case a.IsFD():
		return a, fmt.Errorf("the admin endpoint at %s was inherited by the running process and has no address; give one with --address", a)
	}
	return a, nil
}

// Client talks to one instance.
type Client struct {
	// Address is that of the admin endpoint.
	Address netaddr.Addr
	token   string
	http    *http.Client
}

// New makes a client. It sends the token in SLUICE_TOKEN, if there is one.
func New(a netaddr.Addr) *Client {
	c := &Client{Address: a, token: os.Getenv("SLUICE_TOKEN")}
	c.http = &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, a.Network, a.JoinHostPort(0))
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 30

// StatusError is an answer that says no.
type StatusError struct {
	Status int
	Body   string
}

// Error names the status and the body.
func (e *StatusError) Error() string {
	return fmt.Sprintf("sluice responded with error: HTTP %d: %s", e.Status, strings.TrimSpace(e.Body))
}

// Do sends a request and returns the body and the header of the answer. The
// body is JSON if the header does not say otherwise. A status of 400 or more is
// a *StatusError.
func (c *Client) Do(method, path string, header http.Header, body []byte) ([]byte, http.Header, error) {
	host := "127.0.0.1"
	if !c.Address.IsUnix() {
		host = c.Address.JoinHostPort(0)
	}
	r, err := http.NewRequest(method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("making a request to the admin endpoint at %s: %w", c.Address, err)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	for key, values := range header {
		r.Header[key] = values
	}
	if !c.Address.IsUnix() {
		r.Header.Set("Origin", "http://"+host)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, nil, fmt.Errorf("sending a request to the running instance: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer of the running instance: %w", err)
	}
	if resp.StatusCode >= 400 {
		return nil, nil, &StatusError{resp.StatusCode, string(text)}
	}
	return text, resp.Header, nil
}

// NobodyThere reports whether an error says that no instance listens.
func NobodyThere(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
