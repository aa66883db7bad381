package server

import (
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/logs"
	"go.uber.org/zap"
)

// request is the state of one request, in one piece of memory.
type request struct {
	exchange handlers.Exchange
	response handlers.ResponseWriter
	measure  measure
	pin      pin
	server   *boundServer
	snapshot logs.Snapshot
	body     *handlers.CountingBody
	elapsed  time.Duration  // until the primary chain returned
	detached bool           // see goOn
	connect  *connectWriter // nil but for an extended CONNECT
}

// challengePath begins the paths at which certificate authorities ask, such as
// those of RFC 8555, section 8.3.
const challengePath = "/.well-known/"

// serverName is the value of the Server header. Appending to it copies it.
var serverName = []string{"sluice"}

// serve handles one request on a pinned generation.
func (b *boundServer) serve(w http.ResponseWriter, r *http.Request, p pin, globals vars.Scope, now time.Time) {
	q := &request{pin: p, server: b}
	x := &q.exchange
	x.Detachable = true
	x.Server, x.Client, x.Start, x.Response, x.Globals, x.End = q, b.Server, now, &q.response, globals, primaryEnd
	if extendedWebSocket(r) {
		x.Extended = true
		q.connect = &connectWriter{ResponseWriter: w, exchange: x}
		w = q.connect
	}
	q.response.Reset(q.measure.begin(q, w, r))
	if r.Body != nil && r.Body != http.NoBody {
		q.body = handlers.NewCountingBody(r.Body)
		x.Body = q.body
	}
	original := r
	r = x.Begin(r, &q.pin)
	if q.body != nil {
		r.Body = q.body
	}
	if q.snapshot = logs.Snap(b.access, original); q.snapshot.Taken() {
		x.ClientIP()
	}
	if b.access.Trace() {
		x.Trace = func(name string, node *config.Node) { logs.LogTrace(b.process.Logs.Current(), name, node) }
	}
	w.Header()["Server"] = serverName
	defer q.finish(r)
	if r.TLS != nil && b.decision.policies.Captures() {
		x.AddScope(captures{b.decision.policies, r})
	}
	if c := b.process.certificates; c != nil && strings.HasPrefix(r.URL.Path, challengePath) && c.AnswerChallenge(&q.response, r) {
		return
	}
	if err := b.admit(r); err != nil {
		if handlers.StatusOf(err) == http.StatusMisdirectedRequest {
			w.Header()["Connection"] = []string{"close"}
		}
		q.handleError(&q.response, r, err)
		return
	}
	tunnel := lastOfItsConnection(w, r)
	err := b.routes.ServeObserved(&q.response, r, primaryEnd, q.measure.observer())
	if rest := x.Detached(); rest != nil {
		q.detached = true
		q.response.LetGo()
		q.measure.ResponseWriter = nil
		go q.goOn(rest, r, err)
		return
	}
	q.measure.end(err)
	if err != nil {
		if tunnel { // there is none
			delete(w.Header(), "Connection")
		}
		q.handleError(&q.response, r, err)
	}
}

// lastOfItsConnection makes a CONNECT over HTTP/1 the last request: after a
// success its client takes the connection for a tunnel (RFC 9110, section 9.3.6),
// and what it sends must not be read as requests.
func lastOfItsConnection(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodConnect || r.ProtoMajor != 1 {
		return false
	}
	w.Header()["Connection"] = []string{"close"}
	return true
}

// finish writes the access log and lets the generation go. It runs even when a
// handler cuts the connection by a panic.
func (q *request) finish(r *http.Request) {
	failure := recover()
	if q.detached {
		return
	}
	q.measure.cut(failure)
	if q.connect != nil && failure == nil {
		q.connect.finish()
	}
	if failure != nil && failure != http.ErrAbortHandler {
		q.logPanic(r, failure)
		failure = http.ErrAbortHandler
	}
	q.logAccess()
	q.exchange.Finish()
	if failure != nil {
		panic(failure)
	}
}

// goOn ends a request whose connection was taken over. Nobody is left to whom a
// panic would matter.
func (q *request) goOn(rest func(), r *http.Request, err error) {
	defer func() {
		if failure := recover(); failure != nil && failure != http.ErrAbortHandler {
			q.logPanic(r, failure)
		}
		q.measure.end(err)
		q.logAccess()
		q.exchange.Finish()
	}()
	rest()
}

// errorEnd is what runs when no error route has answered.
var errorEnd = handlers.NextFunc(handlers.ErrorEnd)

// primaryEnd is what runs when no route has answered.
var primaryEnd = handlers.NextFunc(func(_ http.ResponseWriter, r *http.Request) error {
	handlers.Of(r).SetVar("unhandled", true)
	return nil
})

func writeStatus(w http.ResponseWriter, err error) {
	status := handlers.StatusOf(err)
	if status < 100 || status > 999 {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
}

// handleError answers for a chain that returned an error.
func (q *request) handleError(w http.ResponseWriter, r *http.Request, err error) {
	b, x := q.server, &q.exchange
	q.elapsed = time.Since(x.Start)
	entry := logs.ErrorEntry{Request: r, Snapshot: q.snapshot, Exchange: x, Err: err, Duration: q.elapsed}
	if !q.response.Hijacked() {
		if q.response.Status() != 0 {
			w = &spent{header: http.Header{}}
		}
		r = x.Restore(r)
		x.Fail(err)
		if b.errors.Len() > 0 {
			x.End = errorEnd
			entry.Second = b.errors.Serve(w, r, errorEnd)
			entry.Handled = entry.Second == nil
		}
		if !entry.Handled {
			writeStatus(w, handlers.Answer(err, entry.Second))
		}
	}
	logs.LogError(b.process.Logs.Current(), b.access, entry)
}

// spent is what error routes write to when a response is on its way already:
// what they say must not become part of it.
type spent struct{ header http.Header }

func (s *spent) Header() http.Header         { return s.header }
func (s *spent) Write(p []byte) (int, error) { return len(p), nil }
func (s *spent) WriteHeader(int)             {}

// logAccess writes the access log entry, if there is to be one.
func (q *request) logAccess() {
	if !q.snapshot.Taken() {
		return
	}
	if q.elapsed == 0 {
		q.elapsed = time.Since(q.exchange.Start)
	}
	q.server.access.Log(q.server.process.Logs.Current(), logs.AccessEntry{Snapshot: q.snapshot, Exchange: &q.exchange, Duration: q.elapsed})
}

func (q *request) logPanic(r *http.Request, failure any) {
	q.server.process.Logs.Current().Logger("http.stdlib").Error("a handler panicked; the connection was cut",
		zap.Any("panic", failure), zap.String("method", r.Method), zap.String("host", r.Host), zap.String("uri", q.exchange.Original.RequestURI),
		zap.ByteString("stack", debug.Stack()))
}
