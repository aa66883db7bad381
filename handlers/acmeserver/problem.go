package acmeserver

import (
	"fmt"
	"net/http"
)

// problem is an error as clients are told of it: RFC 8555 section 6.7, RFC 7807.
type problem struct {
	Type        string      `json:"type"`
	Detail      string      `json:"detail"`
	Status      int         `json:"status,omitempty"`
	Identifier  *identifier `json:"identifier,omitempty"`
	Algorithms  []string    `json:"algorithms,omitempty"`
	Subproblems []*problem  `json:"subproblems,omitempty"`

	location   string // for the header Location
	retryAfter string // for the header Retry-After
}

const problemNamespace = "urn:ietf:params:acme:error:"

// Error implements error.
func (p *problem) Error() string { return p.Type + ": " + p.Detail }

func newProblem(kind string, status int, detail string) *problem {
	return &problem{Type: problemNamespace + kind, Detail: detail, Status: status}
}

func malformed(format string, args ...any) *problem {
	return newProblem("malformed", http.StatusBadRequest, fmt.Sprintf(format, args...))
}

func unauthorized(format string, args ...any) *problem {
	return newProblem("unauthorized", http.StatusForbidden, fmt.Sprintf(format, args...))
}

func notFound(detail string) *problem { return newProblem("notFound", http.StatusNotFound, detail) }

func orderNotReady(format string, args ...any) *problem {
	return newProblem("orderNotReady", http.StatusForbidden, fmt.Sprintf(format, args...))
}

func badCSR(format string, args ...any) *problem {
	return newProblem("badCSR", http.StatusBadRequest, fmt.Sprintf(format, args...))
}

func badPublicKey(format string, args ...any) *problem {
	return newProblem("badPublicKey", http.StatusBadRequest, fmt.Sprintf(format, args...))
}

func rejected(id identifier, detail string) *problem {
	return newProblem("rejectedIdentifier", http.StatusForbidden, detail).of(id)
}

// rateLimited says that there is no more room, for a while.
func rateLimited(detail string) *problem {
	p := newProblem("rateLimited", http.StatusTooManyRequests, detail)
	p.retryAfter = "3600"
	return p
}

// of says which name of an order a problem is about.
func (p *problem) of(id identifier) *problem {
	if len(id.Value) > 253 {
		id.Value = id.Value[:253]
	}
	p.Identifier = &id
	return p
}

// together makes one problem of one or more.
func together(list []*problem) *problem {
	if len(list) == 1 {
		return list[0]
	}
	p := *list[0]
	p.Detail = fmt.Sprintf("%d names are refused; the first: %s", len(list), p.Detail)
	p.Identifier, p.Subproblems = nil, list
	return &p
}
