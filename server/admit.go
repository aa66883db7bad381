package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/urlpath"
	"github.com/sluiceproxy/sluice/server/logs"
)

const maxMethod = 32

var (
	errMethodTooLong = errors.New("the request method is longer than 32 bytes")
	errNoHost        = errors.New("the request has no Host")
	errPreface       = errors.New("the method PRI begins an HTTP/2 connection and is no request")
	errMethod        = errors.New("the request method is not a token")
	errHost          = errors.New("the host of the request has characters that no host has")
	errLength        = errors.New("the Content-Length of the request is not that of its body")
)

// admit makes the checks that come before the routes.
func (b *boundServer) admit(r *http.Request) error {
	if len(r.Method) > maxMethod {
		return handlers.NewError(http.StatusMethodNotAllowed, errMethodTooLong)
	}
	if r.Host == "" && r.ProtoMajor == 1 && r.ProtoMinor == 1 {
		return handlers.NewError(http.StatusBadRequest, errNoHost)
	}
	if err := wellFormed(r); err != nil {
		return handlers.NewError(http.StatusBadRequest, err)
	}
	if b.strictSNI && r.TLS != nil && !strings.EqualFold(urlpath.Host(r.Host), r.TLS.ServerName) {
		return handlers.NewError(http.StatusMisdirectedRequest, fmt.Errorf("strict host matching: the TLS server name %q is not the host %q of the request", r.TLS.ServerName, r.Host))
	}
	b.filter.Filter(r.Header, func(name string, repeated bool) {
		log := b.Logger("http.log")
		if repeated {
			log.Warn("dropped request header: it has several values, and its name is not safe to merge", logs.HeaderName(name))
			return
		}
		log.Debug("dropped request header: its name has an underscore or a dot and is not expected", logs.HeaderName(name))
	})
	return nil
}

// wellFormed finds what the protocol servers let through and another server may
// take for something else than we do.
func wellFormed(r *http.Request) error {
	switch {
	case r.Method == "PRI":
		return errPreface
	case r.ProtoMajor < 2: // net/http has looked at the rest
		return nil
	case !httpguts.ValidHeaderFieldName(r.Method): // a token, as methods are
		return errMethod
	case !httpguts.ValidHostHeader(r.Host):
		return errHost
	case !lengthHolds(r):
		return errLength
	}
	return nil
}

// lengthHolds reports whether the Content-Length lines of an HTTP/2 or HTTP/3
// request are what the protocol server took from them. It takes what is no number
// for 0 and looks at the first line only (RFC 9113 section 8.1.1).
func lengthHolds(r *http.Request) bool {
	for _, line := range r.Header["Content-Length"] {
		if line == "" {
			return false
		}
		for i := range len(line) {
			if line[i] < '0' || line[i] > '9' {
				return false
			}
		}
		if n, err := strconv.ParseInt(line, 10, 64); err != nil || n != r.ContentLength {
			return false
		}
	}
	return true
}
