package push

import (
	"net/http"

	"go.uber.org/zap/zapcore"
)

// loggedHeader is a header as logs show it: without credentials, unless they are
// asked for.
type loggedHeader struct {
	h           http.Header
	credentials bool
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l loggedHeader) MarshalLogObject(e zapcore.ObjectEncoder) error {
	for name, values := range l.h {
		switch http.CanonicalHeaderKey(name) {
		case "Cookie", "Set-Cookie", "Authorization", "Proxy-Authorization":
			if !l.credentials {
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
