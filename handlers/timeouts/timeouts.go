// Package timeouts bounds how long reading a request body and writing a response
// may stall.
package timeouts

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"go.uber.org/zap"
)

// Config is the handler timeouts. Its limits hold from the time when the request
// comes to the handler, and beside those of the server: the shorter one counts.
type Config struct {
	// ReadTimeout is how long a read of the request body may stall, in nanoseconds
	// as a number. Then the read fails. Default: 0, no limit of its own.
	ReadTimeout int64 `json:"read_timeout,omitempty"`
	// ReadMinRate is how many bytes a second the body must bring on average, once
	// read_timeout has passed; it has no effect without that. Default: 0, any.
	ReadMinRate int64 `json:"read_min_rate,omitempty"`
	// WriteTimeout is how long a write of the response may stall, in nanoseconds as
	// a number. A pause between writes does not count. Default: 0, no limit of its
	// own.
	WriteTimeout int64 `json:"write_timeout,omitempty"`
	// WriteMinRate is how many bytes a second the client must take on average, once
	// write_timeout has passed; it has no effect without that. Default: 0, any.
	WriteMinRate int64 `json:"write_min_rate,omitempty"`
	// MaxWriteChunk is the size in bytes of the pieces that writes are split into,
	// each with its own deadline. Default: 65536.
	MaxWriteChunk int `json:"max_write_chunk,omitempty"`
}

const defaultMaxWriteChunk = 64 << 10

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.timeouts", "Limits how long a transfer may stall.", nil, compile, module.Examples(
		module.Example{Title: "Cut uploads that stall for 10 seconds or bring less than 1 KiB a second", JSON: `{"handler": "timeouts", "read_timeout": 10000000000, "read_min_rate": 1024}`},
		module.Example{Title: "Cut downloads that nobody takes", JSON: `{"handler": "timeouts", "write_timeout": 30000000000}`},
	), directives())
}

type handler struct {
	read, write limit
	chunk       int
	told        atomic.Bool // that a connection has no deadlines
}

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	if cfg.ReadMinRate > 0 && cfg.ReadTimeout <= 0 {
		env.Warn("/read_min_rate", "read_min_rate has no effect without read_timeout")
	}
	if cfg.WriteMinRate > 0 && cfg.WriteTimeout <= 0 {
		env.Warn("/write_min_rate", "write_min_rate has no effect without write_timeout")
	}
	h := &handler{
		read:  limit{time.Duration(cfg.ReadTimeout), cfg.ReadMinRate},
		write: limit{time.Duration(cfg.WriteTimeout), cfg.WriteMinRate},
		chunk: cfg.MaxWriteChunk,
	}
	if h.chunk <= 0 {
		h.chunk = defaultMaxWriteChunk
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	// The body of a CONNECT is a tunnel, which may be silent.
	reads := h.read.idle > 0 && r.Body != nil && r.Body != http.NoBody && r.Method != http.MethodConnect
	writes := h.write.idle > 0
	if !reads && !writes {
		return next.ServeHTTP(w, r)
	}
	control := http.NewResponseController(w)
	start := time.Now()
	var in, out *watch
	if reads {
		in = &watch{limit: h.read, start: start, cut: control.SetReadDeadline}
		r.Body = &body{r.Body, in}
	}
	if writes {
		out = &watch{limit: h.write, start: start, cut: control.SetWriteDeadline}
		w = &writer{under: w, watch: out, reads: in, chunk: h.chunk}
	}
	defer in.stop()
	defer out.stop()
	err := next.ServeHTTP(w, r)
	if writes && err == nil {
		out.settle(control)
	}
	if (in.failed() || out.failed()) && !h.told.Swap(true) {
		if x := handlers.Of(r); x != nil {
			x.Server.Logger("http.handlers.timeouts").Debug("a connection has no deadlines; its transfers are not limited", zap.String("remote", r.RemoteAddr))
		}
	}
	return err
}
