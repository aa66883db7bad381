//go:build unix

package service

import (
	"os"
	"os/signal"
	"syscall"
)

// Trap catches all signals that have a meaning.
func Trap() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
	return c
}

// SignalOf says what a signal asks for.
func SignalOf(sig os.Signal) Signal {
	switch sig {
	case os.Interrupt, syscall.SIGTERM:
		return Stop
	case syscall.SIGQUIT:
		return Quit
	case syscall.SIGUSR1:
		return Reload
	}
	return Idle
}
