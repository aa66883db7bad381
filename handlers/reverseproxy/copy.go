package reverseproxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const copySize = 32 << 10

type copyBuffer [copySize]byte

var copyBuffers = sync.Pool{New: func() any { return new(copyBuffer) }}

// writeError marks an error of the client's side of a copy.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// releaser is what holds a generation: the exchange.
type releaser interface{ Release() }

// copyBody copies a response body and flushes as the interval says: 0 never, negative after every write, positive that
// long after a write that no flush was pending for (FLUSH-2 to FLUSH-5). With a negative interval the header is flushed
// before the first byte. What turns out to be a stream, or longer than one read, releases its generation.
func copyBody(w http.ResponseWriter, src io.Reader, interval time.Duration, generation releaser) error {
	buf := copyBuffers.Get().(*copyBuffer)
	defer copyBuffers.Put(buf)
	if interval == 0 {
		return copyLoop(w, src, buf[:], nil, generation)
	}
	flusher := http.NewResponseController(w)
	if interval < 0 {
		if err := tolerate(flusher.Flush()); err != nil {
			return writeError{err}
		}
		return copyLoop(w, src, buf[:], flusher, generation)
	}
	d := &delayed{w: w, flusher: flusher, delay: interval}
	d.arm()
	defer d.stop()
	return copyLoop(d, src, buf[:], nil, generation)
}

// copyLoop copies until the end of src. After each write it flushes, if flusher is not nil.
func copyLoop(w io.Writer, src io.Reader, buf []byte, flusher *http.ResponseController, generation releaser) error {
	for reads := 0; ; reads++ {
		if reads == 1 && generation != nil {
			generation.Release()
		}
		n, err := src.Read(buf)
		if n > 0 {
			if written, werr := w.Write(buf[:n]); werr != nil {
				return writeError{werr}
			} else if written < n {
				return writeError{io.ErrShortWrite}
			}
			if flusher != nil {
				if werr := tolerate(flusher.Flush()); werr != nil {
					return writeError{werr}
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// copyHolding is copyBody for a client of HTTP/3 and a positive interval.
func copyHolding(w http.ResponseWriter, src io.Reader, interval time.Duration, generation releaser) error {
	h := &holding{ResponseWriter: w}
	err := copyBody(h, src, interval, generation)
	if werr := h.drain(); err == nil && werr != nil {
		return writeError{werr}
	}
	return err
}

// holdSize is how much is held back, as net/http does.
const holdSize = 4 << 10

// holding holds small writes back until a flush. The writers of net/http do that themselves; that of HTTP/3 does not any more
// once it has sent the header.
type holding struct {
	http.ResponseWriter
	held []byte
}

// Write implements io.Writer.
func (h *holding) Write(p []byte) (int, error) {
	if len(h.held)+len(p) <= holdSize {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	if err := h.drain(); err != nil {
		return 0, err
	}
	return h.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController flushes with.
func (h *holding) FlushError() error {
	if err := h.drain(); err != nil {
		return err
	}
	return http.NewResponseController(h.ResponseWriter).Flush()
}

// drain writes what is held back.
func (h *holding) drain() error {
	if len(h.held) == 0 {
		return nil
	}
	_, err := h.ResponseWriter.Write(h.held)
	h.held = h.held[:0]
	return err
}

// tolerate drops the error of a writer that cannot flush: what it holds back goes out in its own time.
func tolerate(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// delayed flushes some time after a write. The timer's goroutine and the writer take turns.
type delayed struct {
	w       io.Writer
	flusher *http.ResponseController
	delay   time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	pending bool
}

// Write implements io.Writer.
func (d *delayed) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.w.Write(p)
	d.schedule()
	return n, err
}

func (d *delayed) arm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.schedule()
}

func (d *delayed) schedule() {
	switch {
	case d.pending:
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(d.delay, d.flush)
	default:
		d.timer.Reset(d.delay)
	}
	d.pending = true
}

func (d *delayed) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.pending { // stopped while the timer fired
		return
	}
	d.pending = false
	// An error shows again at the next write.
	_ = d.flusher.Flush()
}

// stop drops a pending flush. No flush runs when it has returned.
func (d *delayed) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = false
	d.timer.Stop()
}
