// Package logappend adds fields to the access-log entry of a request. Its module
// is named log_append.
package logappend

import (
	"encoding/base64"
	"net/http"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
)

// Config is the handler log_append. It adds a field to the access-log entry,
// also where a later handler fails. A field that is added twice is there twice.
type Config struct {
	// Key is the name of the field.
	Key string `json:"key,omitempty"`
	// Value says what the field holds: one placeholder, with the type of its value,
	// null if it is unknown; the name of a request variable that is set; or else
	// this text itself, in which placeholders are not replaced.
	//
	// {http.response.body} and {http.response.body_base64} are known only here:
	// they hold the response back until it is complete, up to 10 MiB; of a longer
	// one that much is logged. {http.request.body} and {http.request.body_base64}
	// are added before the handlers that follow run, and again after them unless
	// early is true.
	Value string `json:"value,omitempty"`
	// Early adds the field before the handlers that follow run, instead of after
	// them.
	Early bool `json:"early,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.log_append", "Adds a field to the access-log entry of a request.", nil, compile, module.Examples(
		module.Example{Title: "Log which upstream answered", JSON: `{"handler": "log_append", "key": "upstream", "value": "{http.reverse_proxy.upstream.hostport}"}`},
		module.Example{Title: "Log a fixed text", JSON: `{"handler": "log_append", "key": "site", "value": "shop"}`},
		module.Example{Title: "Log a header as it came in", JSON: `{"handler": "log_append", "key": "trace", "value": "{http.request.header.X-Trace}", "early": true}`},
	), module.Directives(module.Directive{Name: "log_append", Read: readLogAppend}))
}

type handler struct {
	key      string
	text     string
	value    vars.Text
	isName   bool // the value is one placeholder
	early    bool
	late     bool
	response body
}

// body says whether and how the body of the response is the value.
type body uint8

const (
	noBody body = iota
	textBody
	base64Body
)

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{key: cfg.Key, text: cfg.Value, value: vars.Parse(cfg.Value), early: cfg.Early, late: !cfg.Early}
	var name string
	name, h.isName = h.value.Placeholder()
	switch name {
	case "http.request.body", "http.request.body_base64":
		h.early = true
	case "http.response.body":
		h.response = textBody
	case "http.response.body_base64":
		h.response = base64Body
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	if h.response != noBody {
		return h.recordBody(w, r, next, x)
	}
	if h.early {
		h.record(x)
	}
	err := next.ServeHTTP(w, r)
	if h.late {
		h.record(x)
	}
	return err
}

func (h *handler) record(x *handlers.Exchange) {
	if h.isName {
		v, _ := h.value.Value(x)
		x.AddLogField(zap.Any(h.key, v))
		return
	}
	if v, ok := x.LookupVar(h.text); ok {
		x.AddLogField(zap.Any(h.key, v))
		return
	}
	x.AddLogField(zap.String(h.key, h.text))
}

// recordBody runs the handlers that follow and logs the body of what they
// answer.
func (h *handler) recordBody(w http.ResponseWriter, r *http.Request, next handlers.Next, x *handlers.Exchange) error {
	b := &buffer{under: w}
	err := next.ServeHTTP(b, r)
	if h.response == base64Body {
		x.AddLogField(zap.String(h.key, base64.StdEncoding.EncodeToString(b.body.Bytes())))
	} else {
		x.AddLogField(zap.String(h.key, b.body.String()))
	}
	if err != nil {
		b.discard()
		return err
	}
	return b.send()
}

// readLogAppend: log_append [<matcher>] [<]<key> <value>
func readLogAppend(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	args := d.RemainingArgTokens()
	switch {
	case len(args) < 2:
		return nil, d.ArgErr()
	case d.OpensBlock():
		d.Next()
		return nil, d.ArgErr()
	case len(args) > 2:
		d.Warnf("'%s' is ignored: log_append takes a key and a value", caddyfile.Shorten(args[2].Text))
	}
	cfg := Config{Key: args[0].Text, Value: args[1].Text}
	if len(cfg.Key) > 1 && cfg.Key[0] == '<' {
		cfg.Key, cfg.Early = cfg.Key[1:], true
	}
	return u.One(m, "log_append", &cfg)
}
