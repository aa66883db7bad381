package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/moving"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/spf13/cobra"
)

func (p *program) storageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "storage", Short: "Export or import certificates, keys and accounts", Args: cobra.ArbitraryArgs,
		Long:    "Copies what the storage of a config holds: certificates, private keys, accounts\nand certificate authorities.",
		Example: "  sluice storage export --config sluice.json --output storage.tar\n  sluice storage import --config sluice.json --input storage.tar",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.storageExportCommand(), p.storageImportCommand())
	return cmd
}

func (p *program) storageExportCommand() *cobra.Command {
	var config, output string
	cmd := &cobra.Command{
		Use: "export", Short: "Write what the storage holds into a tar archive", Args: cobra.NoArgs,
		Long: `Writes every value of the storage that a config names into a tar archive. The
archive holds private keys: it is made for its owner alone, and should stay so.
A storage of the kind bolt cannot be read while an instance uses it.`,
		Example: `  sluice storage export --config sluice.json --output storage.tar
  sluice storage export --config Caddyfile --output - | age -r age1... > storage.tar.age`,
		RunE: own(func(cmd *cobra.Command, _ []string) error {
			if config == "" || output == "" {
				return errors.New("name the config whose storage is meant (--config) and the archive to write (--output)")
			}
			return p.moveStorage(config, func(ctx context.Context, s *moving.Storage) error {
				return moving.Export(ctx, s, output, p.stdout, p.reporter("exported"))
			})
		}),
	}
	cmd.Flags().StringVarP(&config, "config", "c", "", "config file; required")
	cmd.Flags().StringVarP(&output, "output", "o", "", `archive to write; "-" is standard output; required`)
	return cmd
}

func (p *program) storageImportCommand() *cobra.Command {
	var config, input string
	cmd := &cobra.Command{
		Use: "import", Short: "Store what a tar archive holds", Args: cobra.NoArgs,
		Long: `Stores every file of a tar archive, as the export writes it, in the storage that a
config names. Values of the same name are replaced, others stay. An instance that
runs goes on with the certificates that it has in memory.`,
		Example: `  sluice storage import --config sluice.json --input storage.tar`,
		RunE: own(func(cmd *cobra.Command, _ []string) error {
			switch {
			case config == "" || input == "":
				return errors.New("name the config whose storage is meant (--config) and the archive to read (--input)")
			case config == moving.StandardStream && input == moving.StandardStream:
				return errors.New("both the config and the archive are to be read from standard input; name a file for one of them")
			}
			err := p.moveStorage(config, func(ctx context.Context, s *moving.Storage) error {
				return moving.Import(ctx, s, input, p.stdin, p.reporter("imported"))
			})
			if err == nil {
				fmt.Fprintln(p.stdout, "Successfully imported storage")
			}
			return err
		}),
	}
	cmd.Flags().StringVarP(&config, "config", "c", "", "config file; required")
	cmd.Flags().StringVarP(&input, "input", "i", "", `archive to read; "-" is standard input; required`)
	return cmd
}

func (p *program) reporter(verb string) *moving.Reporter {
	return &moving.Reporter{Out: p.stderr, Verb: verb, Now: time.Now}
}

// moveStorage opens the storage that a config names, for as long as do runs.
func (p *program) moveStorage(config string, do func(context.Context, *moving.Storage) error) error {
	f, err := p.files.Read(config, "")
	if err != nil {
		return err
	}
	dirs := environment.These()
	store := storePath("", dirs)
	s, err := moving.Open(f.Root, moving.World{ReadFile: readFile, Globals: vars.NewGlobal(), Data: dirs.Storage(),
		Foreign: []string{store, store + ".lock", dirs.StoreFile(), dirs.StoreFile() + ".lock", dirs.AutosaveFile()}})
	var problems schema.Problems
	if errors.As(err, &problems) {
		return fmt.Errorf("the storage in %s: %w", f.Name, f.Locate(problems))
	}
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = do(ctx, s)
	var failed *moving.TransferError
	if errors.As(err, &failed) {
		return &failure{exitFailedQuit, err}
	}
	return err
}
