package logs

import (
	"errors"
	"net/http"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// AccessEntry is what an access-log entry is made of.
type AccessEntry struct {
	// Snapshot was taken when the request came. It is used up.
	Snapshot Snapshot
	// Exchange is the request's; its response is complete.
	Exchange *handlers.Exchange
	// Duration is the time from the arrival of the header until the primary
	// chain returned.
	Duration time.Duration
}

// Log writes the access-log entries of a request, one for each logger name, and
// ends its snapshot. It does nothing for a request that is not logged, or whose
// variable log_skip is true. It must be the last use of the snapshot.
func (a *Access) Log(set *Set, e AccessEntry) {
	rec, x := e.Snapshot.rec, e.Exchange
	if a == nil || rec == nil {
		return
	}
	defer rec.free()
	if skip, _ := x.Var("log_skip").(bool); skip {
		return
	}
	status := x.Response.Status()
	level, message := zapcore.InfoLevel, "handled request"
	if status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	if unhandled, _ := x.Var("unhandled").(bool); unhandled && status == 0 {
		message = "NOP"
	}
	filled := false
	for _, name := range a.Names(x, rec.host) {
		ce := set.Logger(name).Check(level, message)
		if ce == nil {
			continue
		}
		if !filled {
			filled = true
			rec.fill(x, e.Duration, status)
		}
		ce.Write(rec.fields...)
	}
}

// fill makes the fields of an access entry, in their order.
func (rec *record) fill(x *handlers.Exchange, d time.Duration, status int) {
	rec.setClient(x)
	user, _, ok := x.LookupString("http.auth.user.id")
	if !ok {
		user = ""
	}
	rec.response.header, rec.response.credentials = x.Response.Header(), rec.credentials
	rec.fields = append(rec.fields[:0],
		zap.Object("request", rec),
		zap.Int64("bytes_read", x.Body.Count()),
		zap.String("user_id", user),
		zap.Duration("duration", d),
		zap.Int64("size", x.Response.Size()),
		zap.Int("status", status),
		zap.Object("resp_headers", &rec.response),
	)
	rec.fields = append(rec.fields, x.LogFields()...)
}

func (rec *record) setClient(x *handlers.Exchange) {
	rec.client, rec.hasClient = x.Var("client_ip").(string)
}

// ErrorEntry is what an entry about a failed request is made of.
type ErrorEntry struct {
	// Request is the request as it is now, for requests without a snapshot.
	Request *http.Request
	// Snapshot is the request as it came; it may be the zero one.
	Snapshot Snapshot
	// Exchange is the request's.
	Exchange *handlers.Exchange
	// Err is what the primary chain returned.
	Err error
	// Handled says that there are error routes and that they answered.
	Handled bool
	// Second is the error of the error routes, nil if they had none.
	Second error
	// Duration is the time from the arrival of the header until the primary
	// chain returned.
	Duration time.Duration
}

// LogError writes the entry about a request whose handlers returned an error.
// It is independent of the access log but for the naming of the logger; a may
// be nil. The snapshot stays usable.
//
// The level is ERROR if the error routes failed too; DEBUG if they answered, or
// the status is below 500; else ERROR.
func LogError(set *Set, a *Access, e ErrorEntry) {
	if e.Err == nil {
		return
	}
	level, message := zapcore.DebugLevel, messageOf(e.Err)
	switch {
	case e.Second != nil:
		level, message = zapcore.ErrorLevel, "error handling handler error"
	case !e.Handled && handlers.StatusOf(e.Err) >= http.StatusInternalServerError:
		level = zapcore.ErrorLevel
	}
	host := e.Request.Host
	if e.Snapshot.rec != nil {
		host = e.Snapshot.rec.host
	}
	var rec *record
	for _, name := range a.errorNames(e.Exchange, host) {
		ce := set.Logger(name).Check(level, message)
		if ce == nil {
			continue
		}
		if rec == nil {
			rec = e.record(a)
			if e.Snapshot.rec == nil {
				defer rec.free()
			}
		}
		ce.Write(rec.fields...)
	}
}

// record makes the fields of the entry.
func (e *ErrorEntry) record(a *Access) *record {
	rec := e.Snapshot.rec
	if rec == nil {
		rec = snap(e.Request, a.Credentials())
		// Restored requests have the original line in the exchange; a method or
		// target that a handler changed is not what the client sent.
		o := &e.Exchange.Original
		if o.Method != "" {
			rec.remote, rec.method, rec.uri = o.RemoteAddr, o.Method, o.RequestURI
		}
	}
	rec.setClient(e.Exchange)
	rec.fields = append(rec.fields[:0], zap.Object("request", rec), zap.Duration("duration", e.Duration))
	if e.Second == nil {
		rec.fields = appendError(rec.fields, e.Err)
		return rec
	}
	rec.first.err = e.Err
	rec.fields = append(rec.fields, zap.NamedError("error", e.Second), zap.Object("first_error", &rec.first))
	return rec
}

// appendError adds what is known of an error: three fields for one with a
// status, its text for any other.
func appendError(fields []zap.Field, err error) []zap.Field {
	var he *handlers.Error
	if !errors.As(err, &he) {
		return append(fields, zap.NamedError("error", err))
	}
	return append(fields, zap.Int("status", he.Status), zap.String("err_id", he.ID), zap.String("err_trace", he.Trace))
}

// firstError is the error that the error routes were run for.
type firstError struct{ err error }

// MarshalLogObject writes its message and fields.
func (f *firstError) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("msg", messageOf(f.err))
	for _, field := range appendError(nil, f.err) {
		field.AddTo(enc)
	}
	return nil
}

// messageOf is the text of the cause.
func messageOf(err error) string {
	var he *handlers.Error
	if !errors.As(err, &he) {
		return err.Error()
	}
	if m := he.Message(); m != "" {
		return m
	}
	return describeStatus(he.Status)
}
