package logs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap/zapcore"
)

// Config is the `logging` object.
type Config struct {
	// Sink is where the output of the Go standard library's global logger goes.
	// Only its writer has an effect. Default: standard error, as it is.
	Sink *BaseConfig `json:"sink"`
	// Logs are the logs by name. The one called default receives the entries of
	// the process itself as well; if it is not given it writes to standard error
	// from level INFO up.
	Logs map[string]LogConfig `json:"logs"`
}

// BaseConfig is what every log has.
type BaseConfig struct {
	// Writer is where the log goes. Default: stderr.
	Writer module.Ref[*Writer] `json:"writer" module:"caddy.logging.writers" inline:"output"`
	// Encoder is the form of the entries. Default: console if the writer is
	// stdout or stderr and standard error is a terminal, else json.
	Encoder module.Ref[zapcore.Encoder] `json:"encoder" module:"caddy.logging.encoders" inline:"format"`
	// Core also gets every entry that is written, whatever the encoder. No core
	// comes with the program.
	Core module.Ref[zapcore.Core] `json:"core" module:"caddy.logging.cores" inline:"module"`
	// Level is the lowest level that is written: DEBUG, INFO, WARN, ERROR, PANIC
	// or FATAL, in any case. Placeholders such as {env.LOG_LEVEL} are replaced at
	// load. Default: INFO.
	Level string `json:"level"`
	// Sampling keeps a flood of equal entries out of the log. Default: none.
	Sampling *SamplingConfig `json:"sampling"`
	// WithCaller adds the source position of the code that logs.
	WithCaller bool `json:"with_caller"`
	// WithCallerSkip is how many frames to skip for the position and for stack
	// traces. Default: 0.
	WithCallerSkip int `json:"with_caller_skip" check:"min=0,max=1000"`
	// WithStacktrace adds a stack trace to entries from this level up. Default:
	// none.
	WithStacktrace string `json:"with_stacktrace"`
}

// LogConfig is one log.
type LogConfig struct {
	BaseConfig
	// Include is the names of the loggers whose entries the log takes; a name
	// stands for those below it too. Default: all.
	Include []string `json:"include"`
	// Exclude is the names of loggers whose entries it does not take. Where both
	// lists have a name for a logger, the longer one decides. "*" stands for all
	// module loggers, "." for the unnamed core logger. Default: none.
	Exclude []string `json:"exclude"`
}

// SamplingConfig limits how many entries of equal level and message are written.
type SamplingConfig struct {
	// Interval after which counting starts again: nanoseconds, or text such as
	// "1s". Default: 1s.
	Interval module.Duration `json:"interval" check:"min=0"`
	// First is how many entries pass in each interval before sampling begins.
	// Default: 100.
	First int `json:"first" check:"min=0"`
	// Thereafter n means that of the further ones every nth passes. Default: 100.
	Thereafter int `json:"thereafter" check:"min=0"`
}

const defaultLog = "default"

// compile makes the Set of the logging object.
func compile(env *module.Env, c *Config) (*Set, error) {
	sw := module.Service[*Switch](env)
	s := newSet(&sw.process)
	var ps schema.Problems
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(c.Logs)), func(n string) bool { return n == defaultLog })
	for _, name := range append([]string{defaultLog}, names...) {
		cfg := c.Logs[name]
		l, problems := newLog(env, sw, name, &cfg.BaseConfig)
		l.selection = selection{cfg.Include, cfg.Exclude}
		problems = append(problems, l.selection.check()...)
		ps = append(ps, problems.Under(config.JoinPointer("", "logs", name))...)
		s.add(l)
	}
	if c.Sink != nil {
		l, problems := newLog(env, sw, "", c.Sink)
		ps = append(ps, problems.Under("/sink")...)
		s.sink = l
		if n := c.Sink; n.Encoder.Set() || n.Level != "" || n.Core.Set() || n.Sampling != nil || n.WithCaller || n.WithStacktrace != "" {
			env.Warn("/sink", "only the writer of the sink has an effect")
		}
	}
	if len(ps) > 0 {
		return nil, ps
	}
	env.Own(&lease{outputs: &sw.outputs, set: s})
	return s, nil
}

