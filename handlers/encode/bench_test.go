//go:build unix

package encode

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
)

// BenchmarkEncode compares a response that is encoded with the same one into the
// library alone, at
// the same level and with an encoder that is used again:
//
//	go test -run xxx -bench Encode -cpu 1 -count 6 ./handlers/encode
func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		body := []byte(text(size))
		for _, token := range []string{"gzip", "zstd", "br"} {
			e := encodingOf(b, token)
			header := http.Header{}
			kind, tag := []string{"text/plain; charset=utf-8"}, []string{`"d41d8cd98f00b204"`}
			respond := func(w http.ResponseWriter, _ *http.Request) error {
				h := w.Header()
				h["Content-Type"], h["Etag"] = kind, tag
				w.WriteHeader(200)
				_, err := w.Write(body)
				return err
			}
			b.Run(fmt.Sprintf("%s/%dKB/library", token, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				z, err := e.create(io.Discard)
				if err != nil {
					b.Fatal(err)
				}
				w := into{header, z}
				defer cpu(b)()
				for b.Loop() {
					clear(header)
					z.Reset(io.Discard)
					if err := respond(w, nil); err != nil {
						b.Fatal(err)
					}
					if err := z.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("%s/%dKB/encode", token, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				h := &handler{minimum: defaultMinimumLength, match: defaultMatcher, offers: []offer{{e, 0}}}
				h.prepare()
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
				w, next := discard{header}, handlers.NextFunc(respond)
				defer cpu(b)()
				for b.Loop() {
					clear(header)
					if err := h.ServeHTTP(w, r, next); err != nil {
						b.Fatal(err)
					}
				}
				if header.Get("Content-Encoding") != token {
					b.Fatal(header)
				}
			})
		}
	}
}

// cpu reports the processor time of what is between its two calls, which is
// steadier than the time that passes.
func cpu(b *testing.B) func() {
	used := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric((used()-before)/float64(b.N), "cpu-ns/op") }
}

// into is a response that goes into an encoder.
type into struct {
	h http.Header
	encoder
}

func (w into) Header() http.Header { return w.h }
func (w into) WriteHeader(int)     {}
