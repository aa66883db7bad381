package handlers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
)

// ErrOver is returned by a Next that is called after its request has ended or
// has let go of its generation.
var ErrOver = errors.New("the request is over; its handlers can no longer be called")

// Error is an error with an HTTP status: the one error type of handlers.
type Error struct {
	// Status is the HTTP status to answer with.
	Status int
	// Err is the cause; nil if there is nothing to say but the status.
	Err error
	// ID is a random text that ties a log entry to what a client was shown.
	ID string
	// Trace says which function made the error, and where.
	Trace string
	// Final says that a config wants the status for just this case, as in "=503". In an error route it therefore replaces
	// the status of the error that is being handled.
	Final bool
}

const idAlphabet = "abcdefghijkmnpqrstuvwxyz0123456789"

// NewError makes an Error with the status. If err already is or wraps an Error,
// its ID, trace and non-zero status are kept.
func NewError(status int, err error) *Error {
	var inner *Error
	if errors.As(err, &inner) {
		e := *inner
		if e.Status == 0 {
			e.Status = status
		}
		e.Err = err
		if inner == err { //nolint:errorlint // identity is meant: do not wrap an error in itself
			e.Err = inner.Err
		}
		return &e
	}
	var id [9]byte
	for i := range id {
		id[i] = idAlphabet[rand.IntN(len(idAlphabet))]
	}
	return &Error{Status: status, Err: err, ID: string(id[:]), Trace: caller()}
}

func caller() string {
	pc, file, line, ok := runtime.Caller(2)
	if !ok {
		return ""
	}
	name := runtime.FuncForPC(pc).Name()
	return name[strings.LastIndexByte(name, '/')+1:] + " (" + file[strings.LastIndexByte(file, '/')+1:] + ":" + strconv.Itoa(line) + ")"
}

// Error prints "{id=ID} TRACE: HTTP STATUS: MESSAGE", leaving out what is absent.
func (e *Error) Error() string {
	var b strings.Builder
	if e.ID != "" {
		fmt.Fprintf(&b, "{id=%s}", e.ID)
	}
	if e.Trace != "" {
		b.WriteString(" " + e.Trace)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.Status)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return strings.TrimPrefix(strings.TrimPrefix(b.String(), ": "), " ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Message is the cause's text, or the standard text of the status.
func (e *Error) Message() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return http.StatusText(e.Status)
}

// Answer is the error that a client is told of after first, when the error routes for it have failed with second: first,
// unless second is final.
func Answer(first, second error) error {
	var e *Error
	if errors.As(second, &e) && e.Final {
		return second
	}
	return first
}

// StatusOf is the status that err stands for: its own, or 500 if it has none.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Status != 0 {
		return e.Status
	}
	return http.StatusInternalServerError
}
