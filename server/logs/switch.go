package logs

import (
	"bytes"
	"io"
	"log"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Switch is the process's logs: it knows the current Set and owns the opened
// outputs. All methods are safe for concurrent use.
type Switch struct {
	process Process
	outputs outputs
	current atomic.Pointer[Set]
	modules loggers
	cores   loggers
	// swap is held for reading while a logger of the Switch writes, so that no
	// output is closed under its hands.
	swap    sync.RWMutex
	holding atomic.Bool
	mu      sync.Mutex
	held    []heldEntry
}

// heldEntry is an entry from before the first configuration.
type heldEntry struct {
	entry  zapcore.Entry
	fields []zapcore.Field
	stack  []uintptr
	core   bool
}

// maxHeld bounds the entries that are held back.
const maxHeld = 4096

// NewSwitch returns a Switch whose Set is that of an empty `logging` object:
// one log on standard error, from level INFO up.
func NewSwitch(p Process) *Switch {
	sw := &Switch{process: p}
	sw.outputs.process = &sw.process
	set := newSet(&sw.process)
	l := &namedLog{name: defaultLog, sw: sw, level: zapcore.InfoLevel, stack: zapcore.InvalidLevel, writer: standard("stderr", p.Stderr)}
	l.encoder = defaultEncoder(l.writer, &sw.process)
	l.core = &logCore{log: l, enc: l.encoder}
	set.add(l)
	_ = set.open(&sw.outputs) // a standard writer does not fail to open
	sw.current.Store(set)
	return sw
}

// Current is the Set in use. It is lock-free and never nil.
func (sw *Switch) Current() *Set { return sw.current.Load() }

// Use makes s the current Set; its resources must have been prepared, and s
// made with this Switch. If the destination of the default log changes, the
// old one gets a last line that says where to look. What Buffer has held back
// is written to s.
func (sw *Switch) Use(s *Set) {
	sw.swap.Lock()
	old := sw.current.Load()
	if old != s {
		s.share(&sw.outputs)
		if from, to := old.destination(), s.destination(); from != to {
			old.Core("").Info("redirected default logger", zap.String("from", from), zap.String("to", to))
		}
		sw.current.Store(s)
		sw.redirectStdLog(old, s)
	}
	sw.flushTo(s)
	sw.swap.Unlock()
	if old != s {
		s.start()
		old.release(&sw.outputs)
	}
}

// redirectStdLog follows the sink.
func (sw *Switch) redirectStdLog(old, s *Set) {
	if sw.process.StdLog == nil || (old.sink == nil && s.sink == nil) {
		return
	}
	switch {
	case s.sink != nil && s.sink.out != nil:
		sw.process.StdLog(s.sink.out)
	case sw.process.Stderr != nil:
		sw.process.StdLog(sw.process.Stderr)
	default:
		sw.process.StdLog(io.Discard)
	}
}

// Buffer begins to hold back the entries of Core and Logger, all levels, until
// Use or Flush. It is for the time before the first configuration.
func (sw *Switch) Buffer() { sw.holding.Store(true) }

// Flush writes what was held back to the current Set and ends the holding back.
// A process that stops without a configuration calls it.
func (sw *Switch) Flush() {
	sw.swap.Lock()
	defer sw.swap.Unlock()
	sw.flushTo(sw.current.Load())
}

// flushTo is called with swap locked for writing.
func (sw *Switch) flushTo(s *Set) {
	sw.holding.Store(false)
	sw.mu.Lock()
	held := sw.held
	sw.held = nil
	sw.mu.Unlock()
	for _, h := range held {
		s.fanoutOf(h.entry.LoggerName, h.core).replay(h.entry, h.fields, h.stack)
	}
}

// Core returns the core logger with the name. It follows Use and may be kept
// for as long as the process lives.
func (sw *Switch) Core(name string) *zap.Logger {
	if l := sw.cores.find(name); l != nil {
		return l
	}
	return sw.cores.add(name, newLogger(&sw.process, &switchCore{sw: sw, name: name, core: true}, name))
}

// Logger returns the module logger with the name. It follows Use and may be
// kept for as long as the process lives: it is for what outlives a generation.
func (sw *Switch) Logger(name string) *zap.Logger {
	if l := sw.modules.find(name); l != nil {
		return l
	}
	return sw.modules.add(name, newLogger(&sw.process, &switchCore{sw: sw, name: name}, name))
}

// heir is the output that takes what comes too late for one that was closed.
func (sw *Switch) heir(name string) *output {
	set := sw.Current()
	for _, l := range set.logs {
		if l.name == name {
			return l.out
		}
	}
	return set.logs[0].out
}

// StdLog returns a logger of the standard library whose lines become entries of
// a module logger at level DEBUG; the library's reports of panics are at level
// ERROR. It follows Use.
func (sw *Switch) StdLog(name string) *log.Logger {
	return log.New(lines{sw.Logger(name)}, "", 0)
}

// lines makes entries of lines.
type lines struct{ log *zap.Logger }

func (l lines) Write(p []byte) (int, error) {
	level := zapcore.DebugLevel
	if bytes.Contains(p, []byte(": panic serving ")) {
		level = zapcore.ErrorLevel
	}
	if l.log.Core().Enabled(level) {
		if ce := l.log.Check(level, string(bytes.TrimRight(p, "\n"))); ce != nil {
			ce.Write()
		}
	}
	return len(p), nil
}

// Lost is how many entries outputs have not taken since the process began,
// because they failed or were blocked.
func (sw *Switch) Lost() int64 { return sw.outputs.lost.Load() }

// Sync returns when every entry logged so far is written, or with an error if
// an output fails or has been blocked for some seconds.
func (sw *Switch) Sync() error {
	sw.Flush()
	return sw.outputs.sync()
}

// switchCore passes entries to the Set that is current when they come.
type switchCore struct {
	sw     *Switch
	name   string
	core   bool
	fields []zapcore.Field
}

func (s *Set) fanoutOf(name string, core bool) *fanout {
	l := s.Logger
	if core {
		l = s.Core
	}
	return l(name).Core().(*fanout)
}

func (c *switchCore) target() *fanout { return c.sw.current.Load().fanoutOf(c.name, c.core) }

// Enabled implements zapcore.Core.
func (c *switchCore) Enabled(l zapcore.Level) bool {
	return c.sw.holding.Load() || c.target().Enabled(l)
}

// With implements zapcore.Core.
func (c *switchCore) With(fields []zapcore.Field) zapcore.Core {
	w := *c
	w.fields = slices.Concat(c.fields, fields)
	return &w
}

// Check implements zapcore.Core.
func (c *switchCore) Check(ent zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.sw.holding.Load() {
		return ce.AddCore(ent, c)
	}
	f := c.target()
	for i := range f.taps {
		if f.wants(&f.taps[i], &ent) {
			return ce.AddCore(ent, c)
		}
	}
	return ce
}

// Write implements zapcore.Core.
func (c *switchCore) Write(ent zapcore.Entry, fields []zapcore.Field) error {
	if len(c.fields) > 0 {
		fields = slices.Concat(c.fields, fields)
	}
	if ent.Level > zapcore.ErrorLevel { // perhaps the last words
		c.sw.Flush()
	}
	c.sw.swap.RLock()
	defer c.sw.swap.RUnlock()
	if c.sw.holding.Load() && c.sw.keep(heldEntry{ent, fields, nil, c.core}) {
		return nil
	}
	if ce := c.target().Check(ent, nil); ce != nil {
		ce.Write(fields...)
	}
	return nil
}

// keep holds an entry back, if there is room.
func (sw *Switch) keep(h heldEntry) bool {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if len(sw.held) >= maxHeld {
		return false
	}
	h.fields = slices.Clone(h.fields)
	h.stack = callStack()
	sw.held = append(sw.held, h)
	return true
}

// Sync implements zapcore.Core.
func (c *switchCore) Sync() error { return c.sw.outputs.sync() }
