package upstream

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// HTTPProbe is an HTTP request that finds out whether a host is healthy, and what is expected of the answer. Two values
// that are equal mean the same.
type HTTPProbe struct {
	// Dial is where to connect, a dial text. It may have placeholders that need no request.
	Dial string
	// Port replaces the port of Dial unless it is 0.
	Port int
	// Target is the dial text of the upstream that is meant, for the placeholder of it.
	Target string
	// Method of the request; "" is GET.
	Method string
	// URI is path and query of the request.
	URI string
	// Header is what [EncodeHeader] made of the header. Its values and names may have placeholders that need no request.
	Header string
	// Body of the request; it may have such placeholders as well.
	Body string
	// FollowRedirects asks where a redirect points to, always at the same address; otherwise it is an answer like others.
	FollowRedirects bool
	// ExpectStatus is the status of a healthy answer, or its first digit; 0 is any 2xx.
	ExpectStatus int
	// ExpectBody is a regular expression that a healthy answer's body matches; "" is any body.
	ExpectBody string
	// MaxSize is how many bytes of the body are looked at; 0 is all that come before the time is over. They are not kept.
	MaxSize int64
}

const (
	// maxRedirects bounds the redirects of one probe. A longer chain is a loop.
	maxRedirects = 32
	// drainSize and drainTime bound what is read of a body for no other end than to use its connection again.
	drainSize = 256 << 10
	drainTime = 250 * time.Millisecond
)

// EncodeHeader makes the Header of a probe. Names are put into their canonical form.
func EncodeHeader(h map[string][]string) string {
	type field struct {
		Name   string
		Values []string
	}
	var fields []field
	for name, values := range h {
		fields = append(fields, field{http.CanonicalHeaderKey(name), values})
	}
	if fields == nil {
		return ""
	}
	slices.SortStableFunc(fields, func(a, b field) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.Values, b.Values))
	})
	text, _ := json.Marshal(fields) // texts only
	return string(text)
}

// Validate reports what makes the probe impossible: a method that is none, or an expression or URI that cannot be read.
func (p HTTPProbe) Validate() error {
	_, err := p.prober(nil, nil)
	return err
}

// prober makes what probes with the given transport.
func (p HTTPProbe) prober(via Transport, globals vars.Scope) (*httpProber, error) {
	out := &httpProber{HTTPProbe: p, via: via, dial: vars.Parse(p.Dial), text: vars.Parse(p.Body), globals: globals}
	if p.Method == "" {
		out.Method = http.MethodGet
	}
	if _, err := http.NewRequest(out.Method, "/", nil); err != nil {
		return nil, fmt.Errorf("the method of the health check: %w", err)
	}
	uri, err := url.Parse(p.URI)
	if err != nil {
		return nil, fmt.Errorf("the URI of the health check: %w", err)
	}
	out.uri = &url.URL{Path: uri.Path, RawPath: uri.RawPath, RawQuery: uri.RawQuery, ForceQuery: uri.ForceQuery}
	if !strings.HasPrefix(out.uri.Path, "/") {
		out.uri.Path, out.uri.RawPath = "/"+out.uri.Path, ""
	}
	if p.ExpectBody != "" {
		if out.body, err = regexp.Compile(p.ExpectBody); err != nil {
			return nil, fmt.Errorf("the body that the health check expects: %w", err)
		}
	}
	var fields []struct {
		Name   string
		Values []string
	}
	if p.Header != "" {
		if err := json.Unmarshal([]byte(p.Header), &fields); err != nil {
			return nil, fmt.Errorf("the header of the health check: %w", err)
		}
	}
	for _, f := range fields {
		t := headerText{name: vars.Parse(f.Name)}
		for _, v := range f.Values {
			t.values = append(t.values, vars.Parse(v))
		}
		out.header = append(out.header, t)
	}
	return out, nil
}

// httpProber sends the requests of a probe.
type httpProber struct {
	HTTPProbe
	via     Transport
	dial    vars.Text
	uri     *url.URL
	text    vars.Text // of the body
	header  []headerText
	body    *regexp.Regexp
	globals vars.Scope
}

type headerText struct {
	name   vars.Text
	values []vars.Text
}

// unprobed is a probe that could not be made, through no fault of the host. It says nothing about its health.
type unprobed struct {
	what string
	err  error
}

// Error says what could not be done.
func (e *unprobed) Error() string { return e.what + ": " + e.err.Error() }

// Unwrap returns the reason.
func (e *unprobed) Unwrap() error { return e.err }

// failedProbe is a probe that the host did not pass.
type failedProbe struct {
	what   string // as in the log
	status int    // 0 without an answer
	err    error
}

// Error says what was wrong.
func (e *failedProbe) Error() string {
	switch {
	case e.err != nil:
		return e.what + ": " + e.err.Error()
	case e.status != 0:
		return e.what + ": " + strconv.Itoa(e.status)
	}
	return e.what
}

