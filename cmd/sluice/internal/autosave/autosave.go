// Package autosave keeps the document in a file, for --resume and for other
// programs. The store is what is relied upon: the file follows within seconds.
package autosave

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"go.uber.org/zap"
)

// File is the file that follows the document. It is safe for concurrent use.
type File struct {
	name string
	log  *zap.Logger

	mu      sync.Mutex
	pending *config.Doc
	closed  bool
	wake    chan struct{} // a document is pending
	ending  chan struct{} // closed by Close
	done    chan struct{} // closed when nothing is written any more
}

// Writing a large document takes time from serving; it may take one part in
// share.
const (
	delay = 200 * time.Millisecond
	share = 50
)

// New makes the file that follows the document from now on; only Close ends
// that.
func New(name string, log *zap.Logger) *File {
	a := &File{name: name, log: log, wake: make(chan struct{}, 1), ending: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a
}

// Changed notes the document after a change. It returns at once.
func (a *File) Changed(doc *config.Doc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || !wanted(doc) {
		return
	}
	a.pending = doc
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// wanted reports whether the document is one that is kept.
func wanted(doc *config.Doc) bool {
	if doc.Root().Kind() == config.Null {
		return false
	}
	persist := doc.Root().Get("admin").Get("config").Get("persist")
	return persist.Kind() != config.Bool || persist.Bool()
}

// Close writes what is pending and ends.
func (a *File) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.ending)
	}
	a.mu.Unlock()
	<-a.done
}

func (a *File) run() {
	defer close(a.done)
	defer a.save() // what is pending at the end
	pause := delay
	for {
		select {
		case <-a.wake:
		case <-a.ending:
			return
		}
		select {
		case <-time.After(pause):
		case <-a.ending:
			return
		}
		start := time.Now()
		a.save()
		pause = max(delay, share*time.Since(start))
	}
}

func (a *File) save() {
	a.mu.Lock()
	doc := a.pending
	a.pending = nil
	a.mu.Unlock()
	if doc == nil {
		return
	}
	if err := writeDocument(a.name, doc.Root()); err != nil {
		a.log.Error("unable to autosave config", zap.String("file", a.name), zap.Error(err))
		return
	}
	a.log.Info("autosaved config (load with --resume flag)", zap.String("file", a.name))
}

// writeDocument replaces a file by one with the document, so that a reader sees
// the one or the other.
func writeDocument(file string, root *config.Node) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making its directory: %w", err)
	}
	f, err := os.CreateTemp(dir, ".autosave-*") // mode 0600
	if err != nil {
		return fmt.Errorf("making a temporary file: %w", err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = errors.Join(root.WriteJSON(w), w.Flush())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing it: %w", err)
	}
	return nil
}
