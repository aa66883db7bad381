package main

import (
	"fmt"
	"net/http"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/config"
	"github.com/spf13/cobra"
)

// target are the flags that say which instance is meant.
type target struct{ config, adapter, address string }

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&t.config, "config", "c", "", "config file whose admin address is used")
	adapterFlag(cmd, &t.adapter, "")
	f.StringVar(&t.address, "address", "", "admin address of the running instance, such as localhost:2019 or unix//run/sluice.sock")
}

// client makes a client for the instance that is meant.
func (p *program) client(t target) (*adminclient.Client, error) {
	var root *config.Node
	if t.address == "" && (t.config != "" || t.adapter != "") {
		f, err := p.files.Read(t.config, t.adapter)
		if err != nil {
			return nil, err
		}
		root = f.Root
	}
	a, err := adminclient.Address(t.address, root, p.defaultAdmin)
	if err != nil {
		return nil, err
	}
	return adminclient.New(a), nil
}

func (p *program) stopCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop a running instance gracefully", Args: cobra.NoArgs,
		Long: "Asks the running instance, through its admin endpoint, to finish its requests and end.",
		Example: `  sluice stop
  sluice stop --address localhost:2020
  sluice stop --config sluice.json`,
		RunE: own(func(*cobra.Command, []string) error {
			c, err := p.client(t)
			if err != nil {
				return err
			}
			if _, _, err := c.Do(http.MethodPost, "/stop", nil, nil); err != nil {
				return fmt.Errorf("stopping the instance at %s: %w", c.Address, err)
			}
			return nil
		}),
	}
	t.flags(cmd)
	return cmd
}
