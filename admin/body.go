package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// budget is a number of bytes that requests share.
type budget struct {
	max  int64
	used atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// body is a request body in memory. Whoever reads one closes it when neither
// the text nor what was parsed from it is needed any more.
type body struct {
	text   []byte
	api    *API
	held   int64
	weight int64
}

func (b *body) close() {
	b.api.bodies.give(b.held)
	if b.weight > 0 {
		b.api.parsing.Release(b.weight)
	}
	*b = body{}
}

// firstBuffer is what a body gets to begin with, whatever length it promises.
const firstBuffer = 32 << 10

// readBody reads the whole body, within the limits for one and for all. Memory
// follows what has arrived, not what was announced.
func (a *API) readBody(c *call) (*body, error) {
	limit := a.limits.MaxBody
	if c.r.ContentLength > limit {
		a.discard(c)
		return nil, tooLarge(limit)
	}
	b := &body{api: a}
	size := int64(firstBuffer)
	if n := c.r.ContentLength; n >= 0 && n < size {
		size = n + 1 // room to see the end
	}
	for {
		if err := b.grow(size); err != nil {
			b.close()
			a.discard(c)
			return nil, err
		}
		for len(b.text) < cap(b.text) {
			n, err := c.r.Body.Read(b.text[len(b.text):cap(b.text)])
			b.text = b.text[:len(b.text)+n]
			if int64(len(b.text)) > limit {
				b.close()
				a.discard(c)
				return nil, tooLarge(limit)
			}
			if errors.Is(err, io.EOF) {
				return b, nil
			}
			if err != nil {
				b.close()
				return nil, readFailed(err)
			}
		}
		size = min(2*size, limit+1)
	}
}

// grow moves the body to a larger buffer.
func (b *body) grow(size int64) error {
	if !b.api.bodies.take(size) {
		return overloaded("too much data is being sent at once; try again in a moment")
	}
	next := make([]byte, len(b.text), size)
	copy(next, b.text)
	b.text = next
	b.api.bodies.give(b.held)
	b.held = size
	return nil
}

// discard reads on, within bounds, so that a client which sends all before it
// listens gets its answer.
func (a *API) discard(c *call) {
	if strings.EqualFold(c.r.Header.Get("Expect"), "100-continue") && c.r.ContentLength > a.limits.MaxBody {
		return // the client waits for our word
	}
	_, _ = io.CopyN(io.Discard, c.r.Body, a.limits.MaxBody)
}

func tooLarge(limit int64) *Error {
	return failf(http.StatusRequestEntityTooLarge, "reading request body: it is longer than the limit of %d bytes", limit)
}

func readFailed(err error) *Error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return failf(http.StatusRequestTimeout, "reading request body: it did not arrive in time")
	}
	return failf(http.StatusBadRequest, "reading request body: %v", err)
}

// admit waits until what the text will be parsed to has room in memory.
func (b *body) admit(ctx context.Context) error {
	if b.weight > 0 {
		return nil
	}
	return b.weigh(ctx, int64(len(b.text)))
}

func (b *body) weigh(ctx context.Context, n int64) error {
	n = min(n, b.api.limits.Parsing)
	if n == 0 {
		return nil
	}
	if err := b.api.parsing.Acquire(ctx, n); err != nil {
		return err
	}
	b.weight = n
	return nil
}

// reweigh waits until what came of the body, n bytes if it were printed, has
// room as well. Nothing is held meanwhile: who waited with something in hand
// could wait for one who waits for just that.
func (b *body) reweigh(ctx context.Context, n int64) error {
	if n = min(n, b.api.limits.Parsing); n <= b.weight {
		return nil
	}
	if b.weight > 0 {
		b.api.parsing.Release(b.weight)
		b.weight = 0
	}
	return b.weigh(ctx, n)
}
