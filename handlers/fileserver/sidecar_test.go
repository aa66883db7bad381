package fileserver

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func allFormats() obj { return obj{"br": obj{}, "zstd": obj{}, "gzip": obj{}} }

// The tables of section 5.6, as far as they are about what is configured here.
func TestNegotiate(t *testing.T) {
	dir := folder(t, map[string]string{"a.txt": "plain", "a.txt.gz": "gzip!", "a.txt.br": "br!!", "a.txt.zst": "zstd!!"})
	for _, tc := range []struct {
		name, accept string
		order        []string
		encoding     string
	}{
		{"nothing accepted", "", nil, ""},
		{"by the server", "deflate, gzip, br, zstd", []string{"zstd", "br", "gzip"}, "zstd"},
		{"by the client without a preference", "deflate, gzip, br, zstd", nil, "gzip"},
		{"by weight", "deflate;q=0.8, gzip;q=0.4, br;q=0.2, zstd", []string{"gzip"}, "zstd"},
		{"weight 0", "deflate;q=0.1, gzip;q=0.4, br;q=0.5, zstd;q=0", []string{"zstd"}, "br"},
		{"a weight above 1 is 1", "br, deflate, gzip;q=2, zstd;q=0.1", []string{"zstd", "gzip"}, "gzip"},
		{"empty tokens", "gzip,,zstd", []string{"zstd", "br", "gzip"}, "zstd"},
		{"twice", "deflate, gzip, br, br", []string{"br"}, "br"},
		{"twice with weights", "gzip;q=0.1, br;q=0.5, gzip;q=0.9", nil, "gzip"},
		{"case", "GZIP", nil, "gzip"},
		{"spaces", " \tgzip ; q=0.5 ", nil, "gzip"},
		{"a weight that is none", "gzip;q=x, br;q=0.9", nil, "gzip"},
		{"a weight of no number", "gzip;q=NaN, br;q=0.9", nil, "gzip"},
		{"a negative weight is 1", "gzip;q=-1, br;q=0.9", nil, "gzip"},
		{"only the first parameter", "gzip;x=1;q=0, br;q=0.9", nil, "gzip"},
		{"all of weight 0", "gzip;q=0, br;q=0.0, zstd;q=0.000", nil, ""},
		{"a star means nothing", "*", nil, ""},
		{"nor does an alias", "x-gzip", nil, ""},
		{"unlisted ones last", "gzip, zstd, br", []string{"br"}, "br"},
		{"unlisted ones by the client", "gzip, zstd", []string{"br"}, "gzip"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := serve(t, fileServer(dir, obj{"precompressed": allFormats(), "precompressed_order": tc.order}))
			body := map[string]string{"": "plain", "gzip": "gzip!", "br": "br!!", "zstd": "zstd!!"}[tc.encoding]
			a := c.get("/a.txt", "Accept-Encoding: "+tc.accept)
			expect(t, a, 200, body, map[string]string{
				"Content-Encoding": tc.encoding, "Content-Type": "text/plain; charset=utf-8", "Content-Length": strconv.Itoa(len(body)), "Vary": "Accept-Encoding",
				"Etag": `"` + strconv.FormatInt(stamp.UnixNano(), 36) + "-" + strconv.FormatInt(int64(len(body)), 36) + `"`,
			})
		})
	}
	c := serve(t, fileServer(dir, obj{"precompressed": allFormats()}))
	expect(t, c.get("/a.txt", "Accept-Encoding: gzip", "Sec-WebSocket-Key: x"), 200, "plain", nil)
	expect(t, c.get("/a.txt", "Accept-Encoding: deflate", "Accept-Encoding: gzip"), 200, "plain", nil)
	expect(t, serve(t, fileServer(dir, nil)).get("/a.txt", "Accept-Encoding: gzip"), 200, "plain", nil)
}

func TestSidecars(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.txt": "plain", "a.txt.gz": "0123456789", "dir.txt": "plain", "dir.txt.gz/x": "", "dir.txt.br": "br", "only.txt.gz": "gz", "idx/index.html": "i", "idx/index.html.gz": "gz",
	})
	newer := stamp.Add(time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "a.txt.gz"), newer, newer))
	c := serve(t, fileServer(dir, obj{"precompressed": allFormats()}))
	const gz = "Accept-Encoding: gzip, br;q=0.5"
	tag := `"` + strconv.FormatInt(newer.UnixNano(), 36) + `-a"`
	expect(t, c.get("/a.txt", gz), 200, "0123456789", map[string]string{"Content-Encoding": "gzip", "Etag": tag, "Last-Modified": stamp.Format(http.TimeFormat)})
	expect(t, c.do("HEAD", "/a.txt", gz), 200, "", map[string]string{"Content-Encoding": "gzip", "Content-Length": "10"})
	expect(t, c.get("/a.txt", gz, "If-None-Match: "+tag), 304, "", map[string]string{"Content-Encoding": "", "Etag": tag, "Vary": "Accept-Encoding"})
	expect(t, c.get("/a.txt", gz, "Range: bytes=2-3"), 206, "23", map[string]string{"Content-Encoding": "gzip", "Content-Range": "bytes 2-3/10"})
	expect(t, c.get("/a.txt", gz, "Range: bytes=20-"), 416, "*", map[string]string{"Content-Encoding": "", "Content-Range": "bytes */10"})
	expect(t, c.get("/dir.txt", gz), 200, "br", map[string]string{"Content-Encoding": "br"})
	expect(t, c.get("/only.txt", gz), 404, "", nil)
	expect(t, c.get("/only.txt.gz", gz), 200, "gz", map[string]string{"Content-Encoding": ""})
	expect(t, c.get("/idx/", gz), 200, "gz", map[string]string{"Content-Type": "text/html; charset=utf-8"})
	expect(t, c.do("POST", "/a.txt", gz), 405, "", map[string]string{"Content-Encoding": "", "Etag": ""})
}

func TestTagFiles(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.txt": "A", "a.txt.sum": "\"one\"\n", "a.txt.tag": `"two"`, "a.txt.gz": "gz", "a.txt.gz.tag": "W/\"three\"\r\n",
		"b.txt": "B", "dir.txt": "D", "dir.txt.sum/": "", "long.txt": "L", "long.txt.sum": strings.Repeat("x", 2000), "bad.txt": "X", "bad.txt.sum": "\"a\x00b\"",
	})
	c := serve(t, fileServer(dir, obj{"etag_file_extensions": []string{".sum", ".tag"}, "precompressed": allFormats()}))
	swapped := serve(t, fileServer(dir, obj{"etag_file_extensions": []string{".tag", ".sum"}}))
	expect(t, c.get("/a.txt"), 200, "A", map[string]string{"Etag": `"one"`})
	expect(t, swapped.get("/a.txt"), 200, "A", map[string]string{"Etag": `"two"`})
	expect(t, c.get("/a.txt", "Accept-Encoding: gzip"), 200, "gz", map[string]string{"Etag": `W/"three"`})
	expect(t, c.get("/a.txt", `If-None-Match: "one"`), 304, "", nil)
	expect(t, c.get("/b.txt"), 200, "B", map[string]string{"Etag": `"` + strconv.FormatInt(stamp.UnixNano(), 36) + `-1"`})
	for _, target := range []string{"/dir.txt", "/long.txt", "/bad.txt"} {
		expect(t, c.get(target), 500, "", map[string]string{"Etag": ""})
	}
}
