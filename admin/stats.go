package admin

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/internal/metrics"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// stats counts requests. Each is counted once, under the route that it asked
// for, an /id/ request under /id/; what no route fits is metrics.Other.
type stats struct {
	requests, errors *metrics.Counters
}

func newStats(r *metrics.Registry) *stats {
	if r == nil {
		return &stats{}
	}
	return &stats{
		requests: r.Counters(metrics.Opts{Subsystem: "admin_http", Name: "requests_total",
			Help: "Requests to the admin API.", Labels: []string{"handler", "path", "code", "method"}}),
		errors: r.Counters(metrics.Opts{Subsystem: "admin_http", Name: "request_errors_total",
			Help: "Requests to the admin API that were answered with an error.", Labels: []string{"handler", "path", "method"}}),
	}
}

func (s *stats) count(pattern, method string, status int) {
	if s.requests == nil {
		return
	}
	label := strings.TrimSuffix(pattern, "*")
	if label == "" {
		label = metrics.Other
	}
	method = methodLabel(method)
	s.requests.With("admin", label, strconv.Itoa(status), method).Inc()
	if status >= 400 {
		s.errors.With("admin", label, method).Inc()
	}
}

// methodLabel keeps clients from making up series.
func methodLabel(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "OTHER"
}

// logRequest logs that a request came in, credentials left out.
func (a *API) logRequest(r *http.Request) {
	level := zapcore.InfoLevel
	if r.URL.Path == "/metrics" {
		level = zapcore.DebugLevel
	}
	entry := a.log.Check(level, "received request")
	if entry == nil {
		return
	}
	ip, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	fields := []zap.Field{
		zap.String("method", r.Method),
		zap.String("host", r.Host),
		zap.String("uri", r.RequestURI),
		zap.String("remote_ip", ip),
		zap.String("remote_port", port),
		zap.Object("headers", headers(r.Header)),
	}
	if r.TLS != nil {
		fields = append(fields, zap.Bool("secure", true), zap.Int("verified_chains", len(r.TLS.VerifiedChains)))
	}
	entry.Write(fields...)
}

// headers logs header fields, values of credentials redacted.
type headers http.Header

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (h headers) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for name, values := range h {
		switch name {
		case "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie":
			values = []string{"REDACTED"}
		}
		zap.Strings(name, values).AddTo(enc)
	}
	return nil
}
