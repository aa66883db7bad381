// Package staticresponse answers requests with a response that is written in
// the config.
package staticresponse

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Config is the handler static_response.
type Config struct {
	// StatusCode is the status of the response, 100 to 999; it may hold
	// placeholders. Default: 200, or in an error route the status of the error.
	// With 103 the headers are sent as early hints and the chain goes on.
	StatusCode module.WeakString `json:"status_code,omitempty"`
	// Headers is the header fields to set, each with all its values. An empty list
	// takes the field out of the response. Names and values may hold placeholders.
	Headers map[string][]string `json:"headers,omitempty"`
	// Body is the response body. Known placeholders are replaced, others stay as
	// they are. Without a Content-Type it is declared as JSON if it is a JSON
	// object or array, else as plain text.
	Body string `json:"body,omitempty"`
	// Close closes the connection after the response.
	Close bool `json:"close,omitempty"`
	// Abort closes the connection at once, without a response.
	Abort bool `json:"abort,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.static_response", "Answers with a fixed response.", nil, compile, module.Examples(
		module.Example{Title: "Answer with text", JSON: `{"handler": "static_response", "body": "hello, {http.request.remote.host}"}`},
		module.Example{Title: "Redirect to HTTPS", JSON: `{"handler": "static_response", "status_code": 308, "headers": {"Location": ["https://{http.request.host}{http.request.uri}"]}}`},
		module.Example{Title: "Drop the connection", JSON: `{"handler": "static_response", "abort": true}`},
	), directives())
}

type handler struct {
	status      *vars.Text // nil: the default
	fixedStatus int        // 0: not known at load
	fields      []field
	typed       bool // the fields may have Content-Type
	body        vars.Text
	contentType string // of the body, "" if that is not known at load
	close       bool
	abort       bool
}

type field struct {
	name   vars.Text
	fixed  string // the canonical name, "" if it has placeholders
	values []vars.Text
}

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{body: vars.Parse(cfg.Body), close: cfg.Close, abort: cfg.Abort}
	if err := h.body.Err(); err != nil {
		return nil, module.Problem("/body", err.Error())
	}
	if body, ok := h.body.Literal(); ok {
		h.contentType = typeOf(body)
	}
	if cfg.StatusCode != "" {
		t := vars.Parse(string(cfg.StatusCode))
		h.status = &t
		if text, ok := t.Literal(); ok {
			n, err := parseStatus(text)
			if err != nil {
				env.Warn("/status_code", "every request will be answered with status 500: "+err.Error())
			}
			h.fixedStatus = n
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Headers)) {
		f := field{name: vars.Parse(name)}
		if lit, ok := f.name.Literal(); ok {
			f.fixed = http.CanonicalHeaderKey(lit)
		}
		for _, v := range cfg.Headers[name] {
			f.values = append(f.values, vars.Parse(v))
		}
		h.typed = h.typed || f.fixed == "" || f.fixed == contentType
		h.fields = append(h.fields, f)
	}
	return h, nil
}

const contentType = "Content-Type"

// parseStatus reads a status that can be sent.
func parseStatus(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("status_code %q is not a number", text)
	}
	if n < 100 || n > 999 {
		return 0, fmt.Errorf("status_code %d is not in the range 100 to 999", n)
	}
	return n, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	if h.abort {
		panic(http.ErrAbortHandler)
	}
	x := handlers.Of(r)
	header := w.Header()
	if h.close {
		r.Close = true
		header["Connection"] = []string{"close"}
	}
	untyped := h.setFields(header, x)
	body := h.body.Expand(x, vars.Known, "")
	switch {
	case untyped || header.Get(contentType) != "":
	case body == "":
		header[contentType] = nil // nothing to guess from
	default:
		header[contentType] = []string{h.typeOf(body)}
	}
	status, err := h.statusFor(x)
	if err != nil {
		return handlers.NewError(http.StatusInternalServerError, err)
	}
	if status == http.StatusEarlyHints {
		w.WriteHeader(status)
		return next.ServeHTTP(w, r)
	}
	write(w, status, body)
	return nil
}

// setFields reports whether the fields say that there is to be no Content-Type.
func (h *handler) setFields(header http.Header, x *handlers.Exchange) (untyped bool) {
	for i := range h.fields {
		f := &h.fields[i]
		name := f.fixed
		if name == "" {
			name = http.CanonicalHeaderKey(f.name.Expand(x, vars.All, ""))
		}
		values := make([]string, len(f.values))
		for i, v := range f.values {
			values[i] = v.Expand(x, vars.All, "")
		}
		header[name] = values
	}
	if !h.typed {
		return false
	}
	values, ok := header[contentType]
	return ok && values != nil && len(values) == 0
}

func (h *handler) statusFor(x *handlers.Exchange) (int, error) {
	if h.fixedStatus != 0 {
		return h.fixedStatus, nil
	}
	if h.status != nil {
		return parseStatus(h.status.Expand(x, vars.All, ""))
	}
	if status, ok := x.ErrStatus(); ok {
		return parseStatus(strconv.Itoa(status))
	}
	return http.StatusOK, nil
}

// known is the size from which the server no longer finds the length of a body
// by itself.
const known = 2 << 10

// write ignores errors: there is nobody left to tell.
func write(w http.ResponseWriter, status int, body string) {
	if status < 200 || status == http.StatusNoContent || status == http.StatusNotModified {
		body = "" // these have none (RFC 9110, 6.4.1)
	}
	if h := w.Header(); len(body) >= known && len(h["Content-Length"]) == 0 {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	if body != "" {
		_, _ = io.WriteString(w, body)
	}
}

func (h *handler) typeOf(body string) string {
	if h.contentType != "" {
		return h.contentType
	}
	return typeOf(body)
}

// typeOf looks for a JSON object or array that is not empty.
func typeOf(body string) string {
	b := strings.TrimSpace(body)
	if len(b) > 2 && (b[0] == '{' && b[len(b)-1] == '}' || b[0] == '[' && b[len(b)-1] == ']') && json.Valid([]byte(b)) {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}
