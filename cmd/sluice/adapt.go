package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// readFlags are the flags of commands that read a config file.
type readFlags struct {
	config, adapter string
	envFiles        []string
}

// flags adds them; byDefault is the language of files of any name, empty if the
// name says it.
func (r *readFlags) flags(cmd *cobra.Command, byDefault string) {
	f := cmd.Flags()
	f.StringVarP(&r.config, "config", "c", "", `config file; "-" is standard input (default: the Caddyfile in the working directory)`)
	adapterFlag(cmd, &r.adapter, byDefault)
	environment.FilesFlag(cmd, &r.envFiles)
}

// adapterFlag adds the flag for the language of a config file.
func adapterFlag(cmd *cobra.Command, to *string, byDefault string) {
	cmd.Flags().StringVarP(to, "adapter", "a", byDefault, "language of the config file: caddyfile or json; without it the name says it")
	languages := []string{configfile.Caddyfile, configfile.JSON}
	_ = cmd.RegisterFlagCompletionFunc("adapter", cobra.FixedCompletions(languages, cobra.ShellCompDirectiveNoFileComp))
}

// read sets the variables and reads the file; without --config that is a
// Caddyfile in the working directory.
func (p *program) read(r readFlags) (*configfile.File, error) {
	if err := environment.Load(r.envFiles); err != nil {
		return nil, err
	}
	if r.config == "" {
		if r.config = configfile.InWorkingDirectory(); r.config == "" {
			return nil, errors.New("input file required when there is no Caddyfile in current directory (use --config flag)")
		}
	}
	return p.files.Read(r.config, r.adapter)
}

func (p *program) adaptCommand() *cobra.Command {
	var r readFlags
	var pretty, validate bool
	cmd := &cobra.Command{
		Use: "adapt", Short: "Turn a Caddyfile into a JSON document and print it", Args: cobra.NoArgs,
		Long: `Reads a config file and prints the JSON document that it stands for. The file is
taken for a Caddyfile, whatever its name, unless --adapter says otherwise. Nothing
is loaded, and no running instance or store is touched.`,
		Example: `  sluice adapt --pretty
  sluice adapt --config sites.caddyfile --validate
  sluice adapt --config - < Caddyfile
  sluice adapt --config sluice.json --adapter json --pretty`,
		RunE: own(func(*cobra.Command, []string) error {
			f, err := p.read(r)
			if err != nil {
				return err
			}
			if err := p.printDocument(f, pretty); err != nil || !validate {
				return err
			}
			if err := p.check(f); err != nil {
				return fmt.Errorf("validation: %w", err)
			}
			return nil
		}),
	}
	r.flags(cmd, configfile.Caddyfile)
	cmd.Flags().BoolVarP(&pretty, "pretty", "p", false, "indent the JSON for people")
	cmd.Flags().BoolVar(&validate, "validate", false, "check the document, too")
	return cmd
}

// printDocument prints the document; JSON as it was written, white space aside.
func (p *program) printDocument(f *configfile.File, pretty bool) error {
	text := f.Text
	switch {
	case f.Language != configfile.JSON:
		text = f.Root.AppendJSON(nil)
	case len(text) == 0:
		text = []byte("null")
	}
	var out bytes.Buffer
	var err error
	if pretty {
		err = json.Indent(&out, bytes.TrimSpace(text), "", "\t")
	} else {
		err = json.Compact(&out, text)
	}
	if err != nil {
		return fmt.Errorf("printing the document: %w", err)
	}
	out.WriteByte('\n')
	if _, err := out.WriteTo(p.stdout); err != nil {
		return fmt.Errorf("printing the document: %w", err)
	}
	p.printWarnings(f.Language, f)
	return nil
}

// printWarnings logs what is odd about a file, under the name of a logger.
func (p *program) printWarnings(logger string, f *configfile.File, fields ...zap.Field) {
	if len(f.Warnings) == 0 {
		return
	}
	sw := logs.NewSwitch(p.logProcess())
	logWarnings(sw.Core(logger), f, fields...)
	_ = sw.Sync()
}
