package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (p *program) manpageCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "manpage", Short: "Write the manual pages", Args: cobra.NoArgs,
		Long:    "Writes a manual page of section 8 for each command into a directory, which is\nmade if it does not exist.",
		Example: "  sluice manpage --directory /usr/local/share/man/man8",
		RunE: own(func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return &failure{exitFailedQuit, errors.New("name the directory for the manual pages (use --directory)")}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return &failure{exitFailedQuit, fmt.Errorf("making the directory for the manual pages: %w", err)}
			}
			header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "8", Source: name + " " + versionText(), Manual: name}
			cmd.Root().DisableAutoGenTag = true
			if err := doc.GenManTree(cmd.Root(), header, dir); err != nil {
				return &failure{exitFailedQuit, fmt.Errorf("writing the manual pages: %w", err)}
			}
			return nil
		}),
	}
	cmd.Flags().StringVarP(&dir, "directory", "o", "", "directory for the pages")
	return cmd
}
