// Package main makes a Debian package with nfpm: nfpm CONFIG FILE.deb. It is nfpm's own program without the other kinds
// of packages, whose modules are many and not to be had everywhere.
package main

import (
	"fmt"
	"os"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // tells nfpm how to make one
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: nfpm CONFIG FILE.deb")
		os.Exit(2)
	}
	if err := build(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "nfpm:", err)
		os.Exit(1)
	}
}

// build makes the package that a config describes. What is half done does not stay.
func build(config, target string) (err error) {
	parsed, err := nfpm.ParseFile(config)
	if err != nil {
		return fmt.Errorf("reading %s: %w", config, err)
	}
	info, err := parsed.Get("deb")
	if err != nil {
		return fmt.Errorf("reading %s: %w", config, err)
	}
	info = nfpm.WithDefaults(info)
	info.Target = target
	packager, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	f, err := os.Create(target)
	if err != nil {
		return fmt.Errorf("making the package: %w", err)
	}
	if err = packager.Package(info, f); err == nil {
		err = f.Close()
	} else {
		_ = f.Close()
	}
	if err != nil {
		_ = os.Remove(target)
		return fmt.Errorf("making %s: %w", target, err)
	}
	return nil
}
