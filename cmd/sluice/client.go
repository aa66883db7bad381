package main

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

// defaultAdmin is the admin address of documents that name none: SLUICE_ADMIN,
// else CADDY_ADMIN. A variable that is set but empty counts as given, and means
// the built-in default.
func defaultAdmin(lookup func(string) (string, bool)) string {
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

// adminAddress finds the admin endpoint of a running instance (cli, section 1
// rule 6): the flag, else what the document says, else the default.
func (p *program) adminAddress(flag string, root *config.Node) (netaddr.Addr, error) {
	text := flag
	if text == "" {
		text = root.Get("admin").Get("listen").Str()
	}
	if text == "" {
		text = p.defaultAdmin
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

// client talks to the admin API of a running instance.
type client struct {
	address netaddr.Addr
	token   string
	http    *http.Client
}

func newClient(a netaddr.Addr) *client {
	c := &client{address: a, token: os.Getenv("SLUICE_TOKEN")}
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

// errStatus is an answer that says no.
type errStatus struct {
	status int
	body   string
}

// Error names the status and the body.
func (e *errStatus) Error() string {
	return fmt.Sprintf("%s responded with error: HTTP %d: %s", name, e.status, strings.TrimSpace(e.body))
}

// do sends a request and returns the body of the answer. A status of 400 or
// more is an *errStatus.
func (c *client) do(method, path string, header http.Header, body []byte) ([]byte, http.Header, error) {
	host := "127.0.0.1"
	if !c.address.IsUnix() {
		host = c.address.JoinHostPort(0)
	}
	r, err := http.NewRequest(method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("making a request to the admin endpoint at %s: %w", c.address, err)
	}
	for key, values := range header {
		r.Header[key] = values
	}
	if !c.address.IsUnix() {
		r.Header.Set("Origin", "http://"+host)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
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
		return nil, nil, &errStatus{resp.StatusCode, string(text)}
	}
	return text, resp.Header, nil
}

// nobodyThere reports whether an error says that no instance listens.
func nobodyThere(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