// Unwrap returns the reason.
func (e *failedProbe) Unwrap() error { return e.err }

// probe makes one request. No error means that the host passed.
func (p *httpProber) probe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	address, err := p.address()
	if err != nil {
		return err
	}
	r, err := p.request(ctx, address)
	if err != nil {
		return &unprobed{"active health check failed", err}
	}
	client := http.Client{Transport: &aimed{p.via, address.URLHost}, CheckRedirect: p.checkRedirect}
	res, err := client.Do(r)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // the rest says what was asked, which is known
		}
		return &failedProbe{what: "HTTP request failed", err: err}
	}
	defer res.Body.Close()
	verdict := p.judge(res)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return verdict // the body is a connection, and has no end
	}
	timer := time.AfterFunc(drainTime, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, p.limit(drainSize))
	return verdict
}

// address is where to connect (HC-4, HC-6).
func (p *httpProber) address() (Address, error) {
	text, ok := p.dial.Literal()
	if !ok {
		expanded, err := p.dial.ExpandStrict(p.globals)
		if err != nil {
			return Address{}, &unprobed{"invalid use of placeholders in dial address for active health checks", err}
		}
		text = expanded
	}
	a, err := ParseDial(text)
	switch {
	case err != nil:
		return Address{}, &unprobed{"bad network address", err}
	case p.Port == 0:
		return a, nil
	case !isTCP(a.Network):
		return Address{}, &unprobed{"bad network address", fmt.Errorf("%s has no port that %d could replace", a, p.Port)}
	}
	a.Port = strconv.Itoa(p.Port)
	a.HostPort = net.JoinHostPort(a.Host, a.Port)
	a.URLHost = encodeHost(a.Network, a.HostPort)
	return a, nil
}

const targetName = "http.reverse_proxy.active.target_upstream"

func (p *httpProber) request(ctx context.Context, a Address) (*http.Request, error) {
	u := *p.uri
	u.Scheme, u.Host = "http", a.HostPort
	if !isTCP(a.Network) {
		u.Host = "localhost"
	}
	var body io.Reader
	if text := p.text.Expand(p.globals, vars.All, ""); text != "" {
		body = strings.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, p.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	values := vars.Chain(vars.Map{targetName: p.Target}, p.globals)
	for _, f := range p.header {
		name := http.CanonicalHeaderKey(f.name.Expand(p.globals, vars.All, ""))
		for _, v := range f.values {
			switch {
			case name == "":
			case name != "Host":
				r.Header[name] = append(r.Header[name], v.Expand(values, vars.Known, ""))
			case r.Host == u.Host:
				r.Host = v.Expand(values, vars.All, "")
			}
		}
	}
	return r, nil
}

func (p *httpProber) checkRedirect(_ *http.Request, before []*http.Request) error {
	if !p.FollowRedirects {
		return http.ErrUseLastResponse
	}
	if len(before) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// judge applies HC-7.
func (p *httpProber) judge(res *http.Response) error {
	switch s := res.StatusCode; {
	case p.ExpectStatus == 0 && s/100 != 2:
		return &failedProbe{what: "status code out of tolerances", status: s}
	case p.ExpectStatus != 0 && !StatusMatches(p.ExpectStatus, s):
		return &failedProbe{what: "unexpected status code", status: s}
	case p.body == nil:
		return nil
	case s == http.StatusSwitchingProtocols:
		return &failedProbe{what: "response body failed expectations"}
	}
	body := &remembering{Reader: io.LimitReader(res.Body, p.limit(1<<62))}
	matched := p.body.MatchReader(bufio.NewReader(body))
	switch {
	case body.err != nil:
		return &failedProbe{what: "failed to read response body", err: body.err}
	case !matched:
		return &failedProbe{what: "response body failed expectations"}
	}
	return nil
}

func (p *httpProber) limit(most int64) int64 {
	if p.MaxSize > 0 {
		return min(p.MaxSize, most)
	}
	return most
}

// StatusMatches reports whether a status is the one that a pattern means: itself, or of the class of a single digit.
func StatusMatches(pattern, status int) bool {
	if pattern < 100 {
		return status/100 == pattern
	}
	return status == pattern
}

// remembering keeps the error of a reader, for who reads through something that does not pass it on.
type remembering struct {
	io.Reader
	err error
}

// Read implements io.Reader.
func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// aimed sends each request to one address, whatever scheme and host its URL names (HC-8). Whether TLS is spoken to it is
// the transport's affair.
type aimed struct {
	via  Transport
	host string
}

// RoundTrip implements http.RoundTripper.
func (a *aimed) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	out.URL.Scheme, out.URL.Host = "http", a.host
	return a.via.RoundTrip(out)
}
