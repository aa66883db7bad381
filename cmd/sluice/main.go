// Package main is sluice, a proxy and web server that is steered through a
// REST API. Each subcommand has a file of its own; process.go and the files
// that it names put the server together.
package main

import (
	"os"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/about"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

// versionText is the version with the module's hash where it is known.
func versionText() string { return about.Version(version) }

func main() { os.Exit(thisProgram().execute(os.Args[1:])) }
