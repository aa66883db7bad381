package upstream

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// HandshakeError is a TLS handshake that failed. Nothing of a request was sent.
type HandshakeError struct {
	// Address is with whom.
	Address string
	// Err is the reason.
	Err error
}

// Error implements error.
func (e *HandshakeError) Error() string {
	return "TLS handshake with " + e.Address + ": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *HandshakeError) Unwrap() error { return e.Err }

// StaleError is a request on a kept-alive connection that the upstream has closed instead of answering. Most often it had
// begun to close it for being idle when the request came.
type StaleError struct {
	// Err is what was noticed of that.
	Err error
}

// Error implements error.
func (e *StaleError) Error() string {
	return "the upstream closed the kept-alive connection that the request was sent on, without an answer: " + e.Err.Error() +
		" (set keep_alive.idle_timeout below the idle timeout of the upstream; to have such requests sent again, set request_buffers and retry_match)"
}

// Unwrap returns what was noticed.
func (e *StaleError) Unwrap() error { return e.Err }

// Failure is the kind of an error of a [Transport].
type Failure string

// The kinds of failures.
const (
	FailedDial    Failure = "dial"    // no connection could be made
	FailedTLS     Failure = "tls"     // the TLS handshake failed, or TLS later on
	FailedTimeout Failure = "timeout" // something took too long
	FailedClosed  Failure = "closed"  // the upstream closed the connection or gave up the request
	FailedOther   Failure = "other"   // something else, as a malformed response
)

// FailureOf returns what kind of failure err is, "" for nil.
func FailureOf(err error) Failure {
	var handshake *HandshakeError
	var alert *net.OpError
	var record tls.RecordHeaderError
	var timeout net.Error
	var quicAlert *quic.TransportError
	switch {
	case err == nil:
		return ""
	case IsDialError(err):
		return FailedDial
	case errors.As(err, &handshake), errors.As(err, &record), errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"):
		return FailedTLS
	case errors.As(err, &quicAlert) && quicAlert.ErrorCode.IsCryptoError():
		return FailedTLS
	case errors.As(err, &timeout) && timeout.Timeout():
		return FailedTimeout
	case isClosed(err):
		return FailedClosed
	}
	return FailedOther
}

func isClosed(err error) bool {
	for _, e := range [...]error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ECONNREFUSED} {
		if errors.Is(err, e) {
			return true
		}
	}
	var stale *StaleError
	var reset *http3.Error
	if errors.As(err, &stale) || errors.As(err, &reset) && reset.Remote {
		return true
	}
	// What net/http has no types for.
	text := err.Error()
	for _, part := range [...]string{"server closed idle connection", "http2: client conn", "GOAWAY", "received from peer"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
