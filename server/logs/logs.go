// Package logs is everything the process writes about itself and its requests:
// the `logging` object compiled to zap loggers, the writers and encoders of its
// logs, and the entries for requests and their errors.
//
// Entries come from two kinds of loggers. Module loggers carry the name of a
// module, such as "http.log.access", and reach every log that includes the
// name. Core loggers belong to the process (the unnamed one, "admin",
// "admin.api", ...) and reach the log called "default" only.
//
// Files that logs are written to are known by their absolute name and stay open
// over edits for as long as a configuration names them. What is logged has
// reached the file when the call returns, unless another goroutine writes at
// that moment. A file that someone renames or removes is missed within a second
// of the next entry, and made anew; that is how external rotation works, without
// a signal. An output that fails never stops anything: entries that it does not
// take are counted (Switch.Lost, and an entry in the log itself when it works
// again), and standard error is told at once and then every minute.
package logs

import (
	"io"
	"log"
	"os"

	"github.com/sluiceproxy/sluice/config/module"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// ID is the module ID of the `logging` object.
const ID = "sluice.logging"

// place is where the `logging` object stands in a document.
const place = "/logging"

// Namespaces of the modules that logs are made of.
const (
	writers  = "caddy.logging.writers"
	encoders = "caddy.logging.encoders"
	filters  = "caddy.logging.encoders.filter"
	cores    = "caddy.logging.cores"
)

// Specs describes the modules of this package: the `logging` object, its
// writers and its encoders. Compiling them needs a *Switch among the services.
func Specs() []module.Spec {
	specs := []module.Spec{
		module.New(ID, "Where the process writes its logs, which entries go there, and in what form.", nil, compile, module.Examples(
			module.Example{Title: "Debug entries of the proxy in a log of their own", JSON: `{"logs": {
				"default": {"level": "WARN"},
				"proxy": {"writer": {"output": "stdout"}, "encoder": {"format": "json"}, "level": "DEBUG", "include": ["http.handlers.reverse_proxy"]}}}`},
			module.Example{Title: "Access logs apart from the default log", JSON: `{"logs": {
				"default": {"exclude": ["http.log.access.log0"]},
				"log0": {"writer": {"output": "stdout"}, "include": ["http.log.access.log0"]}}}`},
			module.Example{Title: "At most 10 equal entries in 5 seconds, then every 1000th", JSON: `{"logs": {
				"default": {"sampling": {"interval": "5s", "first": 10, "thereafter": 1000}}}}`},
		)),
	}
	specs = append(specs, writerSpecs()...)
	return append(specs, encoderSpecs()...)
}

// Process is what logs need to know of the process.
type Process struct {
	// Stdout and Stderr are where the writers of these names write. A nil one
	// takes everything and keeps nothing.
	Stdout, Stderr io.Writer
	// Terminal says that standard error is read by a person: then the default
	// encoder is console, and lines are not held back to be written together.
	Terminal bool
	// NoColor turns the colours of the console encoder off where the
	// configuration does not ask for them.
	NoColor bool
	// Clock is where entries get their time; nil means the system's.
	Clock zapcore.Clock
	// StdLog sets the output of the standard library's global logger, for the
	// sink; nil leaves that logger alone.
	StdLog func(io.Writer)
}

// ThisProcess describes the real process. Colours are off when NO_COLOR has a
// value or TERM is xterm-mono.
func ThisProcess() Process {
	return Process{
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Terminal: term.IsTerminal(int(os.Stderr.Fd())),
		NoColor:  os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "xterm-mono",
		StdLog:   log.SetOutput,
	}
}

// stderr is where standard error goes, never nil.
func (p *Process) stderr() io.Writer {
	if p.Stderr == nil {
		return io.Discard
	}
	return p.Stderr
}

func (p *Process) clock() zapcore.Clock {
	if p.Clock == nil {
		return zapcore.DefaultClock
	}
	return p.Clock
}
