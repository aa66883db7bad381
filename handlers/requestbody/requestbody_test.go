package requestbody

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func site(t testing.TB, cfg string, f handlers.HandlerFunc) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [{"handler": "request_body"`+cfg+`}, {"handler": "f"}]}]}`, Spec(), handlertest.FuncSpec("f", f))
}

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		cfg, body, want string
		tooLarge        bool
	}{
		{`, "max_size": 5`, "", "", false},
		{`, "max_size": 5`, "1234", "1234", false},
		{`, "max_size": 5`, "12345", "12345", false},
		{`, "max_size": 5`, "123456", "12345", true},
		{`, "max_size": 1`, "123456", "1", true},
		{`, "max_size": 0`, "123456", "123456", false},
		{`, "max_size": -1`, "123456", "123456", false},
		{``, "123456", "123456", false},
		{`, "max_size": 5, "set": "123456"`, "a", "12345", true},
		{`, "max_size": 5, "set": "12345"`, "abcdefgh", "12345", false},
	} {
		readers := map[string]func(io.Reader) io.Reader{
			"all":         func(r io.Reader) io.Reader { return r },
			"one byte":    iotest.OneByteReader,
			"half":        iotest.HalfReader,
			"err at once": iotest.DataErrReader,
		}
		for name, split := range readers {
			var got string
			var err error
			s := site(t, c.cfg, func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
				var b []byte
				b, err = io.ReadAll(r.Body)
				got = string(b)
				if _, again := r.Body.Read(make([]byte, 1)); err != nil && again != err {
					t.Errorf("%s: the error was %v and is %v", c.cfg, err, again)
				}
				return errors.Join(err, r.Body.Close())
			})
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, httptest.NewRequest("POST", "/", split(strings.NewReader(c.body))))
			status := map[bool]int{false: 200, true: 413}[c.tooLarge]
			if got != c.want || (err != nil) != c.tooLarge || rec.Code != status {
				t.Errorf("%s, %q read %s: %q, %v, status %d; want %q, status %d", c.cfg, c.body, name, got, err, rec.Code, c.want, status)
			}
			var limit *http.MaxBytesError
			if c.tooLarge && !errors.As(err, &limit) {
				t.Errorf("%s: the error is %v", c.cfg, err)
			}
		}
	}
}

// TestBrokenBody: errors of the body itself stay as they are.
func TestBrokenBody(t *testing.T) {
	var err error
	s := site(t, `, "max_size": 5`, func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		_, err = io.ReadAll(r.Body)
		return nil
	})
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF))))
	if err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

// TestUnreadBody: the limit does nothing for who does not read.
func TestUnreadBody(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "request_body", "max_size": 1}, {"handler": "static_response", "body": "hi"}]}]}`, Spec(), staticresponse.Spec())
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest("POST", "/", strings.NewReader("123")))
	if rec.Code != 200 || rec.Body.String() != "hi" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ cfg, method, want string }{
		{`"{http.request.method} {nope}."`, "POST", "POST . length 6, header 3, chunked false"},
		{`"x"`, "GET", "x length 1, header 3, chunked false"},
		{`"{nope}"`, "POST", " length 0, header 3, chunked false"},
		{`"\\{x\\}"`, "POST", "{x} length 3, header 3, chunked false"},
	} {
		s := site(t, `, "set": `+c.cfg, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s length %d, header %s, chunked %v", b, r.ContentLength, r.Header.Get("Content-Length"), r.TransferEncoding != nil)
			return err
		})
		r := httptest.NewRequest(c.method, "/", strings.NewReader("abc"))
		r.Header.Set("Content-Length", "3")
		r.TransferEncoding = []string{"chunked"}
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r)
		if rec.Body.String() != c.want {
			t.Errorf("%s: %q, want %q", c.cfg, rec.Body, c.want)
		}
	}
}

// TestProxied: the error comes through a transport, and the connection to the
// client goes on with the answer.
func TestProxied(t *testing.T) {
	var got []byte
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) }))
	defer upstream.Close()
	proxy := func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		out, err := http.NewRequest("PUT", upstream.URL, r.Body)
		if err != nil {
			return err
		}
		out.ContentLength = r.ContentLength
		res, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			return handlers.NewError(http.StatusBadGateway, err)
		}
		return res.Body.Close()
	}
	for _, c := range []struct {
		cfg  string
		body io.Reader
		want int
	}{
		{`, "max_size": 100000`, strings.NewReader(strings.Repeat("x", 100_001)), 413},
		{`, "max_size": 100000`, io.MultiReader(strings.NewReader(strings.Repeat("x", 100_001))), 413}, // chunked
		{`, "max_size": 100000`, strings.NewReader(strings.Repeat("x", 100_000)), 200},
		{`, "max_size": 100000`, io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000))), 200},
		{`, "set": "abc"`, strings.NewReader("defg"), 200},
	} {
		s := httptest.NewServer(site(t, c.cfg, proxy))
		res, err := http.Post(s.URL, "text/plain", c.body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", c.cfg, res.StatusCode, c.want)
		}
		s.Close()
	}
	if string(got) != "abc" {
		t.Errorf("the upstream got %q", got)
	}
}
