package acmeserver

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

const (
	// maxBody is the length of the longest request, in bytes: a request for a certificate with a hundred names has room.
	maxBody = 128 << 10
	// jwsType is the type of every request, RFC 8555 section 6.2.
	jwsType = "application/jose+json"
)

// call is one request.
type call struct {
	*handler
	w    http.ResponseWriter
	r    *http.Request
	base string // what URLs begin with: scheme, host, prefix, authority

	// after verify:
	payload []byte
	account *account // who has signed, nil if the key was in the request
	key     *publicKey
}

// route answers a request for a path below the authority. Its errors are answered by fail.
func (c *call) route(path string) error {
	switch path {
	case "directory":
		return c.directory()
	case "new-nonce":
		return c.newNonce()
	case "new-account":
		return c.post(byKey, c.newAccount)
	case "new-order":
		return c.post(byAccount, c.newOrder)
	case "revoke-cert":
		return c.post(byEither, c.revoke)
	case "key-change":
		return c.post(byAccount, c.keyChange)
	}
	kind, id, _ := strings.Cut(path, "/")
	id, what, _ := strings.Cut(id, "/")
	if id == "" || strings.Contains(what, "/") {
		return notFound("there is nothing of this name")
	}
	switch {
	case kind == "account" && what == "":
		return c.post(byAccount, func() error { return c.updateAccount(id) })
	case kind == "account" && what == "orders":
		return c.post(byAccount, func() error { return c.listOrders(id) })
	case kind == "order" && what == "":
		return c.post(byAccount, func() error { return c.showOrder(id) })
	case kind == "order" && what == "finalize":
		return c.post(byAccount, func() error { return c.finalize(id) })
	case kind == "authz" && what == "":
		return c.post(byAccount, func() error { return c.showAuthz(id) })
	case kind == "challenge" && what != "":
		return c.post(byAccount, func() error { return c.respond(id, what) })
	case kind == "certificate" && what == "":
		return c.post(byAccount, func() error { return c.fetch(id) })
	}
	return notFound("there is nothing of this name")
}

// post checks who has sent a request and answers it.
func (c *call) post(signers signers, f func() error) error {
	if c.r.Method != http.MethodPost {
		c.w.Header().Set("Allow", http.MethodPost)
		return newProblem("malformed", http.StatusMethodNotAllowed, "want POST")
	}
	if err := c.verify(signers); err != nil {
		return err
	}
	return f()
}

// body reads the request.
func (c *call) body() ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || kind != jwsType {
		return nil, newProblem("malformed", http.StatusUnsupportedMediaType, "want Content-Type "+jwsType)
	}
	if c.r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	if err != nil {
		return nil, malformed("the request could not be read")
	}
	if len(body) > maxBody {
		return nil, tooLarge()
	}
	return body, nil
}

func tooLarge() *problem {
	return newProblem("malformed", http.StatusRequestEntityTooLarge, "the request is longer than "+strconv.Itoa(maxBody)+" bytes")
}

// read decodes the payload.
func (c *call) read(v any) error {
	if err := json.Unmarshal(c.payload, v); err != nil {
		return malformed("the payload is not the JSON object that is wanted here")
	}
	return nil
}

// wantGet reports an error unless the request is a POST-as-GET, RFC 8555 section 6.3.
func (c *call) wantGet() error {
	if len(c.payload) > 0 {
		return malformed("want a POST-as-GET, with an empty payload")
	}
	return nil
}

func (c *call) directory() error {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		c.w.Header().Set("Allow", "GET, HEAD")
		return newProblem("malformed", http.StatusMethodNotAllowed, "want GET")
	}
	if c.hostOf(c.r) == "" {
		return malformed("the request names no host")
	}
	return c.answer(http.StatusOK, struct {
		NewNonce   string `json:"newNonce"`
		NewAccount string `json:"newAccount"`
		NewOrder   string `json:"newOrder"`
		RevokeCert string `json:"revokeCert"`
		KeyChange  string `json:"keyChange"`
	}{c.url("new-nonce"), c.url("new-account"), c.url("new-order"), c.url("revoke-cert"), c.url("key-change")})
}

func (c *call) newNonce() error {
	status := http.StatusOK
	switch c.r.Method {
	case http.MethodHead:
	case http.MethodGet:
		status = http.StatusNoContent
	default:
		c.w.Header().Set("Allow", "GET, HEAD")
		return newProblem("malformed", http.StatusMethodNotAllowed, "want HEAD or GET")
	}
	c.setHeader()
	c.w.WriteHeader(status)
	return nil
}

// url is the URL of something of this authority.
func (c *call) url(parts ...string) string {
	return c.base + "/" + strings.Join(parts, "/")
}

// setHeader sets what all answers have.
func (c *call) setHeader() {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Link", "<"+c.url("directory")+`>;rel="index"`)
	if c.r.Method == http.MethodPost || strings.HasSuffix(c.r.URL.Path, "/new-nonce") {
		h.Set("Replay-Nonce", c.state.nonces.issue(c.databases.options.now()))
	}
}

// answer answers with JSON.
func (c *call) answer(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.setHeader()
	return c.write("application/json", status, append(text, '\n'))
}

func (c *call) write(kind string, status int, body []byte) error {
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // that the client is gone needs no answer
	return nil
}

// fail answers with an error. What is not the client's is logged, and the client is told no more than that.
func (c *call) fail(err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, errGone):
		p = notFound("there is nothing of this name")
	default:
		logger(c.r).Error("answering an ACME request", zap.String("ca", c.ca), zap.String("path", c.r.URL.Path), zap.Error(err))
		p = newProblem("serverInternal", http.StatusInternalServerError, "the server could not do this; its log says why")
	}
	text, err := json.Marshal(p)
	if err != nil {
		text = nil
	}
	c.setHeader()
	if p.location != "" {
		c.w.Header().Set("Location", p.location)
	}
	if p.retryAfter != "" {
		c.w.Header().Set("Retry-After", p.retryAfter)
	}
	_ = c.write("application/problem+json", p.Status, append(text, '\n'))
}

// isHere reports whether a URL is that of the request. The scheme is always that of the URLs that clients are given, since
// something else may do TLS for this server.
func (c *call) isHere(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && c.isHost(u.Host) && u.Path == c.r.URL.Path && u.RawQuery == c.r.URL.RawQuery && u.User == nil && u.Fragment == ""
}

// isHost reports whether a URL's host is this server's: the one in its configuration, or that of the request.
func (c *call) isHost(host string) bool {
	host = strings.TrimSuffix(host, ":443")
	return strings.EqualFold(host, strings.TrimSuffix(c.host, ":443")) && c.host != "" || strings.EqualFold(host, strings.TrimSuffix(c.r.Host, ":443"))
}

// idOf returns the last part of the URL of something of this authority, "" for other URLs.
func (c *call) idOf(text, kind string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	id, ok := strings.CutPrefix(u.Path, c.prefix+c.ca+"/"+kind+"/")
	if !ok || strings.Contains(id, "/") {
		return ""
	}
	return id
}
