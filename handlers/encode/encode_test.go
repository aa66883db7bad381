package encode

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func site(t testing.TB, cfg string, f handlers.HandlerFunc) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [{"handler": "encode", `+cfg+`}, {"handler": "f"}]}]}`, append(Specs(), handlertest.FuncSpec("f", f))...)
}

func serve(t testing.TB, cfg string, f handlers.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(site(t, cfg, f))
	t.Cleanup(s.Close)
	return s
}

// client adds no Accept-Encoding of its own.
var client = &http.Transport{DisableCompression: true}

// fetch sends a request with the lines as header and returns the answer with
// its body as it was sent.
func fetch(t testing.TB, method, url string, lines ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	res, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

// decoder reads a body of the encoding.
func decoder(t testing.TB, encoding string, r io.Reader) io.Reader {
	t.Helper()
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	case "br":
		return brotli.NewReader(r)
	}
	return r
}

func decoded(t testing.TB, encoding string, b []byte) string {
	t.Helper()
	out, err := io.ReadAll(decoder(t, encoding, bytes.NewReader(b)))
	if err != nil {
		t.Fatalf("%s: %v", encoding, err)
	}
	return string(out)
}

// text is n bytes that are worth compressing.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a text, %x\n", i, i*i*2654435761)
	}
	return b.String()[:n]
}

// answer writes a response: the lines as header, the status unless it is 0, then
// the pieces.
func answer(status int, header []string, pieces ...string) handlers.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		for _, l := range header {
			name, value, _ := strings.Cut(l, ": ")
			w.Header().Add(name, value)
		}
		if status != 0 {
			w.WriteHeader(status)
		}
		for _, p := range pieces {
			if _, err := w.Write([]byte(p)); err != nil {
				return err
			}
		}
		return nil
	}
}

const (
	gz    = `"encodings": {"gzip": {}}`
	every = `"match": {}`
)

func TestSpecs(t *testing.T) {
	handlertest.CheckSpec(t, Specs()...)
}

func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		token, settings string
		size            int
	}{
		{"gzip", `{}`, 300_000}, {"gzip", `{"level": -3}`, 20_000}, {"gzip", `{"level": -2}`, 20_000}, {"gzip", `{"level": -1}`, 20_000},
		{"gzip", `{"level": 1}`, 20_000}, {"gzip", `{"level": 9}`, 20_000},
		{"zstd", `{}`, 300_000}, {"zstd", `{"level": "fastest"}`, 140_000}, {"zstd", `{"level": "Better"}`, 140_000},
		{"zstd", `{"level": "BEST", "checksum": true}`, 140_000}, {"zstd", `{"checksum": false}`, 140_000},
		{"br", `{}`, 300_000}, {"br", `{"quality": 0}`, 20_000}, {"br", `{"quality": 11}`, 20_000},
	} {
		body := text(c.size)
		s := serve(t, `"encodings": {"`+c.token+`": `+c.settings+`}`, answer(0, []string{"Content-Type: text/plain"}, body))
		for range 2 { // the second one uses a pooled encoder
			res, b := fetch(t, "GET", s.URL, "Accept-Encoding: "+c.token)
			if got := res.Header.Get("Content-Encoding"); got != c.token {
				t.Fatalf("%s %s: Content-Encoding is %q", c.token, c.settings, got)
			}
			if decoded(t, c.token, b) != body {
				t.Errorf("%s %s: another body", c.token, c.settings)
			}
			if len(b) >= len(body) {
				t.Errorf("%s %s: %d bytes became %d", c.token, c.settings, len(body), len(b))
			}
			if c.token == "zstd" {
				checkFrame(t, b, !strings.Contains(c.settings, "false"))
			}
		}
		s.Close()
	}
}

// checkFrame looks at the header of a zstd frame.
func checkFrame(t *testing.T, b []byte, checksum bool) {
	t.Helper()
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		t.Fatal(err)
	}
	if h.WindowSize != 128<<10 || h.HasCheckSum != checksum {
		t.Errorf("the window is %d, the checksum %v; want 131072, %v", h.WindowSize, h.HasCheckSum, checksum)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ cfg, pointer, message string }{
		{`"encodings": {"deflate": {}}`, "/encodings/deflate", "deflate"},
		{`"encodings": {"gzip": {"level": 10}}`, "/encodings/gzip/level", "9"},
		{`"encodings": {"gzip": {"level": -4}}`, "/encodings/gzip/level", "-3"},
		{`"encodings": {"gzip": {"level": "5"}}`, "/encodings/gzip/level", ""},
		{`"encodings": {"gzip": {"quality": 5}}`, "/encodings/gzip/quality", "quality"},
		{`"encodings": {"zstd": {"level": "hard"}}`, "/encodings/zstd/level", "fastest, default, better, best"},
		{`"encodings": {"br": {"quality": 12}}`, "/encodings/br/quality", "11"},
		{`"encodings": {"gzip": {}}, "prefer": ["gzip", "zstd"]`, "/prefer/1", `"zstd"`},
		{`"encodings": {"gzip": {}}, "prefer": ["gzip", "gzip"]`, "/prefer/1", "twice"},
		{`"encodings": {"gzip": {}}, "minimum_length": "1k"`, "/minimum_length", ""},
		{`"encodings": {"gzip": {}}, "match": {"statuscode": []}`, "/match/statuscode", ""},
	} {
		ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "encode", `+c.cfg+`}]}]}`, Specs()...)
		if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0"+c.pointer || !strings.Contains(ps[0].Message, c.message) {
			t.Errorf("%s: %v, want one at %s with %q", c.cfg, ps, c.pointer, c.message)
		}
	}
}

