package push

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/handlertest"
	"github.com/sluiceproxy/sluice/server/wire"
)

func site(t testing.TB, cfg string, f handlers.HandlerFunc) *handlertest.Site {
	t.Helper()
	return handlertest.New(t, `{"routes": [{"handle": [{"handler": "push"`+cfg+`}, {"handler": "f"}]}]}`, Spec(), handlertest.FuncSpec("f", f))
}

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

// exchange sends a request for / by HTTP/2 and returns the promises, as "METHOD
// PATH" and the fields that are not pseudo fields, and all that was answered, by
// stream.
func exchange(t *testing.T, h http.Handler, enablePush bool, fields ...string) (promises []string, answers map[uint32]string) {
	t.Helper()
	set := &wire.Settings{Protocols: wire.Protocols{UnencryptedHTTP2: true}}
	s := wire.NewServer(wire.Options{Handler: h, Settings: func() *wire.Settings { return set }, ErrorLog: log.New(io.Discard, "", 0)})
	conn, server := net.Pipe()
	s.Serve(server)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	framer := http2.NewFramer(conn, conn)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range append([]string{":method GET", ":scheme http", ":authority x", ":path /"}, fields...) {
		name, value, _ := strings.Cut(f, " ")
		_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	go func() {
		_, _ = io.WriteString(conn, http2.ClientPreface)
		value := uint32(0)
		if enablePush {
			value = 1
		}
		_ = framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: value})
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: block.Bytes()})
	}()
	answers = map[uint32]string{}
	open := map[uint32]bool{1: true}
	dec := hpack.NewDecoder(4096, nil)
	for len(open) > 0 {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.PushPromiseFrame:
			all, err := dec.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				t.Fatal(err)
			}
			promises = append(promises, promise(all))
			open[f.PromiseID] = true
		case *http2.HeadersFrame:
			all, err := dec.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				t.Fatal(err)
			}
			answers[f.StreamID] += all[0].Value + " "
			if f.StreamEnded() {
				delete(open, f.StreamID)
			}
		case *http2.DataFrame:
			answers[f.StreamID] += string(f.Data())
			if f.StreamEnded() {
				delete(open, f.StreamID)
			}
		case *http2.RSTStreamFrame:
			answers[f.StreamID] += "reset"
			delete(open, f.StreamID)
		}
	}
	return promises, answers
}

func promise(fields []hpack.HeaderField) string {
	pseudo := map[string]string{}
	var rest []string
	for _, f := range fields {
		if f.IsPseudo() {
			pseudo[f.Name] = f.Value
		} else {
			rest = append(rest, f.Name+"="+f.Value)
		}
	}
	slices.Sort(rest)
	return strings.Join(append([]string{pseudo[":method"], pseudo[":path"]}, rest...), " ")
}

// page answers with its path, and with Link fields for the page itself.
func page(links ...string) handlers.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		if r.URL.Path == "/" {
			for _, l := range links {
				w.Header().Add("Link", l)
			}
			w.WriteHeader(203)
		}
		_, err := fmt.Fprint(w, r.URL.Path)
		return err
	}
}

func TestPush(t *testing.T) {
	for _, c := range []struct {
		name, cfg string
		links     []string
		fields    []string
		want      []string
	}{
		{"nothing", ``, nil, nil, nil},
		{"resources", `, "resources": [{"target": "/a?b"}, {"method": "HEAD", "target": "/c"}]`, nil, nil,
			[]string{"GET /a?b caddy-push=1", "HEAD /c caddy-push=1"}},
		{"placeholders", `, "resources": [{"target": "/{http.request.method}{nope}"}]`, nil, nil, []string{"GET /GET. caddy-push=1"}},
		{"fields of the client", `, "resources": [{"target": "/a"}]`, nil,
			[]string{"accept-encoding gzip", "accept-language de", "accept */*", "cache-control no-cache", "user-agent me", "cookie secret", "x-a b"},
			[]string{"GET /a accept-encoding=gzip accept-language=de accept=*/* cache-control=no-cache caddy-push=1 user-agent=me"}},
		{"headers", `, "resources": [{"target": "/a"}], "headers": {"set": {"X-P": ["{http.request.method}"]}, "delete": ["User-Agent"], "add": {"Accept": ["b"]}}`, nil,
			[]string{"user-agent me", "accept a"}, []string{"GET /a accept=a accept=b caddy-push=1 x-p=GET"}},
		{"a pushed request", `, "resources": [{"target": "/a"}]`, []string{"</b>"}, []string{"caddy-push 1"}, nil},
		{"links", ``, []string{"</a>; rel=preload, </b>", "</c>"}, nil, []string{"GET /a caddy-push=1", "GET /b caddy-push=1", "GET /c caddy-push=1"}},
		{"resources, then links", `, "resources": [{"target": "/a"}]`, []string{"</b>"}, nil, []string{"GET /a caddy-push=1", "GET /b caddy-push=1"}},
		{"the first failure ends it", `, "resources": [{"target": "a"}, {"target": "/b"}]`, []string{"</c>"}, nil, nil},
		{"an empty target is a dot", `, "resources": [{"target": "/a"}, {"target": "{nope}"}]`, []string{"</c>"}, nil, []string{"GET /a caddy-push=1"}},
		{"a method that cannot be pushed", `, "resources": [{"method": "POST", "target": "/a"}, {"target": "/b"}]`, nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, answers := exchange(t, site(t, c.cfg, page(c.links...)), true, c.fields...)
			if !slices.Equal(got, c.want) {
				t.Errorf("promises %q, want %q", got, c.want)
			}
			if answers[1] != "203 /" || len(answers) != 1+len(c.want) {
				t.Errorf("answers %v", answers)
			}
			if answers[2] != "" && !strings.HasPrefix(answers[2], "200 /") {
				t.Errorf("answers %v", answers)
			}
		})
	}
}

