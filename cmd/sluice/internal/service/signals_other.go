//go:build !unix

package service

import (
	"os"
	"os/signal"
	"syscall"
)

// Trap catches Ctrl-C and the request to end.
func Trap() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

// SignalOf says what a signal asks for.
func SignalOf(os.Signal) Signal { return Stop }
