package handlers

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxBufferedBody is how much of a request body {http.request.body} holds.
const maxBufferedBody = 10 << 20

var errBodyTooLarge = errors.New("request body is too large to be buffered")

// bufferedBody is a request body that was read for its placeholder: what was
// read, then what that met.
type bufferedBody struct {
	io.Reader
	io.Closer
	text string
	err  error // why text is not the whole body
}

// bufferBody reads the request body, of which as much as before can be read
// afterwards. It fails for a body that is too large or breaks off.
func bufferBody(r *http.Request) (string, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return "", true
	}
	if b, ok := r.Body.(*bufferedBody); ok {
		return b.text, b.known()
	}
	var sb strings.Builder
	if n := r.ContentLength; n > 0 {
		sb.Grow(int(min(n, 64<<10)))
	}
	n, err := io.Copy(&sb, io.LimitReader(r.Body, maxBufferedBody+1))
	b := &bufferedBody{Closer: r.Body, text: sb.String()}
	switch {
	case err != nil:
		b.err = err
		b.Reader = io.MultiReader(strings.NewReader(b.text), failingReader{err})
	case n > maxBufferedBody:
		b.err = errBodyTooLarge
		b.Reader = io.MultiReader(strings.NewReader(b.text), r.Body)
	default:
		b.Reader = strings.NewReader(b.text)
	}
	r.Body = b
	return b.text, b.known()
}

// known reports whether text is the body, or as much of it as a handler lets
// through (http.MaxBytesError).
func (b *bufferedBody) known() bool {
	var limited *http.MaxBytesError
	return b.err == nil || errors.As(b.err, &limited)
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