// newLog makes a log that is not opened yet.
func newLog(env *module.Env, sw *Switch, name string, c *BaseConfig) (*namedLog, schema.Problems) {
	l := &namedLog{name: name, sw: sw, writer: standard("stderr", sw.process.Stderr), caller: c.WithCaller, skip: c.WithCallerSkip}
	var ps schema.Problems
	if c.Writer.Set() {
		l.writer = c.Writer.Value()
	}
	level := func(field, text string, def zapcore.Level) zapcore.Level {
		if text == "" {
			return def
		}
		v, err := parseLevel(env, text)
		if err != nil {
			ps = append(ps, schema.Problem{Pointer: "/" + field, Message: err.Error(), Found: text, Expected: "one of " + strings.Join(levelNames(), ", ")})
		}
		return v
	}
	l.level = level("level", c.Level, zapcore.InfoLevel)
	l.stack = level("with_stacktrace", c.WithStacktrace, zapcore.InvalidLevel)
	l.encoder = defaultEncoder(l.writer, &sw.process)
	enc, problems := encoderOf(c.Encoder)
	ps = append(ps, problems.Under("/encoder")...)
	if enc != nil {
		l.encoder = settle(enc, l.encoder)
	}
	l.encoder = finish(l.encoder)
	l.core = &logCore{log: l, enc: l.encoder}
	if c.Core.Set() {
		l.extra = c.Core.Value()
		l.core = zapcore.NewTee(l.core, levelled{l.extra, l.level})
	}
	if c.Sampling != nil {
		if c.Sampling.Interval < 0 {
			ps = append(ps, schema.Problem{Pointer: "/sampling/interval", Message: "the sampling interval cannot be negative", Expected: `a duration such as "1s"`})
		}
		l.core = c.Sampling.wrap(l.core)
	}
	return l, ps
}

// levelled is a core that gets what a log's level lets through.
type levelled struct {
	zapcore.Core
	level zapcore.Level
}

// Enabled implements zapcore.Core.
func (c levelled) Enabled(l zapcore.Level) bool { return l >= c.level && c.Core.Enabled(l) }

// With implements zapcore.Core.
func (c levelled) With(fields []zapcore.Field) zapcore.Core {
	return levelled{c.Core.With(fields), c.level}
}

// Check implements zapcore.Core.
func (c levelled) Check(ent zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if ent.Level < c.level {
		return ce
	}
	return c.Core.Check(ent, ce)
}

func (c *SamplingConfig) wrap(core zapcore.Core) zapcore.Core {
	interval, first, thereafter := time.Duration(c.Interval), c.First, c.Thereafter
	if interval <= 0 {
		interval = time.Second
	}
	if first == 0 {
		first = 100
	}
	if thereafter == 0 {
		thereafter = 100
	}
	return zapcore.NewSamplerWithOptions(core, interval, first, thereafter)
}

func levelNames() []string { return []string{"DEBUG", "INFO", "WARN", "ERROR", "PANIC", "FATAL"} }

// parseLevel reads a level, placeholders replaced.
func parseLevel(env *module.Env, text string) (zapcore.Level, error) {
	text, err := env.ExpandStrict(text)
	if err != nil {
		return 0, fmt.Errorf("invalid log level: %w", err)
	}
	switch strings.ToLower(text) {
	case "debug":
		return zapcore.DebugLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "warn":
		return zapcore.WarnLevel, nil
	case "error":
		return zapcore.ErrorLevel, nil
	case "panic":
		return zapcore.PanicLevel, nil
	case "fatal":
		return zapcore.FatalLevel, nil
	}
	return 0, fmt.Errorf("unrecognized log level: %s", text)
}

// lease holds the outputs of a Set open for the generations that use it.
type lease struct {
	outputs *outputs
	set     *Set
}

// Prepare opens what is not open.
func (l *lease) Prepare() error { return l.set.open(l.outputs) }

// Start does nothing: the engine tells the Switch.
func (l *lease) Start() {}

// Close releases the outputs.
func (l *lease) Close() { l.set.release(l.outputs) }
