package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/overwrite"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/spf13/cobra"
)

// fmtFlags are the flags of fmt.
type fmtFlags struct {
	config          string
	overwrite, diff bool
}

func (p *program) fmtCommand() *cobra.Command {
	var o fmtFlags
	cmd := &cobra.Command{
		Use: "fmt [FILE]", Short: "Format a Caddyfile", Args: cobra.ArbitraryArgs,
		Long: `Prints a Caddyfile as it should be written, and exits with 1 if it is not written
like that. Without a file it is the Caddyfile in the working directory; "-" is
standard input, for which the exit code is always 0.`,
		Example: `  sluice fmt
  sluice fmt --overwrite sites.caddyfile
  sluice fmt --diff
  sluice fmt - < Caddyfile`,
		RunE: own(func(_ *cobra.Command, args []string) error {
			file := o.config
			if len(args) > 1 || len(args) == 1 && file != "" {
				return fmt.Errorf("fmt does not support multiple files: name one (got %s)", strings.TrimSpace(file+" "+strings.Join(args, " ")))
			}
			if len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				file = adapt.DefaultFilename
			}
			return p.format(file, o)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", "", "the file (default: Caddyfile)")
	f.BoolVarP(&o.overwrite, "overwrite", "w", false, "write the result into the file instead of printing it")
	f.BoolVarP(&o.diff, "diff", "d", false, `print each line with "+ " or "- " before it where it changes`)
	return cmd
}

func (p *program) format(file string, o fmtFlags) error {
	var text []byte
	var err error
	if file == configfile.Stdin {
		text, err = readAll(p.stdin)
	} else {
		text, err = readFile(file)
	}
	if err != nil {
		return fmt.Errorf("reading the Caddyfile: %w", err)
	}
	formatted := caddyfile.Format(text)
	if o.overwrite && file != configfile.Stdin {
		if bytes.Equal(formatted, text) {
			return nil
		}
		return overwrite.File(file, formatted)
	}
	if o.diff {
		_, err = io.WriteString(p.stdout, caddyfile.Diff(text, formatted))
	} else {
		_, err = p.stdout.Write(formatted)
	}
	if err != nil {
		return fmt.Errorf("printing the formatted text: %w", err)
	}
	if line := caddyfile.Unformatted(text); line > 0 && file != configfile.Stdin {
		return fmt.Errorf("%s:%d: Caddyfile input is not formatted; run '%s fmt --overwrite' to fix inconsistencies", file, line, name)
	}
	return nil
}
