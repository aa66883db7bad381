package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/differences"
	"github.com/sluiceproxy/sluice/config"
	"github.com/spf13/cobra"
)

// Exit codes of diff, which are those of diff(1).
const (
	exitDiffers = 1
	exitTrouble = 2
)

// diffFlags are the flags of the command diff.
type diffFlags struct {
	readFlags
	address, store string
	json, quiet    bool
}

func (p *program) diffCommand() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use: "diff [FILE]", Short: "Show what loading a config file would change", Args: cobra.MaximumNArgs(1),
		Long: `Compares a config file, or else the Caddyfile in the working directory, with the
document of the running instance, and lists each difference by its place: "+" for
what would be added, "-" for what would be removed, "~" for what would be
replaced. Elements of lists are told from each other by their @id and content, so
an inserted route is one line.

The instance is also asked whether it would accept the file, and how many modules
it would have to build; nothing is loaded. If no instance runs, the last document
in the store is compared.

The exit code is that of diff(1): 0 if there is no difference, 1 if there are
some, and 2 in trouble, such as a file that would be refused.`,
		Example: `  sluice diff
  sluice diff new.json
  sluice diff Caddyfile --json
  sluice diff new.json --quiet || sluice reload --config new.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && f.config != "" {
				return &failure{exitTrouble, fmt.Errorf("two config files are given: %s and %s", args[0], f.config)}
			}
			if len(args) == 1 {
				f.config = args[0]
			}
			err := p.diff(f)
			var done *failure
			if err != nil && !errors.As(err, &done) {
				err = &failure{exitTrouble, err}
			}
			return err
		},
	}
	f.readFlags.flags(cmd, "")
	cmd.Flags().StringVar(&f.address, "address", "", "admin address of the running instance, such as localhost:2019 or unix//run/sluice.sock")
	storeFlag(cmd, &f.store)
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON: a list of op, pointer, old and new")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print no differences")
	return cmd
}

func (p *program) diff(f diffFlags) error {
	file, err := p.read(f.readFlags)
	if err != nil {
		return err
	}
	p.printWarnings("", file, language(file))
	a, err := adminclient.Address(f.address, file.Root, p.defaultAdmin)
	if err != nil {
		return err
	}
	c := adminclient.New(a)
	runs := true
	text, _, err := c.Do(http.MethodGet, "/config/", nil, nil)
	if adminclient.NobodyThere(err) {
		runs = false
		text, err = lastDocument(f.store)
	}
	if err != nil {
		return fmt.Errorf("reading the document of the instance at %s: %w", a, err)
	}
	old, _, err := config.Parse(text, config.Limits{})
	if err != nil {
		return fmt.Errorf("reading the document of the instance at %s: %w", a, err)
	}
	if old.Kind() == config.Null {
		old = nil
	}
	changes := config.Diff(old, file.Root)
	switch {
	case f.quiet:
	case f.json:
		err = differences.JSON(p.stdout, changes)
	default:
		err = differences.Text(p.stdout, changes)
	}
	if err != nil {
		return fmt.Errorf("printing the differences: %w", err)
	}
	if err := p.tryLoad(c, file, runs, len(changes)); err != nil {
		return err
	}
	if len(changes) > 0 {
		return &failure{code: exitDiffers}
	}
	return nil
}

// lastDocument is that of a store which nobody uses.
func lastDocument(store string) ([]byte, error) {
	s, err := openIdle(store)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	ctx := context.Background()
	last, err := s.History(ctx, 0, 1)
	if err != nil || len(last) == 0 {
		return []byte("null"), err
	}
	snap, err := s.Revision(ctx, last[0].Number)
	return snap.Document, err
}

// tryLoad asks whether the document would be accepted. Where no instance runs,
// this process looks.
func (p *program) tryLoad(c *adminclient.Client, f *configfile.File, runs bool, changes int) error {
	if !runs {
		return p.check(f)
	}
	if changes == 0 {
		return nil
	}
	_, h, err := c.Do(http.MethodPost, "/load?dry_run=true", nil, f.Root.AppendJSON(nil))
	if problems := problemsIn(f, err); len(problems) > 0 {
		fmt.Fprintf(p.stderr, "%s would be refused:\n", plain(f.Name))
		p.printProblems(problems)
		return &failure{code: exitTrouble}
	}
	if err != nil {
		return fmt.Errorf("asking whether the configuration would be accepted: %w", err)
	}
	cost := map[string]string{}
	for part := range strings.SplitSeq(h.Get("Sluice-Cost"), ", ") {
		key, value, _ := strings.Cut(part, "=")
		cost[key] = value
	}
	fmt.Fprintf(p.stderr, "Loading it would build %s modules and keep %s.\n", cost["built"], cost["reused"])
	return nil
}
