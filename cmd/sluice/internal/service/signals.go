package service

import "os"

// Signal is what a signal asks for (cli, section 10).
type Signal uint8

// The things that signals ask for.
const (
	Idle   Signal = iota // nothing that is implemented
	Stop                 // graceful stop
	Quit                 // immediate end
	Reload               // load the config file again
)

// IsInterrupt reports whether the user pressed Ctrl-C, or it is as if.
func IsInterrupt(sig os.Signal) bool { return sig == os.Interrupt }
