// Package errorhandler makes errors on purpose, so that error routes answer. Its
// module is named error.
package errorhandler

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Config is the handler error.
type Config struct {
	// Error is the message, {http.error.message} in error routes. Known
	// placeholders are replaced, others stay as they are.
	Error string `json:"error,omitempty"`
	// StatusCode is the HTTP status of the error; it may hold placeholders.
	// Default: 500.
	StatusCode module.WeakString `json:"status_code,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.error", "Returns an error, which error routes may answer.", nil, compile, module.Examples(
		module.Example{Title: "Deny access", JSON: `{"handler": "error", "status_code": 403, "error": "not for {http.request.remote.host}"}`},
	), module.Directives(module.Directive{Name: "error", Read: readError}))
}

type handler struct {
	message vars.Text
	text    vars.Text
	status  int   // if err is nil
	err     error // the status has placeholders or is no number
}

var errDynamic = errors.New("status_code has placeholders")

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{message: vars.Parse(cfg.Error), text: vars.Parse(string(cfg.StatusCode)), status: http.StatusInternalServerError}
	if err := h.message.Err(); err != nil {
		return nil, module.Problem("/error", err.Error())
	}
	text, literal := h.text.Literal()
	switch {
	case !literal:
		h.err = errDynamic
	case text != "":
		if h.status, h.err = parseStatus(text); h.err != nil {
			env.Warn("/status_code", "the error will be another one, with status 500: "+h.err.Error())
		}
	}
	return h, nil
}

func parseStatus(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("status_code %q is not a number", text)
	}
	return n, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
	x := handlers.Of(r)
	status, err := h.status, h.err
	if err == errDynamic { //nolint:errorlint // a sentinel of this file
		status, err = parseStatus(h.text.Expand(x, vars.All, ""))
	}
	if err != nil {
		return handlers.NewError(http.StatusInternalServerError, err)
	}
	return handlers.NewError(status, errors.New(h.message.Expand(x, vars.Known, "")))
}
