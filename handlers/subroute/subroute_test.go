package subroute

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/headers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/rewrite"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) {
	handlertest.CheckSpec(t, Spec(), rewrite.Spec(), staticresponse.Spec(), errorhandler.Spec())
}

func site(t *testing.T, doc string) *handlertest.Site {
	t.Helper()
	specs := append(match.Specs(), Spec(), headers.Spec(), staticresponse.Spec(), errorhandler.Spec(), rewrite.Spec(), handlertest.FailSpec())
	return handlertest.New(t, doc, specs...)
}

func add(v string) string {
	return `{"handler": "headers", "response": {"add": {"X": ["` + v + `"]}}}`
}

func body(text string) string { return `{"handler": "static_response", "body": "` + text + `"}` }

func fail(status string) string { return `{"handler": "error", "status_code": ` + status + `}` }

func only(handlers ...string) string { return `{"handle": [` + strings.Join(handlers, ",") + `]}` }

func last(handlers ...string) string {
	return `{"terminal": true, "handle": [` + strings.Join(handlers, ",") + `]}`
}

func sub(rest string) string { return `{"handler": "subroute"` + rest + `}` }

func TestSubroute(t *testing.T) {
	in := func(rs ...string) string { return `, "routes": [` + strings.Join(rs, ",") + `]` }
	catch := func(rs ...string) string { return `, "errors": {"routes": [` + strings.Join(rs, ",") + `]}` }
	for _, tt := range []struct {
		name         string
		routes       []string
		status       int
		header, body string
	}{
		{"without routes", []string{only(sub(""), add("after")), only(body("p"))}, 200, "after", "p"},
		{"null routes", []string{only(sub(`, "routes": null, "errors": null`), add("after")), only(body("p"))}, 200, "after", "p"},
		{"goes on", []string{only(sub(in(only(add("in")))), add("after")), only(body("p"))}, 200, "in,after", "p"},
		{"terminal", []string{only(sub(in(last(add("in")))), add("after")), only(body("p"))}, 200, "in", ""},
		{"groups of the request", []string{
			`{"group": "g", "handle": [` + add("1") + `]}`, only(sub(in(`{"group": "g", "handle": [`+add("2")+`]}`, only(add("3"))))), only(body("p")),
		}, 200, "1,3", "p"},
		{"catches what follows", []string{only(sub(in(only(add("in"))) + catch(only(body("caught {http.error.status_code}"))))), only(fail("409"))}, 409, "in", "caught 409"},
		{"catches its own", []string{only(sub(in(only(fail("410"))) + catch(only(body("caught {http.error.status_code}"))))), only(body("p"))}, 410, "", "caught 410"},
		{"error routes that do not match go on", []string{
			only(sub(in(only(fail("410")))+catch(`{"match": [{"path": ["/other"]}], "handle": [`+body("no")+`]}`)), add("after")), only(body("p")),
		}, 410, "after", "p"},
		{"empty errors", []string{only(sub(in(only(fail("410")))+`, "errors": {}`), add("after")), only(body("p"))}, 410, "after", "p"},
		{"what follows may run twice", []string{only(sub(in(only(add("in")))+`, "errors": {}`), add("after")), only(fail("410"))}, 410, "in,after,after", ""},
		{"error of the error routes", []string{only(sub(in(only(fail("410"))) + catch(only(fail("411")))))}, 411, "", ""},
		{"no errors field", []string{only(sub(in(only(fail("410"))))), only(body("p"))}, 410, "", ""},
		{"errors without routes", []string{only(sub(catch(only(body("caught")))), fail("409"))}, 409, "", "caught"},
		{"terminal error route that does not answer", []string{only(sub(in(only(fail("410"))) + catch(last(add("e"))))), only(body("p"))}, 410, "e", ""},
		{"later terminal, while an error is handled", []string{only(sub(in(only(fail("410"))) + `, "errors": {}`)), last(add("e"))}, 410, "e", ""},
		{"the URI stays as it is", []string{
			only(sub(in(only(`{"handler": "rewrite", "uri": "/new", "method": "PUT"}`, fail("410"))) + catch(only(body("{http.request.method} {http.request.uri}"))))),
		}, 410, "", "PUT /new"},
		{"unstructured error", []string{only(sub(in(only(`{"handler": "fail"}`)) + catch(only(body("{http.error} {http.error.status_code}")))))}, 200, "",
			"failed on purpose {http.error.status_code}"},
		{"inner catches first", []string{only(sub(in(only(sub(in(only(fail("410")))+catch(only(body("inner")))))) + catch(only(body("outer")))))}, 410, "", "inner"},
		{"outer catches the inner's error", []string{only(sub(in(only(sub(in(only(fail("410")))+catch(only(fail("411")))))) + catch(only(body("outer {http.error.status_code}")))))}, 411, "", "outer 411"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := site(t, `{"routes": [`+strings.Join(tt.routes, ",")+`]}`).Get("/")
			if got := strings.Join(rec.Header()["X"], ","); rec.Code != tt.status || got != tt.header || rec.Body.String() != tt.body {
				t.Errorf("%d, X %q, %q; want %d, %q, %q", rec.Code, got, rec.Body, tt.status, tt.header, tt.body)
			}
		})
	}
}

