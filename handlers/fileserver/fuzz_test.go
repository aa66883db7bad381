package fileserver

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// recorder remembers what it is asked for.
type recorder struct {
	fsys.FS
	looked, opened []string
}

func (r *recorder) Open(name string) (fsys.File, error) {
	r.opened = append(r.opened, name)
	return r.FS.Open(name)
}

func (r *recorder) Stat(name string) (fs.FileInfo, error) {
	r.looked = append(r.looked, name)
	return r.FS.Stat(name)
}

func (r *recorder) Lstat(name string) (fs.FileInfo, error) {
	r.looked = append(r.looked, name)
	return r.FS.Lstat(name)
}

func (r *recorder) ReadLink(name string) (string, error) {
	r.looked = append(r.looked, name)
	return r.FS.ReadLink(name)
}

func fuzzFiles() fsys.FS {
	secret := &fstest.MapFile{Data: []byte("SECRET")}
	plain := &fstest.MapFile{Data: []byte("plain"), ModTime: stamp}
	return fsys.From(fstest.MapFS{
		"secret.txt": secret, "other/secret.txt": secret, "r.txt": secret, "rr/secret.txt": secret,
		"r/a.txt": plain, "r/a.txt.gz": plain, "r/d/b.txt": plain, "r/idx/index.html": plain, "r/.git/config": secret, "r/d/hidden.txt": secret, "r/d/x.bak": secret,
		"r/hid/index.html": secret,
	})
}

// FuzzPath looks for a request that reads outside of the root, or what is
// hidden, or is sent elsewhere.
func FuzzPath(f *testing.F) {
	for _, target := range []string{
		"/", "/a.txt", "/a.txt/", "/idx", "/idx?x=1", "//idx", "/d/", "/d", "/.git/config", "/%2egit/config", "/d/..%2f.git%2fconfig", "/../secret.txt", "/%2e%2e/secret.txt",
		"/..%2fsecret.txt", "/d/../../secret.txt", "/a.txt%00", "/..%5csecret.txt", "/%c0%ae%c0%ae/secret.txt", "/a.txt::$DATA", "/a.txt.", "/a.txt%20", "/PROGRA~1/x", "/%5cevil/..%2fidx",
		"//evil.test/%2e%2e/idx", "/d/%0d%0a/..%2f..%2fidx", "/d/hidden.txt/", "/d/x.bak", "/r/../../r.txt", "/./..//../rr/secret.txt", "http://a.test/../secret.txt", "/;/../secret.txt", "/hid", "/.GIT/config",
	} {
		f.Add(target, "bytes=0-1", "gzip")
	}
	f.Add("/a.txt", "bytes=1-,-2", "gzip;q=0.1,br")
	files := fuzzFiles()
	var rec *recorder
	use := func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		x := handlers.Of(r)
		x.Server = holder{x.Server, fsys.Registry{"rec": rec}}
		return next.ServeHTTP(w, r)
	}
	var sites []*handlertest.Site
	for _, more := range []obj{{}, {"canonical_uris": false, "index_names": []string{"../secret.txt", "{http.request.header.Range}", "index.html"}}, {"pass_thru": true, "browse": nil}} {
		h := fileServer("/r", obj{"fs": "rec", "hide": []string{".git", "/r/d/hidden.txt", "*.bak", "/r/hid"}, "browse": obj{"reveal_symlinks": true}, "precompressed": allFormats(), "etag_file_extensions": []string{".sum"}})
		for k, v := range more {
			h[k] = v
		}
		text, err := json.Marshal(obj{"routes": []any{obj{"handle": []any{obj{"handler": "recording"}}}, obj{"handle": []any{h}}}})
		must(f, err)
		sites = append(sites, handlertest.New(f, string(text), append(Specs(), handlertest.FuncSpec("recording", use))...))
	}
	f.Fuzz(func(t *testing.T, target, ranges, encoding string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			u = &url.URL{Path: target} // as a rewrite may make it
		}
		for _, site := range sites {
			rec = &recorder{FS: files}
			r := &http.Request{Method: "GET", URL: u, RequestURI: target, Host: "a.test", Header: http.Header{"Range": {ranges}, "Accept-Encoding": {encoding}}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
			w := httptest.NewRecorder()
			site.ServeHTTP(w, r)
			checkReads(t, target, rec)
			if strings.Contains(w.Body.String(), "SECRET") {
				t.Fatalf("%q: %q", target, w.Body)
			}
			checkHeader(t, target, w.Header())
		}
	})
}

func checkReads(t *testing.T, target string, rec *recorder) {
	t.Helper()
	for _, name := range append(rec.looked, rec.opened...) {
		if n := filepath.Clean(name); n != "/r" && !strings.HasPrefix(n, "/r/") {
			t.Fatalf("%q: looked at %q", target, name)
		}
	}
	for _, name := range rec.opened {
		for _, hidden := range []string{"/.git", "/hidden.txt", ".bak", "/r/hid"} {
			if strings.HasSuffix(name, hidden) || strings.Contains(name, hidden+"/") {
				t.Fatalf("%q: opened %q", target, name)
			}
		}
	}
}

func checkHeader(t *testing.T, target string, h http.Header) {
	t.Helper()
	for name, values := range h {
		for _, v := range values {
			for i := range len(v) {
				if v[i] < ' ' || v[i] >= 0x7f {
					t.Fatalf("%q: %s: %q", target, name, v)
				}
			}
		}
	}
	if l := h.Get("Location"); l != "" && (l[0] != '/' || len(l) > 1 && (l[1] == '/' || l[1] == '\\')) {
		t.Fatalf("%q: Location: %q", target, l)
	}
}

