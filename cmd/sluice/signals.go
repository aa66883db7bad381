package main

import "os"

// signalKind is what a signal asks for.
type signalKind uint8

const (
	idleSignal   signalKind = iota // logged and ignored
	stopSignal                     // graceful stop
	quitSignal                     // immediate end
	reloadSignal                   // load the config file again
)

func isInterrupt(sig os.Signal) bool { return sig == os.Interrupt }