func TestDefaultPreference(t *testing.T) {
	f := answer(0, []string{"Content-Type: text/plain"}, text(1000))
	for _, c := range []struct{ cfg, accept, want string }{
		{`"encodings": {"gzip": {}, "zstd": {}, "br": {}}`, "gzip, br, zstd", "zstd"},
		{`"encodings": {"gzip": {}, "zstd": {}, "br": {}}`, "gzip, br", "br"},
		{`"encodings": {"gzip": {}, "zstd": {}, "br": {}}`, "gzip, br;q=0.9", "gzip"},
		{`"encodings": {"gzip": {}, "zstd": {}}, "prefer": ["gzip"]`, "zstd, gzip", "gzip"},
		{`"encodings": {"gzip": {}, "zstd": {}}, "prefer": ["gzip", "zstd"]`, "zstd, gzip", "gzip"},
		{`"encodings": {}`, "gzip", ""},
		{`"prefer": []`, "gzip", ""},
	} {
		res := site(t, c.cfg, f).Get("/", "Accept-Encoding: "+c.accept)
		if got := res.Header().Get("Content-Encoding"); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.cfg, c.accept, got, c.want)
		}
		if vary := res.Header().Get("Vary"); (vary != "") != (c.want != "") {
			t.Errorf("%s, %s: Vary is %q", c.cfg, c.accept, vary)
		}
	}
}

