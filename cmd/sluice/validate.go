package main

import (
	"errors"
	"fmt"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func (p *program) validateCommand() *cobra.Command {
	var r readFlags
	cmd := &cobra.Command{
		Use: "validate", Short: "Check whether a config file would be accepted", Args: cobra.NoArgs,
		Long: `Reads a config file, or else the Caddyfile in the working directory, and does all
that loading it would do, except that nothing is opened or started. Every problem
is reported, with its place in the file. No running instance or store is touched.`,
		Example: `  sluice validate
  sluice validate --config sluice.json
  sluice validate --config Caddyfile --envfile production.env`,
		RunE: own(func(*cobra.Command, []string) error {
			if r.config == "" && r.adapter != "" {
				return errors.New("cannot adapt config without config file (use --config)")
			}
			f, err := p.read(r)
			if err != nil {
				return err
			}
			p.printWarnings("", f, language(f))
			if err := p.check(f); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "Valid configuration")
			return nil
		}),
	}
	r.flags(cmd, "")
	return cmd
}

// check does all that loading the document would do, short of opening anything.
func (p *program) check(f *configfile.File) error {
	w, err := p.newWorld()
	if err != nil {
		return err
	}
	if _, err := config.NewDoc(f.Root); err != nil {
		return fmt.Errorf("the configuration in %s is not valid: %w", f.Name, err)
	}
	module.Provide(w.services, server.NewProcess(w.logs, w.certificates, w.certificates.tickets))
	res := w.builder().Build(nil, server.RootID, f.Root.Clone(), module.Options{})
	for _, one := range f.Locate(res.Warnings) {
		w.logs.Core("").Warn("config warning", zap.String("file", one.File), zap.Int("line", one.Line), zap.String("pointer", one.Pointer), zap.String("warning", one.Message))
	}
	_ = w.logs.Sync()
	if len(res.Problems) > 0 {
		return fmt.Errorf("the configuration in %s is not valid: %w", f.Name, f.Locate(res.Problems))
	}
	return nil
}
