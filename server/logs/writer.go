package logs

import (
	"io"

	"github.com/sluiceproxy/sluice/config/module"
)

// Writer is the value of a writer module: where the lines of a log go, not yet
// opened.
type Writer struct {
	// Key is the destination's identity. Logs with equal keys share one opened
	// output, within a configuration and over reloads.
	Key string
	// Settings is what else says how to write, as text. Of logs that share an
	// output the first one's rule, the default log being the first of all.
	Settings string
	// Standard says that it is standard output or standard error, which decides
	// about the default encoder.
	Standard bool
	// Discard says that lines need not even be made.
	Discard bool
	// Impatient drops lines that the output does not take in time, where who logs
	// would wait for a moment otherwise.
	Impatient bool
	// Open opens the destination. Lines come from one goroutine at a time, one
	// or more in a call. Close is called after the last.
	Open func(o Opening) (io.WriteCloser, error)
	// Start makes what was opened follow the writer's settings. It is called when
	// a configuration takes effect: for an output that is new to it, and for one
	// that was opened with other settings. It may be nil.
	Start func(opened io.WriteCloser)
}

// Opening is what a writer gets when it opens its destination.
type Opening struct {
	// Stderr is for lines that cannot be sent anywhere else.
	Stderr io.Writer
	// Report tells the operator, through standard error and at most once in a
	// while, of what fails without losing lines. Any goroutine may call it.
	Report func(error)
	// After, if not nil, is closed when an output of the same key that was closed
	// before is really done.
	After <-chan struct{}
}

// Direct is implemented by outputs that are so fast that who logs writes the
// line, and need not fear to lose it when the process crashes.
type Direct interface {
	// Direct reports whether it is so now.
	Direct() bool
}

// Lingering is implemented by outputs that go on working when they are closed.
type Lingering interface {
	// Done is closed when that has ended; nil means that it has.
	Done() <-chan struct{}
}

// StdoutConfig has no fields: standard output needs no settings.
type StdoutConfig struct{}

// StderrConfig has no fields: standard error needs no settings.
type StderrConfig struct{}

// DiscardConfig has no fields: there is nothing to set where nothing is kept.
type DiscardConfig struct{}

func writerSpecs() []module.Spec {
	return []module.Spec{
		module.New(writers+".stdout", "Writes a log to standard output.", nil,
			func(env *module.Env, _ *StdoutConfig) (*Writer, error) {
				return standard("stdout", module.Service[*Switch](env).process.Stdout), nil
			}, module.Words(plain[StdoutConfig]), module.Examples(module.Example{Title: "Standard output", JSON: `{"output": "stdout"}`})),
		module.New(writers+".stderr", "Writes a log to standard error.", nil,
			func(env *module.Env, _ *StderrConfig) (*Writer, error) {
				return standard("stderr", module.Service[*Switch](env).process.Stderr), nil
			}, module.Words(plain[StderrConfig]), module.Examples(module.Example{Title: "Standard error", JSON: `{"output": "stderr"}`})),
		module.New(writers+".discard", "Drops a log.", nil,
			func(*module.Env, *DiscardConfig) (*Writer, error) { return discard(), nil },
			module.Words(plain[DiscardConfig]), module.Examples(module.Example{Title: "Nowhere", JSON: `{"output": "discard"}`})),
		fileSpec(),
		netSpec(),
	}
}

func standard(name string, w io.Writer) *Writer {
	if w == nil {
		w = io.Discard
	}
	return &Writer{Key: name, Standard: true, Open: func(Opening) (io.WriteCloser, error) { return kept{w}, nil }}
}

func discard() *Writer {
	return &Writer{Key: "discard", Discard: true, Open: func(Opening) (io.WriteCloser, error) { return kept{io.Discard}, nil }}
}

// kept is a writer that stays open.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }
