// Package requestbody limits or replaces the bodies of requests.
package requestbody

import (
	"io"
	"net/http"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Config is the handler request_body.
type Config struct {
	// MaxSize is how many bytes of the body the handlers that follow may read. Who
	// reads further gets an error with status 413; it has no effect on handlers that
	// do not read the body. Default: 0, no limit.
	MaxSize int64 `json:"max_size,omitempty"`
	// Set replaces the body by a text, which may hold placeholders; unknown ones
	// become empty. The limit then applies to the text. Default: the body stays.
	Set string `json:"set,omitempty"`
}

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.request_body", "Limits or replaces the body of a request.", nil, compile, module.Examples(
		module.Example{Title: "Accept uploads of at most 10 MB", JSON: `{"handler": "request_body", "max_size": 10000000}`},
		module.Example{Title: "Send another body to the upstream", JSON: `{"handler": "request_body", "set": "from {http.request.remote.host}"}`},
	), directives())
}

type handler struct {
	limit int64 // not positive: none
	set   *vars.Text
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{limit: cfg.MaxSize}
	if cfg.Set != "" {
		text := vars.Parse(cfg.Set)
		if err := text.Err(); err != nil {
			return nil, module.Problem("/set", err.Error())
		}
		h.set = &text
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	if h.set != nil {
		replace(r, h.set.Expand(handlers.Of(r), vars.All, ""))
	}
	if h.limit > 0 && r.Body != nil && r.Body != http.NoBody {
		r.Body = &limited{body: r.Body, limit: h.limit, left: h.limit}
	}
	return next.ServeHTTP(w, r)
}

// replace makes text the body of a request. The original one is left to the
// server, which knows how to get rid of it.
func replace(r *http.Request, text string) {
	r.ContentLength, r.TransferEncoding = int64(len(text)), nil
	if text == "" {
		r.Body = http.NoBody
		return
	}
	r.Body = io.NopCloser(strings.NewReader(text))
}

// limited is a body of which no more than left bytes may be read.
type limited struct {
	body  io.ReadCloser
	limit int64
	left  int64
	err   error
}

// Read implements io.Reader. It reads one byte further than it may, to know a
// body that ends in time from one that does not.
func (l *limited) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p))-1 > l.left {
		p = p[:l.left+1]
	}
	n, err := l.body.Read(p)
	if int64(n) <= l.left {
		l.left -= int64(n)
		l.err = err
		return n, err
	}
	n = int(l.left)
	l.left = 0
	l.err = handlers.NewError(http.StatusRequestEntityTooLarge, &http.MaxBytesError{Limit: l.limit})
	return n, l.err
}

// Close implements io.Closer.
func (l *limited) Close() error { return l.body.Close() }
