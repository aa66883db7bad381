package staticresponse

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/headers"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func site(t testing.TB, handlers string) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [`+handlers+`]}]}`, Spec(), headers.Spec(), errorhandler.Spec(), handlertest.FailSpec())
}

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

func TestResponse(t *testing.T) {
	const text = "text/plain; charset=utf-8"
	tests := []struct {
		name, cfg string
		status    int
		body      string
		header    http.Header // what is checked; nil: absent
	}{
		{"nothing", `{"close": false}`, 200, "", http.Header{"Content-Type": nil}},
		{"body", `{"body": "hi"}`, 200, "hi", http.Header{"Content-Type": {text}}},
		{"status", `{"status_code": 404}`, 404, "", nil},
		{"status as text", `{"status_code": "404"}`, 404, "", nil},
		{"status with sign", `{"status_code": "+404"}`, 404, "", nil},
		{"status with placeholder", `{"status_code": "{http.request.header.S}"}`, 418, "", nil},
		{"fields", `{"headers": {"x-a": ["1", "{http.request.method}"], "X-{http.request.method}": ["{nope}-"]}}`, 200, "",
			http.Header{"X-A": {"1", "GET"}, "X-Get": {"-"}}},
		{"body in Known mode", `{"body": "{\"a\": {http.request.method}, {nope} \\{x\\}"}`, 200, `{"a": GET, {nope} {x}`, nil},
		{"JSON object", `{"body": "{\"a\":1}"}`, 200, `{"a":1}`, http.Header{"Content-Type": {"application/json"}}},
		{"JSON array", `{"body": "[1]"}`, 200, `[1]`, http.Header{"Content-Type": {"application/json"}}},
		{"JSON with space around", `{"body": " {\"a\":1} \n"}`, 200, " {\"a\":1} \n", http.Header{"Content-Type": {"application/json"}}},
		{"JSON after expansion", `{"body": "[\"{http.request.method}\"]"}`, 200, `["GET"]`, http.Header{"Content-Type": {"application/json"}}},
		{"short object", `{"body": "{}"}`, 200, "{}", http.Header{"Content-Type": {text}}},
		{"short array", `{"body": "[]"}`, 200, "[]", http.Header{"Content-Type": {text}}},
		{"not JSON", `{"body": "{bad}"}`, 200, "{bad}", http.Header{"Content-Type": {text}}},
		{"not JSON array", `{"body": "[a]"}`, 200, "[a]", http.Header{"Content-Type": {text}}},
		{"scalar", `{"body": "true"}`, 200, "true", http.Header{"Content-Type": {text}}},
		{"own type", `{"body": "hi", "headers": {"content-type": ["a/b"]}}`, 200, "hi", http.Header{"Content-Type": {"a/b"}}},
		{"no type", `{"body": "hi", "headers": {"Content-Type": []}}`, 200, "hi", http.Header{"Content-Type": nil}},
		{"close", `{"close": true}`, 200, "", http.Header{"Connection": {"close"}}},
		{"204 has no body", `{"status_code": 204, "body": "x"}`, 204, "", nil},
		{"304 has no body", `{"status_code": 304, "body": "x"}`, 304, "", nil},
		{"boolean status", `{"status_code": true, "body": "x"}`, 500, "", http.Header{"Content-Type": {text}}},
		{"object status", `{"status_code": {"a": 1}}`, 500, "", nil},
		{"text status", `{"status_code": "abc"}`, 500, "", nil},
		{"fraction", `{"status_code": 99.5}`, 500, "", nil},
		{"status with space", `{"status_code": " 200"}`, 500, "", nil},
		{"unknown placeholder", `{"status_code": "{nope}"}`, 500, "", nil},
		{"status 0", `{"status_code": 0}`, 500, "", nil},
		{"status 99", `{"status_code": 99}`, 500, "", nil},
		{"status 1000", `{"status_code": "1000", "headers": {"A": ["stays"]}}`, 500, "", http.Header{"A": {"stays"}}},
		{"long", `{"body": "` + strings.Repeat("x", 5000) + `"}`, 200, strings.Repeat("x", 5000), http.Header{"Content-Length": {"5000"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := site(t, strings.Replace(tt.cfg, "{", `{"handler": "static_response",`, 1)).Get("/", "S: 418")
			if rec.Code != tt.status || rec.Body.String() != tt.body {
				t.Errorf("%d %q, want %d %q", rec.Code, rec.Body, tt.status, tt.body)
			}
			for name, want := range tt.header {
				if got := rec.Result().Header[name]; len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestTypeSetEarlier(t *testing.T) {
	rec := site(t, `{"handler": "headers", "response": {"set": {"Content-Type": ["a/b"]}}}, {"handler": "static_response", "body": "x"}`).Get("/")
	if got := rec.Header().Get("Content-Type"); got != "a/b" {
		t.Errorf("Content-Type = %q; an earlier one stays", got)
	}
}

func TestFieldsReplaceEarlierOnes(t *testing.T) {
	rec := site(t, `{"handler": "headers", "response": {"set": {"A": ["0"], "B": ["0"]}}},
		{"handler": "static_response", "headers": {"a": ["1", "2"], "B": []}}`).Get("/")
	if h := rec.Result().Header; !reflect.DeepEqual(h["A"], []string{"1", "2"}) || len(h["B"]) != 0 {
		t.Errorf("header = %v", h)
	}
}

func TestEndsTheChain(t *testing.T) {
	rec := site(t, `{"handler": "static_response", "body": "a"}, {"handler": "static_response", "body": "b"}`).Get("/")
	if rec.Body.String() != "a" {
		t.Errorf("body = %q", rec.Body)
	}
}

func TestStatusInErrorRoutes(t *testing.T) {
	for _, tt := range []struct {
		primary, answer string
		status          int
		body            string
	}{
		{`{"handler": "error", "status_code": 418}`, `"body": "x"`, 418, "x"},
		{`{"handler": "error", "status_code": 418}`, `"body": "x", "status_code": 201`, 201, "x"},
		{`{"handler": "fail"}`, `"body": "x"`, 200, "x"},                    // has no status
		{`{"handler": "error", "status_code": 42}`, `"body": "x"`, 500, ""}, // cannot be sent
		{`{"handler": "error", "status_code": 42}`, `"body": "x", "status_code": 403`, 403, "x"},
	} {
		s := handlertest.New(t, `{"routes": [{"handle": [`+tt.primary+`]}], "errors": {"routes": [{"handle": [{"handler": "static_response", `+tt.answer+`}]}]}}`,
			Spec(), errorhandler.Spec(), handlertest.FailSpec())
		if rec := s.Get("/"); rec.Code != tt.status || rec.Body.String() != tt.body {
			t.Errorf("%s, %s: %d %q, want %d %q", tt.primary, tt.answer, rec.Code, rec.Body, tt.status, tt.body)
		}
	}
}

func TestBadStatusIsAnErrorWithAText(t *testing.T) {
	s := site(t, `{"handler": "static_response", "status_code": "abc"}`)
	if w := s.Warnings(); len(w) != 1 || w[0].Pointer != "/routes/0/handle/0/status_code" {
		t.Errorf("warnings = %v", w)
	}
	var first error
	s.Errors = func(err, _ error) { first = err }
	s.Get("/")
	if handlers.StatusOf(first) != 500 || !strings.Contains(first.Error(), `status_code "abc" is not a number`) {
		t.Errorf("error = %v", first)
	}
}

func TestBodyWithTooManyBraces(t *testing.T) {
	body := string(config.NewString(strings.Repeat("{", 200)).AppendJSON(nil))
	ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "static_response", "body": `+body+`}]}]}`, Spec())
	if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0/body" {
		t.Errorf("problems = %v", ps)
	}
}

func TestOverTheWire(t *testing.T) {
	long := strings.Repeat("y", 100_000)
	s := site(t, `{"handler": "static_response", "body": "`+long+`", "close": true}`)
	server := httptest.NewServer(s)
	defer server.Close()
	for _, method := range []string{"GET", "HEAD"} {
		req, _ := http.NewRequest(method, server.URL, nil)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := len(long)
		if method == "HEAD" {
			want = 0
		}
		if res.ContentLength != int64(len(long)) || len(body) != want || !res.Close {
			t.Errorf("%s: Content-Length %d, %d bytes, close %v", method, res.ContentLength, len(body), res.Close)
		}
	}
}

func TestAbort(t *testing.T) {
	s := site(t, `{"handler": "static_response", "abort": true, "status_code": 204, "body": "x"}`)
	served := make(chan int, 1)
	s.Exchanges = func(x *handlers.Exchange) { served <- x.Response.Status() }
	server := httptest.NewServer(s)
	defer server.Close()
	if res, err := http.Get(server.URL); err == nil {
		t.Errorf("got status %d, want a dropped connection", res.StatusCode)
	}
	if status := <-served; status != 0 {
		t.Errorf("status for the access log = %d, want 0", status)
	}
}

func TestEarlyHints(t *testing.T) {
	server := httptest.NewServer(site(t, `{"handler": "static_response", "status_code": 103, "headers": {"Link": ["</a.css>"]}, "body": "ignored"},
		{"handler": "static_response", "body": "final"}`))
	defer server.Close()
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, strconv.Itoa(code)+" "+h.Get("Link"))
		return nil
	}}
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", server.URL, nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || string(body) != "final" || res.Header.Get("Link") != "</a.css>" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
	if len(hints) != 1 || hints[0] != "103 </a.css>" {
		t.Errorf("informational responses: %q", hints)
	}
}

func TestTypeOf(t *testing.T) {
	for body, want := range map[string]bool{`{"a":}`: false, `{"a":1]`: false, `[{"a":1}]`: true, "": false, "{": false} {
		if got := typeOf(body) == "application/json"; got != want {
			t.Errorf("typeOf(%q) = %v", body, got)
		}
	}
	if _, err := parseStatus(strconv.Itoa(1 << 40)); err == nil {
		t.Error("a huge status was accepted")
	}
}

func BenchmarkStatic(b *testing.B) {
	s := site(b, `{"handler": "static_response", "body": "hello"}`)
	r := httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(&discard{header: http.Header{}}, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discard) WriteString(s string) (int, error) { return len(s), nil }
func (d *discard) WriteHeader(int)                   {}
