package reverseproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/sluiceproxy/sluice/handlers"
)

// spool is a request body in a temporary file, which has no name where the system lets an open file have none. It is for
// transports that have to know the length in advance (FC-7, caddyserver/caddy #6637).
type spool struct {
	file *os.File
	size int64
	name string // to be removed yet
}

// spools reports whether a body of which head was read goes to a file.
func (p *proxying) spools() bool {
	return p.h.traits.SpoolBody > 0 && p.out.ContentLength < 0 &&
		!strings.EqualFold(p.out.Method, http.MethodHead) && !strings.EqualFold(p.out.Method, http.MethodOptions)
}

// spoolBody takes the whole body of the client, of which head was read, to a file.
func (p *proxying) spoolBody(head []byte) error {
	s, err := openSpool()
	if err != nil {
		return spoolError(err)
	}
	p.spooled = s // closed when the request ends, whatever happens
	from := &source{body: io.NopCloser(io.MultiReader(bytes.NewReader(head), p.out.Body))}
	limit := p.h.traits.SpoolBody
	s.size, err = fill(s.file, io.LimitReader(from.attempt(), limit+1))
	switch {
	case err != nil && p.in.Context().Err() != nil:
		return errClientGone
	case from.failed():
		return handlers.NewError(http.StatusBadGateway, fmt.Errorf("reading the request body to find out its length: %w", err))
	case err != nil:
		return spoolError(err)
	case s.size > limit:
		return handlers.NewError(http.StatusRequestEntityTooLarge, fmt.Errorf(
			"the request body comes without a length and is longer than the %d bytes up to which that is found out (body_spool_size)", limit))
	}
	p.replay, p.out.ContentLength = true, s.size
	return nil
}

func fill(to io.Writer, body io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*copyBuffer)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{to}, body, buf[:])
}

// spoolError is an error of the file.
func spoolError(err error) error {
	status := http.StatusInternalServerError
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		status = http.StatusInsufficientStorage
	}
	return handlers.NewError(status, fmt.Errorf("keeping a request body without a length in a temporary file in %s: %w", os.TempDir(), err))
}

func openSpool() (*spool, error) {
	file, err := os.CreateTemp("", "sluice-body-*")
	if err != nil {
		return nil, err
	}
	s := &spool{file: file}
	if os.Remove(file.Name()) != nil {
		s.name = file.Name()
	}
	return s, nil
}

// reader returns the body from its beginning. After close it fails.
func (s *spool) reader() io.Reader { return io.NewSectionReader(s.file, 0, s.size) }

// close gives the file up. A nil spool is none.
func (s *spool) close() {
	if s == nil {
		return
	}
	s.file.Close()
	if s.name != "" {
		_ = os.Remove(s.name) // it is a temporary file
	}
}
