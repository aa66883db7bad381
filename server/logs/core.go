package logs

import (
	"errors"
	"runtime"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/server/logs/stream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// namedLog is one log of a Set.
type namedLog struct {
	name   string
	sw     *Switch
	level  zapcore.Level
	stack  zapcore.Level // entries from this level up get a stack trace
	caller bool
	skip   int
	selection
	writer  *Writer
	encoder zapcore.Encoder
	extra   zapcore.Core // gets the entries too; nil if there is none
	core    zapcore.Core // a logCore and extra, with a sampler around them if there is one
	out     *output      // nil until prepared
}

// fanout is the core of one logger: it passes entries to the logs that take
// them.
type fanout struct {
	name  string
	core  bool // of a core logger
	taps  []tap
	level zapcore.Level // the lowest of all taps
}

type tap struct {
	log   *namedLog
	core  zapcore.Core
	takes bool // the fanout's own name
}

// Enabled implements zapcore.Core.
func (f *fanout) Enabled(l zapcore.Level) bool { return l >= f.level }

// Level is the lowest level that may be written.
func (f *fanout) Level() zapcore.Level { return f.level }

// With implements zapcore.Core.
func (f *fanout) With(fields []zapcore.Field) zapcore.Core {
	c := *f
	c.taps = make([]tap, len(f.taps))
	for i, t := range f.taps {
		t.core = t.core.With(fields)
		c.taps[i] = t
	}
	return &c
}

// wants reports whether the tap's log takes the entry, sampling apart.
func (f *fanout) wants(t *tap, ent *zapcore.Entry) bool {
	if ent.Level < t.log.level {
		return false
	}
	if ent.LoggerName == f.name {
		return t.takes
	}
	return t.log.takes(ent.LoggerName, f.core)
}

// Check implements zapcore.Core.
func (f *fanout) Check(ent zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	for i := range f.taps {
		if t := &f.taps[i]; f.wants(t, &ent) {
			ce = t.core.Check(ent, ce)
		}
	}
	return ce
}

// Write implements zapcore.Core. Entries do not come this way: Check adds the
// cores of the logs.
func (f *fanout) Write(ent zapcore.Entry, fields []zapcore.Field) error {
	var errs []error
	for i := range f.taps {
		errs = append(errs, f.taps[i].core.Write(ent, fields))
	}
	return errors.Join(errs...)
}

// replay writes an entry that was held back, with the call stack it had.
func (f *fanout) replay(ent zapcore.Entry, fields []zapcore.Field, stack []uintptr) {
	for i := range f.taps {
		if t := &f.taps[i]; f.wants(t, &ent) {
			_ = t.log.write(t.log.encoder, ent, fields, stack)
			if t.log.extra != nil && t.log.extra.Enabled(ent.Level) {
				_ = t.log.extra.Write(ent, fields)
			}
		}
	}
}

// Sync implements zapcore.Core.
func (f *fanout) Sync() error {
	var errs []error
	for i := range f.taps {
		errs = append(errs, f.taps[i].core.Sync())
	}
	return errors.Join(errs...)
}

// logCore writes what it gets to one log.
type logCore struct {
	log *namedLog
	enc zapcore.Encoder
}

// Enabled implements zapcore.Core.
func (c *logCore) Enabled(l zapcore.Level) bool { return l >= c.log.level }

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	enc := c.enc.Clone()
	for i := range fields {
		fields[i].AddTo(enc)
	}
	return &logCore{c.log, enc}
}

// Check implements zapcore.Core.
func (c *logCore) Check(ent zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if ent.Level < c.log.level {
		return ce
	}
	return ce.AddCore(ent, c)
}

// Write implements zapcore.Core.
func (c *logCore) Write(ent zapcore.Entry, fields []zapcore.Field) error {
	return c.log.write(c.enc, ent, fields, nil)
}

// Sync implements zapcore.Core.
func (c *logCore) Sync() error {
	if c.log.out == nil {
		return nil
	}
	return c.log.out.Sync()
}

// write encodes an entry and hands it to the output. Errors are not held back,
// and what may be the process's last words is written before write returns.
func (l *namedLog) write(enc zapcore.Encoder, ent zapcore.Entry, fields []zapcore.Field, stack []uintptr) error {
	if l.out == nil {
		return nil
	}
	ent.Caller, ent.Stack = zapcore.EntryCaller{}, ""
	if l.caller || ent.Level >= l.stack {
		l.locate(&ent, stack)
	}
	if n := l.out.TakeLost(); n > 0 {
		l.reportLost(ent, n)
	}
	buf, err := enc.EncodeEntry(ent, fields)
	if err != nil {
		return err
	}
	_, err = l.out.Put(buf.Bytes(), ent.Level >= zapcore.ErrorLevel)
	if errors.Is(err, stream.ErrClosed) { // someone logs to a Set that is no longer current
		if o := l.sw.heir(l.name); o != nil {
			_, err = o.Put(buf.Bytes(), true)
		}
	}
	buf.Free()
	if ent.Level > zapcore.ErrorLevel {
		_ = l.out.Sync()
	}
	return err
}

func (l *namedLog) reportLost(ent zapcore.Entry, lines int64) {
	buf, err := l.encoder.EncodeEntry(
		zapcore.Entry{Level: zapcore.WarnLevel, Time: ent.Time, Message: "log entries were lost because the output was blocked or failed"},
		[]zapcore.Field{zap.Int64("lost", lines), zap.String("output", l.writer.Key)})
	if err != nil {
		return
	}
	_, _ = l.out.Put(buf.Bytes(), false)
	buf.Free()
}

// maxFrames bounds stack traces.
const maxFrames = 256

func callStack() []uintptr {
	pcs := make([]uintptr, maxFrames)
	return pcs[:runtime.Callers(2, pcs)]
}

// locate sets the position and the stack trace of an entry as the log wants
// them. The frames of zap and of this package do not count.
func (l *namedLog) locate(ent *zapcore.Entry, stack []uintptr) {
	if stack == nil {
		stack = callStack()
	}
	frames := runtime.CallersFrames(stack)
	skip, inside, first := l.skip, true, true
	var text strings.Builder
	for {
		f, more := frames.Next()
		if inside && ownFrame(f.Function) && more {
			continue
		}
		inside = false
		if skip--; skip >= 0 && more {
			continue
		}
		if first && l.caller {
			ent.Caller = zapcore.EntryCaller{Defined: f.PC != 0, PC: f.PC, File: f.File, Line: f.Line, Function: f.Function}
		}
		if ent.Level < l.stack || !more { // the last frame is the runtime's
			break
		}
		if !first {
			text.WriteByte('\n')
		}
		first = false
		text.WriteString(f.Function + "\n\t" + f.File + ":" + strconv.Itoa(f.Line))
	}
	ent.Stack = text.String()
}

func ownFrame(function string) bool {
	return strings.HasPrefix(function, "go.uber.org/zap") ||
		strings.HasPrefix(function, "github.com/sluiceproxy/sluice/server/logs.")
}
