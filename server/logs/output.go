package logs

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/server/logs/stream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// output is an opened destination.
type output struct {
	*stream.Stream
	key      string
	settings string // those that rule
	started  bool
	file     io.WriteCloser
	users    int
	trouble  trouble
}

// maxStart is how long an output may take to follow new settings; if it is
// stuck it follows them when it moves again.
const maxStart = time.Second

// start puts the settings of a writer into effect.
func (o *output) start(w *Writer) {
	if o.started && o.settings == w.Settings {
		return
	}
	o.started, o.settings = true, w.Settings
	if w.Start == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		w.Start(o.file)
		close(done)
	}()
	timer := time.NewTimer(maxStart)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// outputs are the opened destinations of a process, by key. It is safe for
// concurrent use, but acquire and release are called by one goroutine at a time.
type outputs struct {
	process *Process
	lost    atomic.Int64 // lines, since the process began
	mu      sync.Mutex
	open    map[string]*output
	ending  map[string]<-chan struct{} // outputs that were closed and still work
}

// acquire opens a destination, or counts one user more of an open one.
func (p *outputs) acquire(w *Writer) (*output, error) {
	if o := p.join(w.Key); o != nil {
		return o, nil
	}
	o := &output{key: w.Key, settings: w.Settings, users: 1}
	o.trouble = trouble{process: p.process, key: w.Key}
	file, err := w.Open(Opening{Stderr: p.process.stderr(), Report: func(err error) { o.trouble.note(err, 0) }, After: p.lingering(w.Key)})
	if err != nil {
		return nil, err
	}
	pace := stream.Pace{Hold: stream.HoldFor, Impatient: w.Impatient}
	if w.Standard && p.process.Terminal {
		pace.Hold = 0
	}
	if d, ok := file.(Direct); ok {
		pace.Direct = d.Direct()
	}
	o.file, o.Stream = file, stream.New(file, pace)
	o.Failed = func(err error, lost int64) {
		p.lost.Add(lost)
		if !w.Standard { // there is nowhere to tell of standard error
			o.trouble.note(err, lost)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[string]*output{}
	}
	p.open[w.Key] = o
	return o, nil
}

// join counts one user more of an output that is open.
func (p *outputs) join(key string) *output {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.open[key]
	if o != nil {
		o.users++
	}
	return o
}

// lingering returns what is closed when no closed output of the key works any
// more, nil if none does.
func (p *outputs) lingering(key string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending[key]
}

// share counts one user more of an output that has some.
func (p *outputs) share(o *output) {
	p.mu.Lock()
	o.users++
	p.mu.Unlock()
}

// release counts one user less and closes with the last.
func (p *outputs) release(o *output) {
	p.mu.Lock()
	o.users--
	last := o.users == 0
	if last {
		delete(p.open, o.key)
	}
	p.mu.Unlock()
	if !last {
		return
	}
	if err := o.Stream.Close(); err != nil {
		go p.end(o) // it may be stuck for good
		return
	}
	p.end(o)
}

// end closes an output for which no more lines come.
func (p *outputs) end(o *output) {
	_ = o.file.Close()
	l, ok := o.file.(Lingering)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.ending, func(_ string, done <-chan struct{}) bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	if done := l.Done(); done != nil {
		if p.ending == nil {
			p.ending = map[string]<-chan struct{}{}
		}
		p.ending[o.key] = done
	}
}

// sync flushes all open outputs.
func (p *outputs) sync() error {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.open))
	p.mu.Unlock()
	var errs []error
	for _, o := range all {
		if err := o.Sync(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tellEvery is how often an output that fails is spoken of on standard error.
const tellEvery = time.Minute

// trouble tells the operator of an output that fails, the first time at once and
// then at most once in tellEvery. It is safe for concurrent use.
type trouble struct {
	process *Process
	key     string
	mu      sync.Mutex
	told    time.Time
	lost    int64
	err     error // the last one
}

// note takes a failure and the number of lines that it cost. It never waits for
// standard error.
func (t *trouble) note(err error, lost int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost += lost
	if err != nil {
		t.err = err
	}
	now := t.process.clock().Now()
	if !t.told.IsZero() && now.Sub(t.told) < tellEvery {
		return
	}
	if t.err == nil {
		t.err = stream.ErrBlocked
	}
	t.told = now
	fields := []zap.Field{zap.String("output", t.key), zap.Error(t.err), zap.Int64("lost", t.lost)}
	t.lost, t.err = 0, nil
	go t.tell(now, fields)
}

func (t *trouble) tell(now time.Time, fields []zap.Field) {
	entry := zapcore.Entry{Level: zapcore.ErrorLevel, Time: now, LoggerName: "logs", Message: "a log output does not work"}
	stderr := standard("stderr", t.process.Stderr)
	if buf, err := defaultEncoder(stderr, t.process).EncodeEntry(entry, fields); err == nil {
		_, _ = t.process.stderr().Write(buf.Bytes())
		buf.Free()
	}
}