func TestWhatIsEncoded(t *testing.T) {
	plain := []string{"Content-Type: text/plain"}
	with := func(lines ...string) []string { return append(slices.Clone(plain), lines...) }
	for _, c := range []struct {
		name string
		cfg  string
		f    handlers.HandlerFunc
		want bool
	}{
		{"512 bytes", gz, answer(0, plain, text(512)), false},
		{"513 bytes", gz, answer(0, plain, text(513)), true},
		{"1 byte, minimum 1", gz + `, "minimum_length": 1`, answer(0, plain, "1"), false},
		{"2 bytes, minimum 1", gz + `, "minimum_length": 1`, answer(0, plain, "12"), true},
		{"the first piece counts", gz, answer(0, plain, "x", text(5000)), false},
		{"an empty first piece does not", gz, answer(200, plain, "", "", text(5000)), true},
		{"small pieces of a known length", gz, answer(0, with("Content-Length: 600"), text(600)[:100], text(600)[100:]), true},
		{"a known length that is small", gz, answer(200, with("Content-Length: 512"), text(512)), false},
		{"a length that is no number", gz, answer(0, with("Content-Length: many"), text(100)), false},
		{"a length that is no number and more", gz, answer(200, with("Content-Length: many"), text(5000)), true},
		{"with a status", gz, answer(404, plain, text(5000)), true},
		{"partial content", gz, answer(206, plain, text(5000)), false},
		{"partial content that matches", gz + `, ` + every, answer(206, nil, text(5000)), false},
		{"encoded already", gz, answer(0, with("Content-Encoding: br"), text(5000)), false},
		{"identity is an encoding, too", gz, answer(0, with("Content-Encoding: identity"), text(5000)), false},
		{"no-transform", gz, answer(0, with("Cache-Control: public, no-transform"), text(5000)), false},
		{"other cache control", gz, answer(0, with("Cache-Control: public"), text(5000)), true},
		{"a type of capitals", gz, answer(0, []string{"Content-Type: Text/Plain"}, text(5000)), false},
		{"a picture", gz, answer(0, []string{"Content-Type: image/png"}, text(5000)), false},
		{"json", gz, answer(0, []string{"Content-Type: application/json; charset=utf-8"}, text(5000)), true},
		{"grpc", gz, answer(0, []string{"Content-Type: application/grpc"}, text(5000)), false},
		{"match of a status", gz + `, "match": {"status_code": [4]}`, answer(404, nil, text(5000)), true},
		{"match of another status", gz + `, "match": {"status_code": [4]}`, answer(0, plain, text(5000)), false},
		{"match of a field", gz + `, "match": {"headers": {"X-A": ["*"]}}`, answer(0, []string{"X-A: b"}, text(5000)), true},
		{"match of everything", gz + `, ` + every, answer(0, []string{"Content-Type: image/png"}, text(5000)), true},
		{"a null match", gz + `, "match": null`, answer(0, []string{"Content-Type: image/png"}, text(5000)), false},
		{"a negative minimum", gz + `, "minimum_length": -1`, answer(0, plain, text(5000)), false},
		{"a negative minimum and a length", gz + `, "minimum_length": -1`, answer(200, with("Content-Length: 5000"), text(5000)), false},
		{"a negative minimum and no type", gz + `, "minimum_length": -1`, answer(0, nil, text(5000)), false},
		{"a type that is found out", gz, answer(0, nil, text(5000)), true},
		{"a type that is suppressed", gz, func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			w.Header()["Content-Type"] = nil
			return answer(200, nil, text(5000))(w, r, next)
		}, true},
		{"no content", gz + `, ` + every, answer(204, nil), false},
		{"an event stream", gz, answer(200, []string{"Content-Type: Text/Event-Stream; charset=utf-8"}), false}, // matching is exact
		{"an event stream without events", gz, answer(200, []string{"Content-Type: text/event-stream"}), true},
		{"an event stream, status not written", gz, answer(0, []string{"Content-Type: text/event-stream"}, "data: 1\n\n"), true},
		{"an event stream and a negative minimum", gz + `, "minimum_length": -1`, answer(0, []string{"Content-Type: text/event-stream;a=b"}, "data: 1\n\n"), true},
		{"an event stream of capitals", gz + `, ` + every, answer(0, []string{"Content-Type: TEXT/EVENT-STREAM"}, "data: 1\n\n"), true},
		{"no event stream", gz, answer(0, []string{"Content-Type: text/event-stream x"}, "data: 1\n\n"), false},
		{"nothing written", gz, answer(0, nil), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.cfg, c.f)
			// The same response without encoding.
			bare, body := fetch(t, "GET", s.URL)
			res, b := fetch(t, "GET", s.URL, "Accept-Encoding: gzip")
			if bare.Header.Get("Vary") != "" || bare.StatusCode != res.StatusCode {
				t.Errorf("without encoding: %d %v, with: %d", bare.StatusCode, bare.Header, res.StatusCode)
			}
			own := bare.Header.Get("Content-Encoding")
			if !c.want {
				if e := res.Header.Get("Content-Encoding"); e != own || !bytes.Equal(b, body) || res.Header.Get("Vary") != "" {
					t.Errorf("Content-Encoding %q, %d bytes, want %q, %d", e, len(b), own, len(body))
				}
				return
			}
			h := res.Header
			if h.Get("Content-Encoding") != "gzip" || !slices.Equal(h["Vary"], []string{"Accept-Encoding"}) || h.Get("Content-Type") == "" {
				t.Fatalf("header is %v", h)
			}
			if got := decoded(t, "gzip", b); got != string(body) {
				t.Errorf("the body is %q, want %q", got, body)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		name   string
		header http.Header
		want   http.Header // what differs
	}{
		{"fields that go", http.Header{"Content-Length": {"5000"}, "Accept-Ranges": {"bytes"}}, http.Header{"Vary": {"Accept-Encoding"}}},
		{"strong tag", http.Header{"Etag": {`"abc"`}}, http.Header{"Etag": {`"abc-gzip"`}, "Vary": {"Accept-Encoding"}}},
		{"weak tag", http.Header{"Etag": {`W/"abc"`}}, http.Header{"Etag": {`W/"abc"`}, "Vary": {"Accept-Encoding"}}},
		{"broken tags", http.Header{"Etag": {`"abc`}}, http.Header{"Etag": {`"abc`}, "Vary": {"Accept-Encoding"}}},
		{"a lone quote", http.Header{"Etag": {`"`}}, http.Header{"Etag": {`"`}, "Vary": {"Accept-Encoding"}}},
		{"empty tag", http.Header{"Etag": {`""`}}, http.Header{"Etag": {`"-gzip"`}, "Vary": {"Accept-Encoding"}}},
		{"other vary", http.Header{"Vary": {"Cookie"}}, http.Header{"Vary": {"Cookie", "Accept-Encoding"}}},
		{"covered", http.Header{"Vary": {"Cookie, accept-encoding , X"}}, http.Header{"Vary": {"Cookie, accept-encoding , X"}}},
		{"covered by a later line", http.Header{"Vary": {"Cookie", "Accept-Encoding"}}, http.Header{"Vary": {"Cookie", "Accept-Encoding"}}},
		{"covered by all", http.Header{"Vary": {"*"}}, http.Header{"Vary": {"*"}}},
		{"not covered", http.Header{"Vary": {"Accept-Encoding-X"}}, http.Header{"Vary": {"Accept-Encoding-X", "Accept-Encoding"}}},
	} {
		given := c.header.Clone()
		res := site(t, gz, func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			maps.Copy(w.Header(), c.header)
			w.Header().Set("Content-Type", "text/plain")
			_, err := io.WriteString(w, text(5000))
			return err
		}).Get("/", "Accept-Encoding: gzip")
		want := c.want.Clone()
		want["Content-Type"], want["Content-Encoding"] = []string{"text/plain"}, []string{"gzip"}
		if got := res.Result().Header; !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		delete(c.header, "Content-Type")
		if !maps.EqualFunc(given, c.header, slices.Equal) {
			t.Errorf("%s: the handler's values were changed to %v", c.name, c.header)
		}
	}
}

