// Package idleread reads from connections that are silent most of the time, and keeps no buffer of any size while they
// are: one is borrowed when there is something to read.
package idleread

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// Raw is a connection that can be read without its own methods at times. A wrapper around a connection has it where it
// adds nothing to what is read.
type Raw interface {
	// RawRead returns what to read from, or nil if the next read has to go through Read.
	RawRead() syscall.RawConn
}

// RawOf returns what to read from instead of conn, or nil if there is nothing.
func RawOf(conn any) syscall.RawConn {
	switch c := conn.(type) {
	case Raw:
		return c.RawRead()
	case *net.TCPConn:
		return rawOf(c)
	case *net.UnixConn:
		return rawOf(c)
	}
	return nil
}

func rawOf(c syscall.Conn) syscall.RawConn {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Buffers lends buffers of one size. Safe for concurrent use.
type Buffers struct {
	pool sync.Pool
	size int
}

// NewBuffers returns buffers of size bytes, which is positive.
func NewBuffers(size int) *Buffers {
	b := &Buffers{size: size}
	b.pool.New = func() any { p := make([]byte, size); return &p }
	return b
}

func (b *Buffers) get() *[]byte { return b.pool.Get().(*[]byte) }

func (b *Buffers) put(p *[]byte) { b.pool.Put(p) }

// smallSize is what is kept to wait with for a connection that can be read through its methods only, as one with TLS.
const smallSize = 1 << 10

// Reader reads from one connection. It is used by one goroutine at a time.
type Reader struct {
	from    io.Reader
	buffers *Buffers

	raw   syscall.RawConn
	step  func(fd uintptr) bool
	lent  *[]byte
	n     int
	err   error
	small []byte
	full  bool // the last read filled small, so more is likely there
}

// NewReader returns a reader of a connection that borrows from buffers.
func NewReader(from io.Reader, buffers *Buffers) *Reader {
	return &Reader{from: from, buffers: buffers}
}

// Next waits for bytes and returns them. They are valid until [Reader.Free], which comes before the next call. The error is
// that of the connection, io.EOF at its end; bytes may come with it.
func (r *Reader) Next() ([]byte, error) {
	if r.raw == nil && canRaw {
		r.raw, r.step = RawOf(r.from), r.try
	}
	if r.raw == nil {
		return r.plain()
	}
	r.n, r.err, r.small = 0, nil, nil
	if err := r.raw.Read(r.step); err != nil && r.err == nil {
		r.err = err
	}
	if r.lent == nil {
		return nil, r.err
	}
	return (*r.lent)[:r.n], r.err
}

// plain reads through the method of the connection. It waits with little, so that a silent connection costs little.
func (r *Reader) plain() ([]byte, error) {
	if r.full || r.buffers.size <= smallSize {
		r.lent = r.buffers.get()
		n, err := r.from.Read(*r.lent)
		r.full = n == len(*r.lent)
		return (*r.lent)[:n], err
	}
	if r.small == nil {
		r.small = make([]byte, smallSize)
	}
	n, err := r.from.Read(r.small)
	r.full = n == len(r.small)
	return r.small[:n], err
}

// Free gives back what Next has borrowed.
func (r *Reader) Free() {
	if r.lent != nil {
		r.buffers.put(r.lent)
		r.lent = nil
	}
}
