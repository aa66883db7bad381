package rewrite

import (
	"testing"

	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

const show = `{"handler": "static_response", "body": "{http.request.method} {http.request.uri} was {http.request.orig_method} {http.request.orig_uri}"}`

func TestRewriteReachesLaterHandlers(t *testing.T) {
	for cfg, want := range map[string]string{
		`"uri": "/foo"`:               "GET /foo?a=1 was GET /bar?a=1",
		`"method": "put", "uri": "?"`: "PUT /bar was GET /bar?a=1",
		`"strip_path_prefix": "/bar"`: "GET /?a=1 was GET /bar?a=1",
		`"strip_path_suffix": "r"`:    "GET /ba?a=1 was GET /bar?a=1",
		`"uri_substring": [{"find": "a", "replace": "{http.request.uri.query.a}", "limit": 1}]`: "GET /b1r?1=1 was GET /bar?a=1",
		`"path_regexp": [{"find": "(b)(a)", "replace": "$2$1"}]`:                                "GET /abr?a=1 was GET /bar?a=1",
		`"query": {"add": [{"key": "b", "val": "2"}]}`:                                          "GET /bar?a=1&b=2 was GET /bar?a=1",
		`"query": {}`: "GET /bar?a=1 was GET /bar?a=1",
	} {
		rec := handlertest.New(t, `{"routes": [{"handle": [{"handler": "rewrite", `+cfg+`}]}, {"handle": [`+show+`]}]}`, Spec(), staticresponse.Spec()).Get("/bar?a=1")
		if rec.Body.String() != want {
			t.Errorf("%s: %s, want %s", cfg, rec.Body, want)
		}
	}
}

func TestErrorRoutesSeeTheOriginal(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "rewrite", "method": "POST", "uri": "/b?c"}, {"handler": "error", "status_code": 418}]}],
		"errors": {"routes": [{"handle": [{"handler": "static_response", "body": "{http.request.method} {http.request.uri}"}]}]}}`,
		Spec(), staticresponse.Spec(), errorhandler.Spec())
	if rec := s.Get("/a?b"); rec.Code != 418 || rec.Body.String() != "GET /a?b" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestProblems(t *testing.T) {
	for cfg, pointer := range map[string]string{
		`"path_regexp": [{"find": ""}]`:                  "/path_regexp/0/find",
		`"path_regexp": [{"replace": "x"}]`:              "/path_regexp/0/find",
		`"path_regexp": [{"find": "("}]`:                 "/path_regexp/0/find",
		`"query": {"replace": [{"search_regexp": "("}]}`: "/query/replace/0/search_regexp",
		`"query": {"bogus": 1}`:                          "/query/bogus",
		`"uri_substring": [{"find": "a", "limit": 1.5}]`: "/uri_substring/0/limit",
		`"uri": 1`: "/uri",
	} {
		ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "rewrite", `+cfg+`}]}]}`, Spec())
		if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0"+pointer {
			t.Errorf("%s: %v", cfg, ps)
		}
	}
}