func TestIfNoneMatch(t *testing.T) {
	for _, c := range []struct{ accept, line, want string }{
		{"gzip", `"abc-gzip"`, `"abc"`},
		{"gzip", `"abc"`, `"abc"`},
		{"gzip", `W/"abc-gzip"`, `W/"abc-gzip"`},
		{"gzip", `"abc-zstd"`, `"abc-zstd"`},
		{"zstd", `"abc-zstd"`, `"abc"`},
		{"br", `"abc-gzip"`, `"abc-gzip"`},
		{"", `"abc-gzip"`, `"abc-gzip"`},
		{"gzip", `"-gzip"`, `""`},
		{"gzip", `*`, `*`},
		{"gzip", `abc-gzip"`, `abc-gzip"`},
		{"gzip", `"a,b-gzip", W/"c-gzip","d-gzip" , "e"`, `"a,b", W/"c-gzip","d" , "e"`},
	} {
		var got string
		r := httptest.NewRequest("GET", "/", nil)
		lines := []string{c.line}
		r.Header["If-None-Match"] = lines
		r.Header.Set("Accept-Encoding", c.accept)
		site(t, `"encodings": {"gzip": {}, "zstd": {}}`, func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			got = r.Header.Get("If-None-Match")
			return nil
		}).ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want || lines[0] != c.line {
			t.Errorf("%s, %s: %s, want %s", c.accept, c.line, got, c.want)
		}
	}
}

