package intercept

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/headers"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func specs(f handlers.HandlerFunc) []module.Spec {
	return []module.Spec{Spec(), staticresponse.Spec(), headers.Spec(), handlertest.FuncSpec("f", f)}
}

// origin answers with a status and a body.
func origin(status int, body string) handlers.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		w.Header().Set("X-Origin", "yes")
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(status)
		_, err := io.WriteString(w, body)
		return err
	}
}

func TestSpec(t *testing.T) {
	handlertest.CheckSpec(t, specs(nil)...)
}

func TestEntries(t *testing.T) {
	static := func(status int, body string) string {
		return fmt.Sprintf(`{"handle":[{"handler":"static_response","status_code":%d,"body":%q}]}`, status, body)
	}
	for _, tt := range []struct {
		entries string
		status  int
		want    string // status and body
	}{
		{`{"match":{"status_code":[5]},"status_code":200}`, 500, "200 x"},
		{`{"match":{"status_code":[5]},"status_code":200}`, 404, "404 x"},
		{`{"match":{"status_code":[5]}}`, 500, "500 x"},
		{`{"status_code":0}`, 500, "500 x"},
		{`{"status_code":"{http.request.header.S}"}`, 500, "418 x"},
		{`{"status_code":"nonsense"}`, 200, "500 x"},
		{`{"status_code":102}`, 200, "500 x"},
		{`{"routes":[` + static(201, "new") + `]}`, 500, "201 new"},
		{`{"routes":[{"handle":[{"handler":"headers","response":{"set":{"Y":["1"]}}}]}]}`, 500, "500 x"},
		{`{"routes":[]}`, 404, "404 x"},
		{`{"status_code":299,"routes":[{"handle":[{"handler":"static_response","body":"zz"}]}]}`, 500, "200 zz"},
		{`{"routes":[{"handle":[{"handler":"static_response","status_code":202}]}]}`, 500, "202 x"},
		{`{"routes":[` + static(200, "{http.intercept.status_code} {http.intercept.header.X-Two} {http.intercept.header.X-None}") + `]}`, 503, "200 503 a,b {http.intercept.header.X-None}"},
		{`{"match":{"headers":{"X-Origin":["no"]}},"status_code":201},{"match":{"headers":{"X-Origin":["y*"]}},"status_code":202},{"status_code":203}`, 500, "202 x"},
		{``, 500, "500 x"},
	} {
		s := handlertest.New(t, `{"routes":[{"handle":[{"handler":"intercept","handle_response":[`+tt.entries+`]},{"handler":"f"}]}]}`, specs(origin(tt.status, "x"))...)
		res := s.Get("/", "S: 418")
		if got := fmt.Sprintf("%d %s", res.Code, res.Body); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.entries, got, tt.want)
		}
		if res.Header().Get("X-Origin") != "yes" {
			t.Errorf("%s: the header of the original is gone", tt.entries)
		}
	}
}

func TestWarnings(t *testing.T) {
	for entry, want := range map[string]int{
		`{"status_code":"@x"}`: 1, `{"status_code":99}`: 1, `{"status_code":1000}`: 1, `{"status_code":true}`: 1, `{"status_code":200,"routes":[]}`: 1,
		`{"status_code":200}`: 0, `{"status_code":"{http.vars.x}"}`: 0, `{"status_code":0}`: 0, `{"routes":[]}`: 0, `{}`: 0,
	} {
		s := handlertest.New(t, `{"routes":[{"handle":[{"handler":"intercept","handle_response":[`+entry+`]}]}]}`, specs(nil)...)
		if got := s.Warnings(); len(got) != want || want > 0 && got[0].Pointer != "/routes/0/handle/0/handle_response/0/status_code" {
			t.Errorf("%s: %v", entry, got)
		}
	}
}

func TestErrorsAreNotIntercepted(t *testing.T) {
	var got error
	s := handlertest.New(t, `{"routes":[{"handle":[{"handler":"intercept","handle_response":[{"status_code":200}]},{"handler":"f"}]}]}`,
		specs(func(http.ResponseWriter, *http.Request, handlers.Next) error {
			return handlers.NewError(http.StatusTeapot, io.ErrUnexpectedEOF)
		})...)
	s.Errors = func(first, _ error) { got = first }
	if s.Get("/"); handlers.StatusOf(got) != http.StatusTeapot {
		t.Errorf("error %v", got)
	}
}

// TestLargeBody: what does not fit in memory comes back from a file.
func TestLargeBody(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 3*inMemory/16)
	s := handlertest.New(t, `{"routes":[{"handle":[{"handler":"intercept","handle_response":[{"routes":[{"handle":[{"handler":"headers","response":{"set":{"Y":["1"]}}}]}]}]},{"handler":"f"}]}]}`,
		specs(func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			for rest := body; rest != ""; rest = rest[min(len(rest), 100_000):] {
				if _, err := io.WriteString(w, rest[:min(len(rest), 100_000)]); err != nil {
					return err
				}
				http.NewResponseController(w).Flush() // kept back
			}
			return nil
		})...)
	res := s.Get("/")
	if res.Body.String() != body || res.Header().Get("Y") != "1" {
		t.Errorf("%d bytes of %d, Y: %q", res.Body.Len(), len(body), res.Header().Get("Y"))
	}
}

func TestInformationalStatusesPass(t *testing.T) {
	s := handlertest.New(t, `{"routes":[{"handle":[{"handler":"intercept","handle_response":[{"match":{"status_code":[1]},"status_code":500}]},{"handler":"f"}]}]}`,
		specs(func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusAccepted)
			return nil
		})...)
	server := httptest.NewServer(s)
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("status %d", res.StatusCode)
	}
}
