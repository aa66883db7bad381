package fastcgi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxHeader is the size of a response header above which the response is refused.
const maxHeader = 1 << 20

// response reads the header of the response (FC-11).
func (e *exchange) response(r *http.Request) (*http.Response, error) {
	limited := &io.LimitedReader{R: &e.stdout, N: maxHeader}
	reader := bufio.NewReader(limited)
	fields, err := textproto.NewReader(reader).ReadMIMEHeader()
	if err != nil {
		switch {
		case limited.N <= 0:
			err = fmt.Errorf("it is larger than %d bytes", maxHeader)
		case e.stdout.err == io.EOF:
			err = errors.New("the request has ended without one")
		case e.stdout.err != nil:
			err = e.stdout.err // why the stream has ended
		}
		return nil, fmt.Errorf("reading the response header of the FastCGI application: %w", unexpected(err))
	}
	limited.N = 1<<63 - 1
	res := &http.Response{Header: http.Header(fields), Request: r, ContentLength: -1}
	if err := readStatus(res); err != nil {
		return nil, err
	}
	b := &body{exchange: e, request: r, reader: reader, left: -1}
	res.Body = b
	chunked := false
	if te := res.Header["Transfer-Encoding"]; len(te) > 0 && strings.EqualFold(te[0], "chunked") {
		chunked = true
		b.reader = httputil.NewChunkedReader(reader)
		res.Header.Del("Content-Length")
	}
	if err := readLength(res); err != nil {
		return nil, err
	}
	switch {
	case r.Method == http.MethodHead, res.StatusCode == http.StatusNoContent, res.StatusCode == http.StatusNotModified:
		b.left = 0
		if res.StatusCode == http.StatusNoContent {
			res.Header.Del("Content-Length")
			res.ContentLength = 0
		}
	case !chunked:
		b.left = res.ContentLength
	}
	return res, nil
}

// readStatus applies the field Status, which stays in the header.
func readStatus(res *http.Response) error {
	res.StatusCode = http.StatusOK
	text := res.Header.Get("Status")
	if text == "" {
		return nil
	}
	code, reason, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(code)
	if err != nil || n < 200 || n > 999 {
		return fmt.Errorf("the FastCGI application has answered with Status %q; want a number from 200 to 999 and a reason", text)
	}
	res.StatusCode, res.Status = n, reason
	return nil
}

// readLength applies the field Content-Length.
func readLength(res *http.Response) error {
	list := res.Header["Content-Length"]
	if len(list) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimSpace(list[0]), 10, 63)
	if err != nil || slices.ContainsFunc(list[1:], func(s string) bool { return s != list[0] }) {
		return fmt.Errorf("the FastCGI application has answered with Content-Length %q; want one number", list)
	}
	res.Header["Content-Length"] = list[:1]
	res.ContentLength = int64(n)
	return nil
}

// body is the body of a response. It ends in an error if the application has not ended the request, or has sent less than
// it has announced. What it sends beyond that is dropped.
type body struct {
	exchange *exchange
	request  *http.Request
	reader   io.Reader
	left     int64 // that may still be passed on; -1 is no limit
	err      error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		b.err = b.drain()
		return 0, b.err
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.reader.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil {
		if err == io.EOF && b.left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != io.EOF {
			err = b.exchange.reason(b.request.Context(), err)
		}
		b.err = err
	}
	return n, err
}

// drain reads to the end of the request, so that the application is not stopped in what it does after its answer.
func (b *body) drain() error {
	_, err := io.Copy(io.Discard, b.reader)
	if err != nil {
		return b.exchange.reason(b.request.Context(), err)
	}
	return io.EOF
}

// Close implements io.Closer.
func (b *body) Close() error {
	if b.err == nil {
		if b.left == 0 && b.exchange.report != nil && b.exchange.conn.SetReadDeadline(time.Now().Add(lastWords)) == nil {
			_ = b.drain() // for the error stream, which comes last
		}
		b.err = http.ErrBodyReadAfterClose
	}
	b.exchange.close()
	return nil
}

// lastWords is how long the end of the error stream is waited for where nobody reads the body.
const lastWords = time.Second