// TestContentAgainstModel compares with what the standard library answers,
// except where that departs from RFC 9110.
func TestContentAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	const size = 50
	data := make([]byte, size)
	for i := range data {
		data[i] = byte('a' + i%26)
	}
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	n := func() string { return strconv.Itoa(rnd.IntN(size + 10)) }
	date := func() string { return stamp.Add(time.Duration(rnd.IntN(5)-2) * time.Second).Format(http.TimeFormat) }
	seen := map[int]int{}
	for range 10_000 {
		h := http.Header{}
		if rnd.IntN(3) > 0 {
			var specs []string
			for range 1 + rnd.IntN(3) {
				a, b := rnd.IntN(size+5), rnd.IntN(size+5)
				specs = append(specs, pick(strconv.Itoa(min(a, b))+"-"+strconv.Itoa(max(a, b)), n()+"-", "-"+strconv.Itoa(1+rnd.IntN(size+5)), " "+n()+"- "))
			}
			h.Set("Range", "bytes="+strings.Join(specs, ","))
		}
		for name, values := range map[string][]string{
			"If-Match": {`"t"`, `W/"t"`, `"x"`, "*", `"x", "t"`, "junk"}, "If-None-Match": {`"t"`, `W/"t"`, `"x"`, "*", `"x" ,"t"`, "junk"},
			"If-Modified-Since": {date(), "junk"}, "If-Unmodified-Since": {date(), "junk"}, "If-Range": {`"t"`, `W/"t"`, `"x"`, date(), "junk"},
		} {
			if rnd.IntN(5) == 0 {
				h.Set(name, pick(values...))
			}
		}
		method := pick("GET", "GET", "HEAD")
		tag := pick(`"t"`, `W/"t"`, "")
		answer := func(f func(w http.ResponseWriter, r *http.Request)) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Type", "text/x")
			if tag != "" {
				w.Header().Set("Etag", tag)
			}
			f(w, &http.Request{Method: method, Header: h})
			return w
		}
		want := answer(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", stamp, bytes.NewReader(data))
		})
		got := answer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", stamp.Format(http.TimeFormat))
			c := content{w: w, r: r, file: bytes.NewReader(data), size: size, modified: stamp}
			must(t, c.serve())
		})
		seen[got.Code]++
		compareAnswers(t, method, tag, h, got, want)
	}
	for _, code := range []int{200, 206, 304, 412, 416} {
		if seen[code] < 50 {
			t.Errorf("only %d answers with %d", seen[code], code)
		}
	}
}

func compareAnswers(t *testing.T, method, tag string, h http.Header, got, want *httptest.ResponseRecorder) {
	t.Helper()
	fields := []string{"Content-Range", "Content-Length", "Etag", "Last-Modified", "Accept-Ranges", "Content-Type"}
	body := func(w *httptest.ResponseRecorder) string { return w.Body.String() }
	switch got.Code {
	case 412:
		fields = []string{"Content-Range", "Etag"} // the type of nothing
	case 416:
		fields = []string{"Content-Range", "Etag", "Last-Modified", "Accept-Ranges", "Content-Type"}
		body = func(*httptest.ResponseRecorder) string { return "" } // the words are ours
	case 206:
		if _, boundary, ok := strings.Cut(got.Header().Get("Content-Type"), "boundary="); ok {
			theirs := strings.TrimPrefix(want.Header().Get("Content-Type"), "multipart/byteranges; boundary=")
			if method == "GET" && got.Header().Get("Content-Length") != strconv.Itoa(got.Body.Len()) {
				t.Fatalf("length %s of %d bytes", got.Header().Get("Content-Length"), got.Body.Len())
			}
			fields = []string{"Content-Range", "Etag", "Last-Modified", "Accept-Ranges"}
			body = func(w *httptest.ResponseRecorder) string {
				return strings.NewReplacer(boundary, "B", theirs, "B").Replace(w.Body.String())
			}
		}
	}
	same := got.Code == want.Code && body(got) == body(want)
	for _, f := range fields {
		same = same && got.Header().Get(f) == want.Header().Get(f)
	}
	if !same {
		t.Fatalf("%s with tag %s, %v:\n%d %v %q\nwant %d %v %q", method, tag, h, got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
	}
}

// shortFile ends before its size.
type shortFile struct{ *bytes.Reader }

func TestTruncated(t *testing.T) {
	for _, writer := range []func(http.ResponseWriter) http.ResponseWriter{
		func(w http.ResponseWriter) http.ResponseWriter { return w },
		func(w http.ResponseWriter) http.ResponseWriter { return handlers.NewResponseWriter(w) },
	} {
		c := content{w: writer(httptest.NewRecorder()), r: httptest.NewRequest("GET", "/", nil), file: shortFile{bytes.NewReader([]byte("short"))}, size: 5000}
		if err := c.serve(); err == nil || !strings.Contains(err.Error(), "4995 bytes are missing") {
			t.Errorf("%v", err)
		}
	}
	c := content{w: failing{httptest.NewRecorder()}, r: httptest.NewRequest("GET", "/", nil), file: bytes.NewReader(make([]byte, 9000)), size: 9000}
	if err := c.serve(); err != nil {
		t.Errorf("a client that is gone is no error of ours: %v", err)
	}
}

type failing struct{ http.ResponseWriter }

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
