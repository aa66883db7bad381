package errorhandler

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

const answer = `{"handle": [{"handler": "static_response", "body": "{http.error.status_code}|{http.error.status_text}|{http.error.message}"}]}`

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		cfg, errorRoutes string
		status           int
		body             string
	}{
		{`"status_code": 418`, ``, 418, ""},
		{`"error": "x"`, ``, 500, ""},
		{`"status_code": 418`, `{"handle": []}`, 418, ""},
		{`"status_code": 418`, `{"handle": [{"handler": "error", "status_code": 503}]}`, 418, ""},
		{`"status_code": 200`, ``, 200, ""},
		{`"status_code": 409, "error": "no {http.request.method} of {nope}"`, answer, 409, "409|Conflict|no GET of {nope}"},
		{`"status_code": 409`, answer, 409, "409|Conflict|"},
		{`"status_code": "{http.request.header.S}", "error": "m"`, answer, 410, "410|Gone|m"},
		{`"error": "m"`, answer, 500, "500|Internal Server Error|m"},
		{`"status_code": "zz", "error": "m"`, answer, 500, `500|Internal Server Error|status_code "zz" is not a number`},
		{`"status_code": "{nope}", "error": "m"`, answer, 500, `500|Internal Server Error|status_code "" is not a number`},
		{`"status_code": true`, answer, 500, `500|Internal Server Error|status_code "true" is not a number`},
		{`"status_code": 0`, ``, 500, ""},
		{`"status_code": 1000`, ``, 500, ""},
		{`"status_code": 499`, `{"terminal": true}, ` + answer, 499, ""},
	} {
		s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "error", `+tt.cfg+`}, {"handler": "static_response", "body": "not reached"}]}],
			"errors": {"routes": [`+tt.errorRoutes+`]}}`, Spec(), staticresponse.Spec())
		if rec := s.Get("/", "S: 410"); rec.Code != tt.status || rec.Body.String() != tt.body {
			t.Errorf("%s, %s: %d %q, want %d %q", tt.cfg, tt.errorRoutes, rec.Code, rec.Body, tt.status, tt.body)
		}
	}
}

func TestErrorIsStructured(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "error", "error": "why", "status_code": 403}]}]}`, Spec())
	var first error
	s.Errors = func(err, _ error) { first = err }
	s.Get("/")
	var e *handlers.Error
	if !errors.As(first, &e) || e.Status != 403 || len(e.ID) != 9 || !strings.Contains(e.Trace, "errorhandler.go") || e.Err.Error() != "why" {
		t.Errorf("error = %#v", first)
	}
}

func TestBadStatusWarns(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "error", "status_code": 1.5}]}]}`, Spec())
	if w := s.Warnings(); len(w) != 1 || w[0].Pointer != "/routes/0/handle/0/status_code" {
		t.Errorf("warnings = %v", w)
	}
	ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "error", "error": "`+strings.Repeat("{", 200)+`"}]}]}`, Spec())
	if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0/error" {
		t.Errorf("problems = %v", ps)
	}
}
