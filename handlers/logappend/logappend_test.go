package logappend

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/handlertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

// run sends a POST through the handlers and then f, and returns the fields of the
// log entry and the response.
func run(t testing.TB, list, body string, f handlers.HandlerFunc) (string, *httptest.ResponseRecorder, error) {
	t.Helper()
	s := handlertest.New(t, `{"routes": [{"handle": [`+list+`, {"handler": "f"}]}]}`, Spec(), handlertest.FuncSpec("f", f),
		handlertest.FuncSpec("setvars", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			x := handlers.Of(r)
			x.SetVar("count", 7)
			x.SetVar("nothing", nil)
			return next.ServeHTTP(w, r)
		}))
	var fields []zap.Field
	var failure error
	s.Exchanges = func(x *handlers.Exchange) { fields = x.LogFields() }
	s.Errors = func(first, _ error) { failure = first }
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest("POST", "http://a.test:80/p?q=1", strings.NewReader(body)))
	return show(fields), rec, failure
}

// show writes fields with their types, in order.
func show(fields []zap.Field) string {
	var out []string
	for _, f := range fields {
		enc := zapcore.NewMapObjectEncoder()
		f.AddTo(enc)
		for k, v := range enc.Fields {
			out = append(out, fmt.Sprintf("%s=%T:%v", k, v, v))
		}
	}
	return strings.Join(out, " ")
}

func field(key, value string, more ...string) string {
	return fmt.Sprintf(`{"handler": "log_append", "key": %q, "value": %q%s}`, key, value, strings.Join(more, ""))
}

const early = `, "early": true`

func answer(body string) handlers.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		_, err := io.WriteString(w, body)
		return err
	}
}

func TestValues(t *testing.T) {
	vars := `{"handler": "setvars"}, `
	for _, c := range []struct{ name, list, want string }{
		{"a text", field("k", "some text"), "k=string:some text"},
		{"a placeholder", field("k", "{http.request.method}"), "k=string:POST"},
		{"a placeholder with a type", field("k", "{http.request.port}"), "k=int64:80"},
		{"an unknown placeholder", field("k", "{nope}"), "k=<nil>:<nil>"},
		{"a known one without a value", field("k", "{http.vars.nothing}"), "k=<nil>:<nil>"},
		{"placeholders in a text", field("k", "m={http.request.method}"), "k=string:m={http.request.method}"},
		{"two placeholders", field("k", "{http.request.method}{http.request.host}"), "k=string:{http.request.method}{http.request.host}"},
		{"a variable", vars + field("k", "count"), "k=int64:7"},
		{"a variable without a value", vars + field("k", "nothing"), "k=<nil>:<nil>"},
		{"the name of a variable that is not set", field("k", "count"), "k=string:count"},
		{"a variable of the server", field("k", "trusted_proxy"), "k=bool:false"},
		{"nothing at all", `{"handler": "log_append"}`, "=string:"},
		{"late ones are innermost first", field("a", "1") + "," + field("b", "2"), "b=string:2 a=string:1"},
		{"early ones come in order", field("a", "1") + "," + field("b", "2", early) + "," + field("c", "3", early), "b=string:2 c=string:3 a=string:1"},
		{"a repeated key", field("a", "1", early) + "," + field("a", "2"), "a=string:1 a=string:2"},
		{"late is after the handlers", field("k", "later"), "k=string:set by f"},
		{"early is before the handlers", field("k", "later", early), "k=string:later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, rec, err := run(t, c.list, "", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
				handlers.Of(r).SetVar("later", "set by f")
				_, err := io.WriteString(w, "body")
				return err
			})
			if got != c.want || err != nil || rec.Body.String() != "body" {
				t.Errorf("fields %q, error %v, body %q; want %q", got, err, rec.Body, c.want)
			}
		})
	}
}

func TestRequestBody(t *testing.T) {
	for value, text := range map[string]string{"{http.request.body}": "asked", "{http.request.body_base64}": "YXNrZWQ="} {
		for more, want := range map[string]string{early: "k=string:" + text, "": "k=string:" + text + " k=string:" + text} {
			got, rec, _ := run(t, field("k", value, more), "asked", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
				_, err := io.Copy(w, r.Body)
				return err
			})
			if got != want || rec.Body.String() != "asked" {
				t.Errorf("%s %s: %q, want %q; the handler read %q", value, more, got, want, rec.Body)
			}
		}
	}
}

