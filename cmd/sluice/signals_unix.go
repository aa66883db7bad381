//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// trapSignals catches the signals of cli, section 10.
func trapSignals() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
	return c
}

func kindOf(sig os.Signal) signalKind {
	switch sig {
	case os.Interrupt, syscall.SIGTERM:
		return stopSignal
	case syscall.SIGQUIT:
		return quitSignal
	case syscall.SIGUSR1:
		return reloadSignal
	}
	return idleSignal
}
