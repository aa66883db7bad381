package fileserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// content is what a response is made of: by the conditions and ranges of the
// request (RFC 9110, sections 13 and 14) all of a file, parts of it or nothing.
// The header of the response has its Etag and Content-Type already.
type content struct {
	w        http.ResponseWriter
	r        *http.Request
	file     io.ReadSeeker
	size     int64
	modified time.Time // zero: not known
	status   int       // instead of any other, 0: none
}

// code is the status to answer with where the protocol wants n.
func (c *content) code(n int) int {
	if c.status != 0 {
		return c.status
	}
	return n
}

// serve answers. Its error says that the file was shorter than it should be, or
// could not be read; the header has been sent then.
func (c *content) serve() error {
	h := c.w.Header()
	delete(h, "Content-Length")
	switch c.judge() {
	case unmodified:
		delete(h, "Content-Type")
		delete(h, "Content-Encoding")
		if len(h["Etag"]) > 0 {
			delete(h, "Last-Modified")
		}
		c.w.WriteHeader(c.code(http.StatusNotModified))
		return nil
	case unmet:
		h["Content-Type"] = nil
		delete(h, "Content-Encoding")
		c.w.WriteHeader(c.code(http.StatusPreconditionFailed))
		return nil
	}
	ranges, err := c.ranges()
	switch {
	case err != nil:
		c.refuse(err)
		return nil
	case len(ranges) == 1:
		h["Content-Range"] = []string{ranges[0].contentRange(c.size)}
		return c.send(http.StatusPartialContent, ranges[0].length, func() error { return c.part(ranges[0]) })
	case len(ranges) > 1:
		return c.several(ranges)
	}
	return c.send(http.StatusOK, c.size, func() error { return c.copy(c.size) })
}

// send writes the header of a response with n bytes, and then the body if it has
// one.
func (c *content) send(status int, n int64, body func() error) error {
	h := c.w.Header()
	h["Accept-Ranges"] = acceptsRanges
	status = c.code(status)
	bare := status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
	if !bare {
		h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	}
	c.w.WriteHeader(status)
	if bare || n == 0 || c.r.Method == http.MethodHead {
		return nil
	}
	return body()
}

// refuse answers that no range can be had.
func (c *content) refuse(err error) {
	h := c.w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Encoding"} {
		delete(h, name)
	}
	body := err.Error() + "\n"
	h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(c.size, 10)}
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	status := c.code(http.StatusRequestedRangeNotSatisfiable)
	if status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified {
		h["Content-Length"] = []string{itoa(len(body))}
	}
	c.w.WriteHeader(status)
	_, _ = io.WriteString(c.w, body)
}

// part sends a range of the file.
func (c *content) part(r byteRange) error {
	if _, err := c.file.Seek(r.start, io.SeekStart); err != nil {
		return fmt.Errorf("going to byte %d: %w", r.start, err)
	}
	return c.copy(r.length)
}

// small is up to where copying a file into the buffer of the response is cheaper
// than telling the system to send it.
const small = 2 << 10

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copy sends n bytes from where the file is. Where the response can, the system
// sends them, past our memory: what it is given is the plain file.
func (c *content) copy(n int64) error {
	limited := &io.LimitedReader{R: c.file, N: n}
	var sent int64
	var err error
	if to, ok := c.w.(io.ReaderFrom); ok && n > small {
		sent, err = to.ReadFrom(limited)
	} else {
		buf := buffers.Get().(*[32 << 10]byte)
		sent, err = io.CopyBuffer(struct{ io.Writer }{c.w}, limited, buf[:])
		buffers.Put(buf)
	}
	var read *fs.PathError
	switch {
	case sent == n:
		return nil
	case err == nil:
		return fmt.Errorf("%d bytes are missing: %w", n-sent, io.ErrUnexpectedEOF)
	case errors.As(err, &read):
		return err
	}
	return nil // there is nobody left to tell
}
