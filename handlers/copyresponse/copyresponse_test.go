package copyresponse

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// upstream is a response that a proxy holds.
type upstream struct {
	header http.Header
	body   string
}

func (u *upstream) Header() http.Header { return u.header }

func (u *upstream) Copy(w http.ResponseWriter, _ *http.Request, status int) error {
	if status == 0 {
		status = http.StatusBadGateway
	}
	w.WriteHeader(status)
	_, err := io.WriteString(w, u.body)
	return err
}

// proxy puts a response into the exchange, as a proxy does for its routes.
func proxy(u *upstream) module.Spec {
	return handlertest.FuncSpec("proxy", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		if u != nil {
			handlers.Of(r).Upstream = u
		}
		return next.ServeHTTP(w, r)
	})
}

func do(t *testing.T, u *upstream, list string) *httptest.ResponseRecorder {
	t.Helper()
	specs := append(Specs(), staticresponse.Spec(), proxy(u))
	return handlertest.New(t, `{"routes":[{"handle":[{"handler":"proxy"},`+list+`]}]}`, specs...).Get("/", "S: 207")
}

func TestSpecs(t *testing.T) {
	for _, s := range Specs() {
		handlertest.CheckSpec(t, s)
	}
}

func TestCopy(t *testing.T) {
	for config, want := range map[string]string{
		`{"handler":"copy_response"}`:                                            "502 body",
		`{"handler":"copy_response","status_code":203}`:                          "203 body",
		`{"handler":"copy_response","status_code":"{http.request.header.S}"}`:    "207 body",
		`{"handler":"copy_response","status_code":"{http.request.header.Nope}"}`: "500 ",
		`{"handler":"copy_response","status_code":"x"}`:                          "500 ",
		`{"handler":"copy_response","status_code":101}`:                          "500 ",
	} {
		res := do(t, &upstream{body: "body"}, config)
		if got := strconv.Itoa(res.Code) + " " + res.Body.String(); got != want {
			t.Errorf("%s: %s, want %s", config, got, want)
		}
	}
	for _, name := range []string{"copy_response", "copy_response_headers"} {
		if res := do(t, nil, `{"handler":"`+name+`"},{"handler":"static_response","body":"reached"}`); res.Code != 500 {
			t.Errorf("%s outside of a proxy: %d", name, res.Code)
		}
	}
}

func TestCopyHeaders(t *testing.T) {
	for config, want := range map[string]string{
		``:                         "a=1,2 b=3 c=4",
		`,"include":["x-A"]`:       "a=1,2",
		`,"exclude":["X-a","x-b"]`: "c=4",
		`,"include":["X-None"]`:    "",
	} {
		u := &upstream{header: http.Header{"X-A": {"1", "2"}, "X-B": {"3"}, "X-C": {"4"}}}
		res := do(t, u, `{"handler":"copy_response_headers"`+config+`},{"handler":"static_response"}`)
		var got []string
		for _, n := range []string{"a", "b", "c"} {
			if v := res.Header().Values("X-" + n); v != nil {
				got = append(got, n+"="+strings.Join(v, ","))
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s, want %s", config, text, want)
		}
	}
	if ps := handlertest.Problems(t, `{"routes":[{"handle":[{"handler":"copy_response_headers","include":["A"],"exclude":["B"]}]}]}`, Specs()...); len(ps) != 1 || !strings.HasSuffix(ps[0].Pointer, "/exclude") {
		t.Error(ps)
	}
}
