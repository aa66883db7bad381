package reverseproxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
)

func (p *proxying) logSelected(u *selection.Upstream) {
	if e := p.log.Check(zap.DebugLevel, "selected upstream"); e != nil {
		e.Write(zap.String("dial", u.Dial), zap.Int("total_upstreams", len(p.choice.Upstreams)))
	}
}

func (p *proxying) logRoundTrip(u *selection.Upstream, res *http.Response, err error) {
	e := p.log.Check(zap.DebugLevel, "upstream roundtrip")
	if e == nil {
		return
	}
	credentials := p.x.Server.LogCredentials()
	fields := []zap.Field{
		zap.String("upstream", p.address.HostPort),
		zap.Duration("duration", p.latency),
		zap.Object("request", loggedRequest{p.out, credentials}),
	}
	if err != nil {
		fields = append(fields, zap.Error(err))
	} else {
		fields = append(fields, zap.Object("headers", loggedHeader{res.Header, credentials}), zap.Int("status", res.StatusCode))
	}
	e.Write(fields...)
}

func (p *proxying) logRetry(how outcome, err error) {
	if !p.h.verbose {
		return
	}
	if e := p.log.Check(zap.DebugLevel, "trying again"); e != nil {
		e.Write(zap.Int("retries", p.retries), zap.Stringer("cause", how), zap.Duration("elapsed", time.Since(p.start)), zap.Error(err))
	}
}

func (p *proxying) logCopied(length int64, interval time.Duration) {
	if !p.h.verbose {
		return
	}
	if e := p.log.Check(zap.DebugLevel, "copying response body"); e != nil {
		e.Write(zap.Int64("content_length", length), zap.Duration("flush_interval", interval))
	}
}

// logStream reports how one direction of a tunnel ended, if not in an ordinary way.
func (p *proxying) logStream(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
		p.log.Debug("streaming error", zap.Error(err))
	}
}

// String names the outcome for logs.
func (o outcome) String() string {
	return [...]string{"finished", "no upstream available", "no connection", "round trip failed", "response not wanted"}[o]
}

// loggedRequest is the outgoing request as logs show it.
type loggedRequest struct {
	r           *http.Request
	credentials bool
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l loggedRequest) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("remote_addr", l.r.RemoteAddr)
	e.AddString("proto", l.r.Proto)
	e.AddString("method", l.r.Method)
	e.AddString("host", l.r.Host)
	e.AddString("uri", l.r.URL.RequestURI())
	return e.AddObject("headers", loggedHeader{l.r.Header, l.credentials})
}

// loggedHeader is a header as logs show it: credentials are left out unless they are asked for (LOG-3).
type loggedHeader struct {
	h           http.Header
	credentials bool
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l loggedHeader) MarshalLogObject(e zapcore.ObjectEncoder) error {
	for name, values := range l.h {
		if !l.credentials {
			switch name {
			case "Cookie", "Set-Cookie", "Authorization", "Proxy-Authorization":
				values = []string{"REDACTED"}
			}
		}
		if err := e.AddArray(name, texts(values)); err != nil {
			return err
		}
	}
	return nil
}

type texts []string

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (t texts) MarshalLogArray(e zapcore.ArrayEncoder) error {
	for _, s := range t {
		e.AppendString(s)
	}
	return nil
}
