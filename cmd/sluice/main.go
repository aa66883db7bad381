// Package main is sluice, a proxy and web server that is steered through a
// REST API. Each subcommand has a file of its own; process.go and the files
// that it names put the server together.
package main

import (
	"os"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() { os.Exit(thisProgram().execute(os.Args[1:])) }
