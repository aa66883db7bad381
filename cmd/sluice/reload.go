package main

import (
	"fmt"
	"net/http"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/spf13/cobra"
)

func (p *program) reloadCommand() *cobra.Command {
	var t target
	var force bool
	cmd := &cobra.Command{
		Use: "reload", Short: "Load a config file into a running instance", Args: cobra.NoArgs,
		Long: `Reads the config file and gives it to the running instance, which puts it into
force without dropping a connection, or refuses it and goes on as before.

The admin address is that of the new config. If the config changes it, name the
old address with --address.`,
		Example: `  sluice reload --config sluice.json
  sluice reload --config sluice.json --force      read certificates and other files again
  sluice reload --config sluice.json --address localhost:2020`,
		RunE: own(func(*cobra.Command, []string) error { return p.reload(t, force) }),
	}
	t.flags(cmd)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "load even if the config has not changed")
	return cmd
}

func (p *program) reload(t target, force bool) error {
	file, err := p.readConfig(t.config, t.adapter)
	if err != nil {
		return err
	}
	a, err := adminclient.Address(t.address, file.root, p.defaultAdmin)
	if err != nil {
		return err
	}
	h := http.Header{"Caddy-Config-Source-File": {t.config}, "Caddy-Config-Source-Adapter": {t.adapter}}
	if force {
		h.Set("Cache-Control", "must-revalidate")
	}
	if _, _, err := adminclient.New(a).Do(http.MethodPost, "/load", h, file.text); err != nil {
		return fmt.Errorf("sending configuration to the instance at %s: %w", a, err)
	}
	return nil
}
