// Package logs is everything the process writes about itself and its requests:
// the `logging` object compiled to zap loggers, the writers and encoders of its
// logs, and the entries for requests and their errors.
//
// Entries come from two kinds of loggers. Module loggers carry the name of a
// module, such as "http.log.access", and reach every log that includes the
// name. Core loggers belong to the process (the unnamed one, "admin",
// "admin.api", ...) and reach the log called "default" only.
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

// Namespaces of the modules that logs are made of.
const (
	writers  = "caddy.logging.writers"
	encoders = "caddy.logging.encoders"
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

func (p *Process) clock() zapcore.Clock {
	if p.Clock == nil {
		return zapcore.DefaultClock
	}
	return p.Clock
}
