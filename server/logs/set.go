package logs

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Set is the compiled `logging` object: all logs of one configuration. It is
// safe for concurrent use once its resources are prepared; entries logged
// before that are dropped.
type Set struct {
	process *Process
	logs    []*namedLog // the default log first
	sink    *namedLog   // only its output counts; nil if not configured
	modules loggers
	cores   loggers
}

func newSet(p *Process) *Set { return &Set{process: p} }

// add takes a log in, unless it would drop everything.
func (s *Set) add(l *namedLog) {
	if l.name == defaultLog || !l.writer.Discard {
		s.logs = append(s.logs, l)
	}
}

// Logger returns the module logger with the name. After the first call for a
// name it costs a map lookup and no memory. It must not be used longer than
// the generation that the Set belongs to; Switch.Logger has no such limit.
func (s *Set) Logger(name string) *zap.Logger {
	if l := s.modules.find(name); l != nil {
		return l
	}
	return s.modules.add(name, s.logger(name, false))
}

// Core returns the core logger with the name, which writes to the default log
// only.
func (s *Set) Core(name string) *zap.Logger {
	if l := s.cores.find(name); l != nil {
		return l
	}
	return s.cores.add(name, s.logger(name, true))
}

func (s *Set) logger(name string, core bool) *zap.Logger {
	return newLogger(s.process, s.fanout(name, core), name)
}

func newLogger(p *Process, core zapcore.Core, name string) *zap.Logger {
	return zap.New(core, zap.WithClock(p.clock()), zap.ErrorOutput(zapcore.AddSync(discardAll{}))).Named(name)
}

// discardAll takes zap's own messages about failed writes. They would go to
// standard error, which may be what is blocked; streams count such failures.
type discardAll struct{}

func (discardAll) Write(p []byte) (int, error) { return len(p), nil }

// fanout finds the logs for a logger.
func (s *Set) fanout(name string, core bool) *fanout {
	f := &fanout{name: name, core: core, level: zapcore.InvalidLevel}
	for i, l := range s.logs {
		if (core && i > 0) || l.writer.Discard || !l.selection.mayTake(name, core) {
			continue
		}
		f.taps = append(f.taps, tap{l, l.core, l.selection.takes(name, core)})
		f.level = min(f.level, l.level)
	}
	return f
}

// destination is where the default log goes.
func (s *Set) destination() string { return s.logs[0].writer.Key }

// all is every log that needs an output.
func (s *Set) all() []*namedLog {
	if s.sink == nil {
		return s.logs
	}
	return append(s.logs[:len(s.logs):len(s.logs)], s.sink)
}

// open acquires the outputs of all logs, or of none.
func (s *Set) open(p *outputs) error {
	for i, l := range s.all() {
		o, err := p.acquire(l.writer)
		if err != nil {
			for _, l := range s.all()[:i] {
				p.release(l.out)
				l.out = nil
			}
			return schema.Problems{{Pointer: l.pointer() + "/writer", Message: fmt.Sprintf("opening the output of %s: %v", l, err), Found: l.writer.Key}}
		}
		l.out = o
	}
	return nil
}

// pointer is where the log stands in the document.
func (l *namedLog) pointer() string {
	if l.name == "" {
		return place + "/sink"
	}
	return place + config.JoinPointer("", "logs", l.name)
}

// String names the log in errors.
func (l *namedLog) String() string {
	if l.name == "" {
		return "the sink"
	}
	return fmt.Sprintf("log %q", l.name)
}

// start puts the settings of the writers into effect.
func (s *Set) start() {
	done := map[*output]bool{}
	for _, l := range s.all() {
		if l.out != nil && !done[l.out] {
			done[l.out] = true
			l.out.start(l.writer)
		}
	}
}

func (s *Set) share(p *outputs) {
	for _, l := range s.all() {
		if l.out != nil {
			p.share(l.out)
		}
	}
}

func (s *Set) release(p *outputs) {
	for _, l := range s.all() {
		if l.out != nil {
			p.release(l.out)
		}
	}
}

// maxLoggers bounds the loggers that are kept, because names may come from
// requests.
const maxLoggers = 1024

// loggers are loggers by name, read without a lock.
type loggers struct {
	known atomic.Pointer[map[string]*zap.Logger]
	mu    sync.Mutex
}

func (c *loggers) find(name string) *zap.Logger {
	if m := c.known.Load(); m != nil {
		return (*m)[name]
	}
	return nil
}

func (c *loggers) add(name string, l *zap.Logger) *zap.Logger {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.known.Load()
	m := map[string]*zap.Logger{}
	if old != nil {
		if known := (*old)[name]; known != nil {
			return known
		}
		if len(*old) >= maxLoggers {
			return l
		}
		m = maps.Clone(*old)
	}
	m[name] = l
	c.known.Store(&m)
	return l
}