func TestResponseBody(t *testing.T) {
	for value, text := range map[string]string{"{http.response.body}": "k=string:given", "{http.response.body_base64}": "k=string:Z2l2ZW4="} {
		for _, more := range []string{"", early} {
			got, rec, _ := run(t, field("k", value, more), "", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
				w.Header().Set("X", "1")
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, "gi")
				w.(http.Flusher).Flush()
				w.WriteHeader(http.StatusOK) // ignored
				if handlers.Of(r).Response.Status() != 0 {
					t.Error("the response went out before it was complete")
				}
				_, err := io.Copy(w, strings.NewReader("ven"))
				return err
			})
			if got != text || rec.Code != http.StatusTeapot || rec.Body.String() != "given" || rec.Header().Get("X") != "1" {
				t.Errorf("%s%s: field %q, response %d %q %v", value, more, got, rec.Code, rec.Body, rec.Header())
			}
		}
	}
	got, rec, _ := run(t, field("k", "{http.response.body}"), "", func(http.ResponseWriter, *http.Request, handlers.Next) error { return nil })
	if got != "k=string:" || rec.Body.Len() > 0 {
		t.Errorf("no response at all: %q, %q", got, rec.Body)
	}
	got, rec, err := run(t, field("k", "{http.response.body}"), "", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	if got != "k=string:" || rec.Code != 204 || err != nil {
		t.Errorf("a response without a body: %q, %d, %v", got, rec.Code, err)
	}
}

// TestResponseBodyOfError: what was held back is logged and not sent, so that
// error routes have their say.
func TestResponseBodyOfError(t *testing.T) {
	got, rec, err := run(t, field("k", "{http.response.body}"), "", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		w.Header().Set("Content-Length", "7")
		_, _ = io.WriteString(w, "partial")
		return handlers.NewError(http.StatusBadGateway, errors.New("broken"))
	})
	if got != "k=string:partial" || rec.Code != http.StatusBadGateway || rec.Body.Len() > 0 || rec.Header().Get("Content-Length") != "" || err == nil {
		t.Errorf("%q, %d %q %v, %v", got, rec.Code, rec.Body, rec.Header(), err)
	}
}

func TestError(t *testing.T) {
	got, rec, err := run(t, field("a", "1")+","+field("b", "2", early), "", func(http.ResponseWriter, *http.Request, handlers.Next) error {
		return handlers.NewError(http.StatusBadGateway, errors.New("broken"))
	})
	if got != "b=string:2 a=string:1" || rec.Code != http.StatusBadGateway || err == nil {
		t.Errorf("%q, %d, %v; want both fields and the error", got, rec.Code, err)
	}
}

// TestLongResponse: no more than the limit is held back or logged.
func TestLongResponse(t *testing.T) {
	for name, write := range map[string]func(io.Writer, []byte) (int, error){
		"by write": io.Writer.Write,
		"by read": func(w io.Writer, b []byte) (int, error) {
			n, err := w.(io.ReaderFrom).ReadFrom(bytes.NewReader(b))
			return int(n), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			whole := bytes.Repeat([]byte("0123456789abcdef"), maxBody/16+1)
			got, rec, err := run(t, field("k", "{http.response.body}"), "", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
				n, err := write(w, whole)
				if n != len(whole) || err != nil {
					t.Errorf("wrote %d of %d: %v", n, len(whole), err)
				}
				if handlers.Of(r).Response.Size() != int64(len(whole)) {
					t.Errorf("%d bytes went out, want all that is beyond the limit and what is before it", handlers.Of(r).Response.Size())
				}
				_, err = io.WriteString(w, "end")
				return err
			})
			if err != nil || len(got) != len("k=string:")+maxBody || !bytes.Equal(rec.Body.Bytes(), append(whole, "end"...)) {
				t.Errorf("%v; %d bytes logged, %d sent", err, len(got), rec.Body.Len())
			}
		})
	}
}

func TestInformationalAndHijack(t *testing.T) {
	under := httptest.NewRecorder()
	b := &buffer{under: under}
	b.WriteHeader(http.StatusEarlyHints)
	if b.passing || b.status != 0 {
		t.Error("an informational response counts as final")
	}
	if _, _, err := b.Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("hijack: %v", err)
	}
	if err := b.Push("/x", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("push: %v", err)
	}
	b.WriteHeader(http.StatusSwitchingProtocols)
	if !b.passing || b.Unwrap() != http.ResponseWriter(under) {
		t.Error("after a switch of protocols something is held back")
	}
	if err := b.FlushError(); err != nil || !under.Flushed {
		t.Errorf("flush of a response that is passed on: %v, %v", err, under.Flushed)
	}
}

func TestProblems(t *testing.T) {
	for _, cfg := range []string{`"keys": "x"`, `"key": 1`, `"early": "true"`} {
		if ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "log_append", `+cfg+`}]}]}`, Spec()); len(ps) != 1 {
			t.Errorf("%s: problems %v, want one", cfg, ps)
		}
	}
}
