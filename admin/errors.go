package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"go.uber.org/zap"
)

// statusGone is what a client gets that does not wait for its answer.
const statusGone = 499

// retryAfter is the number of seconds after which an overloaded server is worth
// another try.
const retryAfter = 1

// Error is the answer to a request that failed. All errors that reach a client
// have this form.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Msg is the value of the key "error".
	Msg string
	// Problems is the list under the key "problems".
	Problems schema.Problems
	// Header is added to the response; it may be nil.
	Header http.Header
}

// Error returns Msg.
func (e *Error) Error() string { return e.Msg }

func failf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Msg: fmt.Sprintf(format, args...)}
}

func overloaded(msg string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Msg: msg,
		Header: http.Header{"Retry-After": {strconv.Itoa(retryAfter)}}}
}

// asError gives any error the form that clients see.
func asError(err error) *Error {
	var (
		own      *Error
		doc      *config.Error
		rejected *server.Rejected
		unstored *server.NotStored
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &doc):
		e := &Error{Status: doc.Status, Msg: doc.Msg}
		if doc.Pointer != "" {
			e.Problems = schema.Problems{{Pointer: doc.Pointer, Message: doc.Msg}}
		}
		return e
	case errors.As(err, &rejected):
		return &Error{Status: http.StatusBadRequest, Msg: "loading new config: " + rejected.Error(), Problems: rejected.Problems}
	case errors.As(err, &unstored):
		return failf(http.StatusInsufficientStorage, "%s", unstored.Error())
	case errors.Is(err, server.ErrOverload), errors.Is(err, server.ErrClosed), errors.Is(err, storage.ErrClosed):
		return overloaded(err.Error())
	case errors.Is(err, storage.ErrNotFound):
		return failf(http.StatusNotFound, "%s", err.Error())
	case errors.Is(err, storage.ErrPruned):
		return failf(http.StatusGone, "%s", err.Error())
	case errors.Is(err, context.Canceled):
		return failf(statusGone, "the client did not wait for the answer: %s", err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return failf(http.StatusGatewayTimeout, "it took too long: %s", err.Error())
	}
	return failf(http.StatusInternalServerError, "%s", err.Error())
}

// maxProblems is how many problems an answer lists.
const maxProblems = 100

// maxText is how many bytes of a text, which may come from the client, an
// answer repeats.
const maxText = 4 << 10

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}

// shorten bounds what an answer says about problems.
func shorten(ps schema.Problems) schema.Problems {
	var out schema.Problems
	for i, p := range ps {
		if i == maxProblems {
			return append(out, schema.Problem{Message: fmt.Sprintf("and %d more problems", len(ps)-i)})
		}
		p.Pointer, p.File, p.Message, p.Found, p.Expected = cut(p.Pointer), cut(p.File), cut(p.Message), cut(p.Found), cut(p.Expected)
		out = append(out, p)
	}
	return out
}

// errorBody is the JSON form of an Error.
type errorBody struct {
	Error    string          `json:"error"`
	Problems schema.Problems `json:"problems,omitempty"`
}

// fail answers with an error and logs it (sections 3 rule 4 and 5 rule 3).
func (a *API) fail(c *call, err error) {
	e := asError(err)
	body := errorBody{cut(e.Msg), shorten(e.Problems)}
	a.log.Error("request error", zap.String("error", body.Error), zap.Int("status_code", e.Status))
	if c.status != 0 {
		return // the answer has begun; the client notices that it is cut off
	}
	h := c.Header()
	for name, values := range e.Header {
		h[name] = values
	}
	h.Set("Content-Type", "application/json")
	c.WriteHeader(e.Status)
	writeJSON(c, body)
}

// writeJSON writes v in the way of all our JSON: HTML characters escaped, a
// newline at the end. That a client is gone is no error of ours.
func writeJSON(w http.ResponseWriter, v any) {
	var b bytes.Buffer
	writeJSONTo(&b, v)
	_, _ = w.Write(b.Bytes())
}

// writeJSONTo is writeJSON to memory.
func writeJSONTo(b *bytes.Buffer, v any) {
	if err := json.NewEncoder(b).Encode(v); err != nil {
		panic(fmt.Sprintf("admin: encoding an answer: %v", err))
	}
}

// answerJSON answers 200 with v.
func (c *call) answerJSON(v any) {
	c.Header().Set("Content-Type", "application/json")
	writeJSON(c, v)
}
