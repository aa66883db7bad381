//go:build !unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// trapSignals catches Ctrl-C and the request to end.
func trapSignals() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

func kindOf(os.Signal) signalKind { return stopSignal }
