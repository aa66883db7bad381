package logs

import (
	"io"
	"sync"

	"github.com/sluiceproxy/sluice/config/module"
)

// Writer is the value of a writer module: where the lines of a log go, not yet
// opened.
type Writer struct {
	// Key is the destination's identity. Logs with equal keys share one opened
	// output, within a configuration and over reloads; the settings of the one
	// that opened it rule.
	Key string
	// Standard says that it is standard output or standard error, which decides
	// about the default encoder.
	Standard bool
	// Discard says that lines need not even be made.
	Discard bool
	// Open opens the destination. Lines come from one goroutine at a time, one
	// or more in a call. Close is called after the last.
	Open func() (io.WriteCloser, error)
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
	}
}

func standard(name string, w io.Writer) *Writer {
	if w == nil {
		w = io.Discard
	}
	return &Writer{Key: name, Standard: true, Open: func() (io.WriteCloser, error) { return kept{w}, nil }}
}

func discard() *Writer {
	return &Writer{Key: "discard", Discard: true, Open: func() (io.WriteCloser, error) { return kept{io.Discard}, nil }}
}

// kept is a writer that stays open.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }

// output is an opened destination.
type output struct {
	*stream
	key   string
	file  io.Closer
	users int
}

// outputs are the opened destinations of a process, by key. It is safe for
// concurrent use.
type outputs struct {
	process *Process
	mu      sync.Mutex
	open    map[string]*output
}

// acquire opens a destination, or counts one user more of an open one.
func (p *outputs) acquire(w *Writer) (*output, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.open[w.Key]; o != nil {
		o.users++
		return o, nil
	}
	file, err := w.Open()
	if err != nil {
		return nil, err
	}
	hold := holdFor
	if w.Standard && p.process.Terminal {
		hold = 0
	}
	o := &output{stream: newStream(file, hold), key: w.Key, file: file, users: 1}
	if p.open == nil {
		p.open = map[string]*output{}
	}
	p.open[w.Key] = o
	return o, nil
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
	if last {
		_ = o.close()
		_ = o.file.Close()
	}
}

// sync flushes all open outputs.
func (p *outputs) sync() error {
	p.mu.Lock()
	all := make([]*output, 0, len(p.open))
	for _, o := range p.open {
		all = append(all, o)
	}
	p.mu.Unlock()
	var err error
	for _, o := range all {
		if e := o.Sync(); e != nil {
			err = e
		}
	}
	return err
}
