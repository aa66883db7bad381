package fastcgi

import (
	"net/http"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sluiceproxy/sluice/handlers"
)

// LoggerName is the logger of what applications write to their error stream.
const LoggerName = "http.reverse_proxy.transport.fastcgi"

// report is what is written to the log at the end of an exchange with capture_stderr (FC-12).
type report struct {
	logger      *zap.Logger
	credentials bool
	request     *http.Request
	env         map[string]string
	configured  []variable
	status      int
}

func newReport(r *http.Request, env map[string]string, configured []variable) *report {
	x := handlers.Of(r)
	if x == nil || x.Server == nil {
		return nil
	}
	return &report{logger: x.Server.Logger(LoggerName), credentials: x.Server.LogCredentials(), request: r, env: env, configured: configured, status: http.StatusBadGateway}
}

func (p *report) write(stderr []byte) {
	if p == nil || len(stderr) == 0 {
		return
	}
	level := zap.WarnLevel
	if p.status >= http.StatusBadRequest {
		level = zap.ErrorLevel
	}
	if e := p.logger.Check(level, "stderr"); e != nil {
		e.Write(zap.String("body", string(stderr)), zap.Object("request", loggedRequest{p}), zap.Object("env", loggedEnv{p}))
	}
}

const redacted = "REDACTED"

// loggedRequest is the request as logs show it.
type loggedRequest struct{ *report }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l loggedRequest) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("remote_addr", l.request.RemoteAddr)
	e.AddString("proto", l.request.Proto)
	e.AddString("method", l.request.Method)
	e.AddString("host", l.request.Host)
	e.AddString("uri", l.request.URL.RequestURI())
	return e.AddObject("headers", loggedHeader{l.report})
}

type loggedHeader struct{ *report }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l loggedHeader) MarshalLogObject(e zapcore.ObjectEncoder) error {
	for name, values := range l.request.Header {
		if !l.credentials && secret("HTTP_"+name) {
			values = []string{redacted}
		}
		if err := e.AddReflected(name, values); err != nil {
			return err
		}
	}
	return nil
}

// secret reports whether a variable, or a field after HTTP_, holds credentials.
func secret(name string) bool {
	switch name {
	case "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION", "HTTP_Cookie", "HTTP_Authorization", "HTTP_Proxy-Authorization":
		return true
	}
	return false
}

// loggedEnv is the variables as logs show them. Those of the config may be secrets.
type loggedEnv struct{ *report }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l loggedEnv) MarshalLogObject(e zapcore.ObjectEncoder) error {
	for name, value := range l.env {
		own := slices.ContainsFunc(l.configured, func(v variable) bool { return v.name == name })
		if !l.credentials && (own || secret(name)) {
			value = redacted
		}
		e.AddString(name, value)
	}
	return nil
}