// TestRevalidation is what a browser does with a tag of an encoded response.
func TestRevalidation(t *testing.T) {
	s := serve(t, gz, func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Type", "text/css")
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		_, err := io.WriteString(w, text(2000))
		return err
	})
	res, _ := fetch(t, "GET", s.URL, "Accept-Encoding: gzip")
	tag := res.Header.Get("Etag")
	if tag != `"v1-gzip"` {
		t.Fatalf("the tag is %s", tag)
	}
	res, b := fetch(t, "GET", s.URL, "Accept-Encoding: gzip", "If-None-Match: "+tag)
	if res.StatusCode != 304 || len(b) != 0 || res.Header.Get("Etag") != `"v1"` || res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

func TestHead(t *testing.T) {
	plain := []string{"Content-Type: text/plain", `Etag: "a"`, "Accept-Ranges: bytes"}
	length := func(n int) []string { return append(slices.Clone(plain), "Content-Length: "+strconv.Itoa(n)) }
	for _, c := range []struct {
		name, cfg string
		f         handlers.HandlerFunc
		encoded   bool
		length    string
	}{
		{"length in the header", gz, answer(0, length(5000)), true, ""},
		{"length and status", gz, answer(404, length(5000)), true, ""},
		{"small", gz, answer(200, length(512)), false, "512"},
		{"no length", gz, answer(200, plain), false, ""},
		{"no length, nothing written", gz, answer(0, plain), false, ""},
		{"a negative minimum", gz + `, "minimum_length": -1`, answer(0, length(1)), true, ""},
		{"a negative minimum, status", gz + `, "minimum_length": -1`, answer(200, length(1)), true, ""},
		{"a negative minimum, no length", gz + `, "minimum_length": -5`, answer(200, plain), false, ""},
		{"a negative minimum, no status", gz + `, "minimum_length": -5`, answer(0, plain), false, ""},
		{"a body that is not sent", gz, answer(0, plain, text(5000)), true, ""},
		{"a small body that is not sent", gz, answer(0, plain, "abc"), false, "3"},
		{"no type", gz, answer(200, []string{"Content-Length: 5000", `Etag: "a"`, "Accept-Ranges: bytes"}), false, "5000"},
		{"another type", gz, answer(200, []string{"Content-Type: image/png", "Content-Length: 5000", `Etag: "a"`, "Accept-Ranges: bytes"}), false, "5000"},
		{"any type", gz + `, ` + every, answer(200, []string{"Content-Length: 5000", `Etag: "a"`, "Accept-Ranges: bytes"}), true, ""},
	} {
		s := serve(t, c.cfg, c.f)
		res, b := fetch(t, "HEAD", s.URL, "Accept-Encoding: gzip")
		want := http.Header{"Etag": {`"a"`}, "Accept-Ranges": {"bytes"}}
		if c.encoded {
			want = http.Header{"Etag": {`"a-gzip"`}, "Content-Encoding": {"gzip"}, "Vary": {"Accept-Encoding"}}
		}
		if c.length != "" {
			want.Set("Content-Length", c.length)
		}
		got := res.Header.Clone()
		delete(got, "Date")
		delete(got, "Content-Type")
		if !maps.EqualFunc(got, want, slices.Equal) || len(b) > 0 {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

// TestUnwrittenBody: a handler that announces a body and does not write it gets
// the header all the same.
func TestUnwrittenBody(t *testing.T) {
	res := site(t, gz, answer(0, []string{"Content-Type: text/plain", "Content-Length: 5000"})).Get("/", "Accept-Encoding: gzip")
	if h := res.Header(); h.Get("Content-Encoding") != "gzip" || h.Get("Content-Length") != "" || res.Body.Len() > 0 {
		t.Errorf("%v, %d bytes", h, res.Body.Len())
	}
}

func TestErrors(t *testing.T) {
	fails := func(f handlers.HandlerFunc) handlers.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			_ = f(w, r, next)
			return handlers.NewError(418, handlertest.ErrHandler)
		}
	}
	sorry := strings.Repeat("sorry ", 200)
	const list = `{"routes": [{"handle": [{"handler": "encode", ` + gz + `}, {"handler": "f"}]}]`
	routes := `, "errors": {"routes": [{"handle": [{"handler": "static_response", "body": "` + sorry + `"}]}]}`
	for _, c := range []struct {
		name, errors string
		f            handlers.HandlerFunc
		status       int
		encoding     string
		body         string
	}{
		{"nothing written", routes, answer(0, nil), 418, "", sorry},
		{"only a status", routes, answer(200, nil), 418, "", sorry},
		{"only a status and an empty piece", routes, answer(200, nil, ""), 418, "", sorry},
		{"all written", "", answer(200, []string{"Content-Type: text/plain"}, text(3000)), 200, "gzip", text(3000)},
	} {
		s := httptest.NewServer(handlertest.New(t, list+c.errors+"}", append(Specs(), staticresponse.Spec(), handlertest.FuncSpec("f", fails(c.f)))...))
		res, b := fetch(t, "GET", s.URL, "Accept-Encoding: gzip")
		encoding := res.Header.Get("Content-Encoding")
		if got := decoded(t, encoding, b); res.StatusCode != c.status || got != c.body || encoding != c.encoding {
			t.Errorf("%s: %d, %q, %d bytes", c.name, res.StatusCode, encoding, len(got))
		}
		s.Close()
	}
}

// TestIncompleteBody: who counted on the length of a body that breaks off
// notices it by the encoding.
func TestIncompleteBody(t *testing.T) {
	for _, token := range []string{"gzip", "zstd", "br"} {
		s := serve(t, `"encodings": {"`+token+`": {}}`, answer(200, []string{"Content-Type: text/plain", "Content-Length: 5000"}, text(3000)))
		res, b := fetch(t, "GET", s.URL, "Accept-Encoding: "+token)
		if res.Header.Get("Content-Encoding") != token {
			t.Fatalf("%s: header %v", token, res.Header)
		}
		got, err := io.ReadAll(decoder(t, token, bytes.NewReader(b)))
		if err == nil || string(got) != text(3000) {
			t.Errorf("%s: %d bytes, %v; want 3000 and an error", token, len(got), err)
		}
		s.Close()
	}
}

// TestStaticResponse goes through io.WriteString.
func TestStaticResponse(t *testing.T) {
	body := text(100_000)
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "encode", "encodings": {"zstd": {}}}, {"handler": "static_response", "body": `+strconv.Quote(body)+`}]}]}`, append(Specs(), staticresponse.Spec())...)
	for _, accept := range []string{"zstd", "gzip"} {
		res := s.Get("/", "Accept-Encoding: "+accept)
		if got := decoded(t, res.Header().Get("Content-Encoding"), res.Body.Bytes()); got != body {
			t.Errorf("%s: %d bytes", accept, len(got))
		}
	}
}

// TestNested: the inner handler encodes, the outer one lets it.
func TestNested(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "encode", "encodings": {"zstd": {}, "gzip": {}}}, {"handler": "encode", `+gz+`}, {"handler": "f"}]}]}`,
		append(Specs(), handlertest.FuncSpec("f", answer(0, []string{"Content-Type: text/plain", `Etag: "a"`}, text(3000))))...)
	res := s.Get("/", "Accept-Encoding: gzip, zstd")
	if h := res.Header(); h.Get("Content-Encoding") != "gzip" || h.Get("Etag") != `"a-gzip"` || decoded(t, "gzip", res.Body.Bytes()) != text(3000) {
		t.Errorf("%v", h)
	}
}