// TestPushIsOff: a client that takes no pushes gets its answer.
func TestPushIsOff(t *testing.T) {
	got, answers := exchange(t, site(t, `, "resources": [{"target": "/a"}, {"target": "/b"}]`, page("</c>")), false)
	if len(got) != 0 || answers[1] != "203 /" {
		t.Errorf("promises %q, answers %v", got, answers)
	}
	rec := site(t, `, "resources": [{"target": "/a"}]`, page("</c>")).Get("/")
	if rec.Code != 203 || rec.Header().Get("Link") != "</c>" || len(rec.Header()) > 2 {
		t.Errorf("HTTP/1: %d %v", rec.Code, rec.Header())
	}
}

func TestLinks(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`</a>`, "/a"},
		{`</a>; rel=preload; as=style, </b>;rel=x`, "/a /b"},
		{` < /a > `, "/a"},
		{`</a,b;c>; rel=x`, "/a,b;c"},
		{`</a>; title="x, </y>; nopush", </b>`, "/a /b"},
		{`</a>; title="\", nopush", </b>`, "/a /b"},
		{`</a>; nopush, </b>`, "/b"},
		{`</a>; rel=preload; NoPush`, ""},
		{`</a>; nopush=nopush`, ""},
		{`</a>; x=nopush`, "/a"},
		{`//x/a, <//x/a>, <http://x/a>, <https://x/a>, <HTTPS://x/a>, <ftp://x>`, "ftp://x"},
		{`/a, b; rel=preload`, ""},
		{`<`, ""},
		{`</a`, ""},
		{`<>`, ""},
		{`>/a<`, ""},
		{``, ""},
		{`,,;,</a>,`, "/a"},
	} {
		var got []string
		for target := range links(c.line) {
			got = append(got, target)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	for range links("</a>, </b>") {
		break // a walk may end early
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(`</a>; rel=preload; as=style, </b>;rel=x`)
	f.Add(`</a>; title="\", nopush", </b>`)
	f.Fuzz(func(t *testing.T, line string) {
		for target := range links(line) {
			if !strings.Contains(line, target) || strings.Contains(target, ">") {
				t.Errorf("%q gives %q", line, target)
			}
		}
	})
}

// recorder is a response that can be pushed from.
type recorder struct {
	*httptest.ResponseRecorder
	pushed []string
	fail   error
}

func (r *recorder) Push(target string, _ *http.PushOptions) error {
	if r.fail != nil {
		return r.fail
	}
	r.pushed = append(r.pushed, target)
	return nil
}

func TestWriter(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(w http.ResponseWriter)
		want string
	}{
		"text":       {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, "/a"},
		"reader":     {func(w http.ResponseWriter) { _, _ = io.Copy(w, io.MultiReader(strings.NewReader("x"))) }, "/a"},
		"flush":      {func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, "/a"},
		"once":       {func(w http.ResponseWriter) { w.WriteHeader(200); w.Header().Add("Link", "</b>"); w.WriteHeader(201) }, "/a"},
		"hints":      {func(w http.ResponseWriter) { w.WriteHeader(103) }, ""},
		"hints, too": {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(200) }, "/a"},
		"by hand":    {func(w http.ResponseWriter) { _ = w.(http.Pusher).Push("/b", nil) }, "/b"},
		"hijack": {func(w http.ResponseWriter) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Error(err)
			}
		}, ""},
		"many": {func(w http.ResponseWriter) {
			w.Header()["Link"] = []string{strings.Repeat("</a>,", 1000)}
			w.WriteHeader(200)
		}, strings.TrimSpace(strings.Repeat("/a ", maxLinks))},
	} {
		rec := &recorder{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("GET", "/", nil)
		r.ProtoMajor = 2
		site(t, "", func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
			w.Header().Set("Link", "</a>")
			c.f(w)
			return nil
		}).ServeHTTP(rec, r)
		if got := strings.Join(rec.pushed, " "); got != c.want {
			t.Errorf("%s: pushed %s, want %s", name, got, c.want)
		}
	}
}

func TestLoggedHeader(t *testing.T) {
	h := http.Header{"Cookie": {"a"}, "authorization": {"b"}, "X-A": {"c", "d"}}
	for credentials, want := range map[bool]string{false: "map[Cookie:[REDACTED] X-A:[c d] authorization:[REDACTED]]", true: "map[Cookie:[a] X-A:[c d] authorization:[b]]"} {
		enc := zapcore.NewMapObjectEncoder()
		if err := (loggedHeader{h, credentials}).MarshalLogObject(enc); err != nil || fmt.Sprint(enc.Fields) != want {
			t.Errorf("%v, %v, want %s", enc.Fields, err, want)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ cfg, pointer string }{
		{`"headers": {"replace": {"A": [{"search_regexp": "("}]}}`, "/headers/replace/A/0/search_regexp"},
		{`"resources": [{"url": "/a"}]`, "/resources/0/url"},
		{`"resources": "/a"`, "/resources"},
	} {
		ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "push", `+c.cfg+`}]}]}`, Spec())
		if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0"+c.pointer {
			t.Errorf("%s: %v", c.cfg, ps)
		}
	}
	s := handlertest.New(t, `{"routes": [{"handle": [{"handler": "push", "resources": [{"method": "POST", "target": "/a"}]}]}]}`, Spec())
	if w := s.Warnings(); len(w) != 1 {
		t.Errorf("warnings: %v", w)
	}
}
