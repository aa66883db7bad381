package main

import (
	"fmt"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func (p *program) validateCommand() *cobra.Command {
	var r readFlags
	cmd := &cobra.Command{
		Use: "validate", Short: "Check whether a config file would be accepted", Args: cobra.NoArgs,
		Long: `Reads a config file and does all that loading it would do, except that nothing is
opened or started. Every problem is reported, with its place in the file. No
running instance or store is touched.`,
		Example: `  sluice validate --config sluice.json
  sluice validate --config sluice.json --envfile production.env`,
		RunE: own(func(*cobra.Command, []string) error {
			c, err := p.read(r)
			if err != nil {
				return err
			}
			p.printWarnings(c)
			if err := p.check(c); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "Valid configuration")
			return nil
		}),
	}
	r.flags(cmd)
	return cmd
}

// check does all but start the document.
func (p *program) check(c *configFile) error {
	sw := p.newSwitch()
	eng, err := p.dryEngine(sw)
	if err != nil {
		return err
	}
	problems, warnings := eng.check(c)
	for _, w := range c.located(warnings) {
		sw.Core("").Warn("config warning", zap.String("file", w.File), zap.Int("line", w.Line), zap.String("pointer", w.Pointer), zap.String("warning", w.Message))
	}
	_ = sw.Sync()
	if len(problems) > 0 {
		return fmt.Errorf("the configuration is not valid: %w", c.located(problems))
	}
	return nil
}