func TestFixture(t *testing.T) {
	s := site(t, `{"routes": [
		{"match": [{"path": ["/sub/*"]}], "handle": [{
			"handler": "subroute",
			"routes": [
				{"match": [{"path_regexp": {"name": "num", "pattern": "^/sub/(\\d+)$"}}], "handle": [{"handler": "static_response", "body": "n={http.regexp.num.1}"}], "terminal": true},
				{"handle": [{"handler": "error", "status_code": 422, "error": "not a number"}]}
			],
			"errors": {"routes": [{"handle": [{"handler": "static_response", "body": "{http.error.status_code} {http.error.message}"}], "terminal": true}]}
		}]},
		{"handle": [{"handler": "static_response", "body": "default {http.auth.user.id}"}]}
	]}`)
	for path, want := range map[string]string{"/sub/42": "n=42", "/sub/abc": "422 not a number", "/x": "default {http.auth.user.id}"} {
		if rec := s.Get(path); rec.Body.String() != want {
			t.Errorf("%s: %q, want %q", path, rec.Body, want)
		}
	}
}

func TestProblemsInErrorRoutesAreFound(t *testing.T) {
	bad := `{"handle": [{"handler": "nope"}]}`
	for doc, pointer := range map[string]string{
		`, "errors": {"routes": [` + bad + `]}`: "/errors/routes/0/handle/0/handler",
		`, "routes": [` + bad + `]`:             "/routes/0/handle/0/handler",
		`, "error": {}`:                         "/error",
		`, "errors": {"rotes": []}`:             "/errors/rotes",
	} {
		ps := handlertest.Problems(t, `{"routes": [`+only(sub(doc))+`]}`, Spec())
		if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0"+pointer {
			t.Errorf("%s: %v", doc, ps)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	doc := body("deep")
	for range 150 {
		doc = sub(`, "routes": [` + only(doc) + `]`)
	}
	s := site(t, `{"routes": [`+only(doc)+`]}`)
	var first error
	s.Errors = func(err, _ error) { first = err }
	if rec := s.Get("/"); rec.Code != 500 || handlers.StatusOf(first) != 500 {
		t.Errorf("%d %v", rec.Code, first)
	}
}

func TestNobodyToAnswerAfterAHijack(t *testing.T) {
	broken := errors.New("stream broke off")
	spec := handlertest.FuncSpec("hijack", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		_ = conn.Close()
		return broken
	})
	ran := make(chan struct{}, 1)
	spy := handlertest.FuncSpec("spy", func(http.ResponseWriter, *http.Request, handlers.Next) error { ran <- struct{}{}; return nil })
	s := handlertest.New(t, `{"routes": [`+only(sub(`, "routes": [`+only(`{"handler": "hijack"}`)+`], "errors": {"routes": [`+only(`{"handler": "spy"}`)+`]}`))+`]}`, Spec(), spec, spy)
	failed := make(chan error, 1)
	s.Errors = func(err, _ error) { failed <- err }
	server := httptest.NewServer(s)
	defer server.Close()
	if res, err := http.Get(server.URL); err == nil {
		t.Errorf("got %d from a hijacked connection", res.StatusCode)
	}
	if err := <-failed; !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
	select {
	case <-ran:
		t.Error("error routes ran for a connection that is gone")
	default:
	}
}
