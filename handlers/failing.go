package handlers

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// maxDepth bounds routes within routes.
const maxDepth = 100

var errTooDeep = errors.New("routes are nested too deeply; does a named route invoke itself?")

// Fail makes err the error being handled and sets the {http.error.*}
// placeholders. For an error without a status all but {http.error} stay unknown.
func (x *Exchange) Fail(err error) {
	x.err = err
	x.Set("http.error", err)
	var e *Error
	if !errors.As(err, &e) {
		for _, name := range []string{"status_code", "status_text", "message", "id", "trace"} {
			x.Unset("http.error." + name)
		}
		return
	}
	x.Set("http.error.status_code", e.Status)
	x.Set("http.error.status_text", http.StatusText(e.Status))
	x.Set("http.error.message", e.Message())
	x.Set("http.error.id", e.ID)
	x.Set("http.error.trace", e.Trace)
}

// Restore undoes what handlers did to the method, the URL and the remote
// address of the request; headers, body and variables stay as they are.
func (x *Exchange) Restore(r *http.Request) *http.Request {
	if now := x.request; now != nil {
		r = now
	}
	o := &x.Original
	r.Method, r.RequestURI, r.RemoteAddr = o.Method, o.RequestURI, o.RemoteAddr
	u := o.URL
	r.URL = &u
	return r
}

// ErrStatus is the status of the error being handled, and whether it has one
// of its own.
func (x *Exchange) ErrStatus() (int, bool) {
	var e *Error
	if errors.As(x.err, &e) && e.Status != 0 {
		return e.Status, true
	}
	return 0, false
}

// released stands in for the server of a request that has let go of its
// generation.
type released struct {
	name        string
	credentials bool
}

func (s released) Name() string              { return s.name }
func (s released) LogCredentials() bool      { return s.credentials }
func (s released) Logger(string) *zap.Logger { return zap.NewNop() }
func (s released) ShutdownAt() time.Time     { return time.Time{} }
func (s released) NamedRoute(string, http.ResponseWriter, *http.Request, Next) (bool, error) {
	return false, ErrOver
}
