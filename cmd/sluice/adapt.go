package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

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

func (r *readFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&r.config, "config", "c", "", `config file; "-" is standard input`)
	f.StringVarP(&r.adapter, "adapter", "a", "", "name of the language of the config file")
	f.StringSliceVar(&r.envFiles, "envfile", nil, "file with environment variables to set first; may be repeated")
}

// read sets the variables and reads the file; without --config that is a
// Caddyfile in the working directory.
func (p *program) read(r readFlags) (*configFile, error) {
	if err := environment.Load(r.envFiles); err != nil {
		return nil, err
	}
	if r.config == "" && r.adapter == "" {
		if r.config = workingCaddyfile(); r.config == "" {
			return nil, errors.New("input file required when there is no Caddyfile in current directory (use --config flag)")
		}
	}
	return p.readConfig(r.config, r.adapter)
}

func (p *program) adaptCommand() *cobra.Command {
	var r readFlags
	var pretty, validate bool
	cmd := &cobra.Command{
		Use: "adapt", Short: "Turn a config file into a JSON document and print it", Args: cobra.NoArgs,
		Long: `Reads a config file and prints the JSON document that it stands for. Nothing is
loaded, and no running instance or store is touched.`,
		Example: `  sluice adapt --config sluice.json --pretty
  sluice adapt --config - --validate < sluice.json`,
		RunE: own(func(*cobra.Command, []string) error {
			c, err := p.read(r)
			if err != nil {
				return err
			}
			if err := p.printDocument(c, pretty); err != nil || !validate {
				return err
			}
			if err := p.check(c); err != nil {
				return fmt.Errorf("validation: %w", err)
			}
			return nil
		}),
	}
	r.flags(cmd)
	cmd.Flags().BoolVarP(&pretty, "pretty", "p", false, "indent the JSON for people")
	cmd.Flags().BoolVar(&validate, "validate", false, "check the document, too")
	return cmd
}

// printDocument prints the document as it was written, white space aside.
func (p *program) printDocument(c *configFile, pretty bool) error {
	text := c.text
	if len(text) == 0 {
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
	p.printWarnings(c)
	return nil
}

// printWarnings logs what is odd about a file.
func (p *program) printWarnings(c *configFile) {
	if len(c.warnings) == 0 {
		return
	}
	sw := logs.NewSwitch(p.logProcess())
	for _, w := range c.warnings {
		sw.Core(jsonAdapter).Warn(w.Message, zap.String("file", c.file), zap.Int("line", w.Line), zap.String("pointer", w.Pointer))
	}
	_ = sw.Sync()
}
