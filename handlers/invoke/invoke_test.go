package invoke

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/headers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/handlers/subroute"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

func site(t *testing.T, doc string) *handlertest.Site {
	t.Helper()
	specs := append(match.Specs(), Spec(), headers.Spec(), staticresponse.Spec(), subroute.Spec(), errorhandler.Spec())
	return handlertest.New(t, doc, specs...)
}

const (
	call = `{"handler": "invoke", "name": "n"}`
	end  = `{"handle": [{"handler": "static_response", "body": "end"}]}`
)

func add(v string) string {
	return `{"handler": "headers", "response": {"add": {"X": ["` + v + `"]}}}`
}

func TestInvoke(t *testing.T) {
	for _, tt := range []struct {
		name, doc, header, body string
		status                  int
	}{
		{"the chain goes on", `"routes": [{"handle": [` + call + `, ` + add("after") + `]}, ` + end + `],
			"named_routes": {"n": {"handle": [` + add("in") + `]}}`, "in,after", "end", 200},
		{"the route answers", `"routes": [{"handle": [` + call + `]}, ` + end + `],
			"named_routes": {"n": {"handle": [{"handler": "static_response", "body": "named", "status_code": 201}]}}`, "", "named", 201},
		{"not matched", `"routes": [{"handle": [` + call + `]}, ` + end + `],
			"named_routes": {"n": {"match": [{"path": ["/other"]}], "handle": [` + add("in") + `]}}`, "", "end", 200},
		{"terminal", `"routes": [{"handle": [` + call + `, ` + add("after") + `]}, ` + end + `],
			"named_routes": {"n": {"handle": [` + add("in") + `], "terminal": true}}`, "in", "", 200},
		{"group", `"routes": [{"handle": [` + call + `, ` + call + `]}, {"group": "g", "handle": [` + add("no") + `]}, ` + end + `],
			"named_routes": {"n": {"group": "g", "handle": [` + add("in") + `]}}`, "in", "end", 200},
		{"within a subroute", `"routes": [{"handle": [{"handler": "subroute", "routes": [{"handle": [` + call + `]}]}]}, ` + end + `],
			"named_routes": {"n": {"handle": [` + add("in") + `]}}`, "in", "end", 200},
		{"within error routes", `"routes": [{"handle": [{"handler": "error", "status_code": 409}]}], "errors": {"routes": [{"handle": [` + call + `]}, ` + end + `]},
			"named_routes": {"n": {"handle": [` + add("in") + `]}}`, "in", "end", 409},
		{"unknown, no error routes", `"routes": [{"handle": [` + call + `]}, ` + end + `]`, "", "", 500},
		{"unknown, error route without status", `"routes": [{"handle": [` + call + `]}], "errors": {"routes": [` + end + `]}`, "", "end", 200},
		{"unknown, as error routes see it", `"routes": [{"handle": [` + call + `]}], "errors": {"routes": [{"handle": [{"handler": "static_response", "body": "{http.error}|{http.error.status_code}"}]}]}`,
			"", "invoke: route 'n' not found|{http.error.status_code}", 200},
		{"in a row is no nesting", `"routes": [{"handle": [` + strings.Repeat(call+",", 300) + add("after") + `]}, ` + end + `],
			"named_routes": {"n": {}}`, "after", "end", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := site(t, "{"+tt.doc+"}").Get("/")
			if got := strings.Join(rec.Header()["X"], ","); rec.Code != tt.status || got != tt.header || rec.Body.String() != tt.body {
				t.Errorf("%d, X %q, %q; want %d, %q, %q", rec.Code, got, rec.Body, tt.status, tt.header, tt.body)
			}
		})
	}
}

func TestRecursionEnds(t *testing.T) {
	for name, doc := range map[string]string{
		"itself":     `"named_routes": {"n": {"handle": [` + call + `]}}`,
		"each other": `"named_routes": {"n": {"handle": [{"handler": "invoke", "name": "m"}]}, "m": {"handle": [{"handler": "subroute", "routes": [{"handle": [` + call + `]}]}]}}`,
	} {
		s := site(t, `{"routes": [{"handle": [`+call+`]}], `+doc+`}`)
		var first error
		s.Errors = func(err, _ error) { first = err }
		if rec := s.Get("/"); rec.Code != 500 || handlers.StatusOf(first) != 500 || !strings.Contains(first.Error(), "invoke itself") {
			t.Errorf("%s: %d, %v", name, rec.Code, first)
		}
	}
}
