package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/spf13/cobra"
)

func (p *program) reloadCommand() *cobra.Command {
	var t target
	var force bool
	cmd := &cobra.Command{
		Use: "reload", Short: "Load a config file into a running instance", Args: cobra.NoArgs,
		Long: `Reads the config file, or else the Caddyfile in the working directory, and gives
it to the running instance, which puts it into force without dropping a
connection, or refuses it and goes on as before.

A Caddyfile is adapted here, with the files that it imports and with the
environment variables of this process. One that needs neither is sent as it is,
so that the revision has its text.

The admin address is that of the new config. If the config changes it, name the
old address with --address.`,
		Example: `  sluice reload
  sluice reload --config sluice.json
  sluice reload --config sluice.json --force      read certificates and other files again
  sluice reload --config Caddyfile --address localhost:2020`,
		RunE: own(func(*cobra.Command, []string) error { return p.reload(t, force) }),
	}
	t.flags(cmd)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "load even if the config has not changed")
	return cmd
}

func (p *program) reload(t target, force bool) error {
	if t.config == "" && t.adapter == "" {
		t.config = configfile.InWorkingDirectory()
	}
	f, err := p.files.Read(t.config, t.adapter)
	if err != nil {
		return err
	}
	p.printWarnings("", f, language(f))
	a, err := adminclient.Address(t.address, f.Root, p.defaultAdmin)
	if err != nil {
		return err
	}
	h := http.Header{"Caddy-Config-Source-File": {t.config}, "Caddy-Config-Source-Adapter": {t.adapter}}
	if force {
		h.Set("Cache-Control", "must-revalidate")
	}
	body, locate := f.Text, func(err error) error { return err }
	switch {
	case f.Language == configfile.JSON:
	case f.SelfContained():
		h.Set("Content-Type", "text/"+f.Language)
	default:
		body, locate = f.Root.AppendJSON(nil), func(err error) error { return placed(f, err) }
	}
	if _, _, err := adminclient.New(a).Do(http.MethodPost, "/load", h, body); err != nil {
		return locate(fmt.Errorf("sending configuration to the instance at %s: %w", a, err))
	}
	return nil
}

// placed adds the places in the file to an answer that knows only the document
// made of it.
func placed(f *configfile.File, err error) error {
	problems := problemsIn(f, err)
	if len(problems) == 0 {
		return err
	}
	return fmt.Errorf("%w; in %s: %w", err, f.Name, problems)
}

// problemsIn are the problems of an answer, with their places in the file.
func problemsIn(f *configfile.File, err error) schema.Problems {
	var status *adminclient.StatusError
	var answer struct {
		Problems schema.Problems `json:"problems"`
	}
	if !errors.As(err, &status) || json.Unmarshal([]byte(status.Body), &answer) != nil {
		return nil
	}
	for i := range answer.Problems {
		one := &answer.Problems[i]
		one.File, one.Line, one.Column = "", 0, 0 // of the JSON that was sent
	}
	return f.Locate(answer.Problems)
}
