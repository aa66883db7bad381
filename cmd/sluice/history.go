package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/journal"
	"github.com/sluiceproxy/sluice/storage/bolt"
	"github.com/spf13/cobra"
)

// storeFlag is the flag for the store of an instance that does not run.
func storeFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "store", "", "store to open if no instance runs (default $SLUICE_STORE, else sluice.db in the data directory)")
}

func (p *program) historyCommand() *cobra.Command {
	var t target
	var store string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "history", Short: "List the revisions of the configuration", Args: cobra.NoArgs,
		Long: `Lists the accepted changes of the configuration, newest first. The running
instance is asked; if none runs, the store is opened.`,
		Example: `  sluice history
  sluice history --limit 1000 --json`,
		RunE: own(func(*cobra.Command, []string) error {
			if limit < 1 || limit > 1000 {
				return fmt.Errorf("--limit is %d; it must be from 1 to 1000", limit)
			}
			list, err := p.history(t, store, limit)
			if err != nil {
				return err
			}
			return p.printHistory(list, asJSON)
		}),
	}
	t.flags(cmd)
	storeFlag(cmd, &store)
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many revisions to list, at most 1000")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) history(t target, store string, limit int) ([]journal.Line, error) {
	c, err := p.client(t)
	if err != nil {
		return nil, err
	}
	text, _, err := c.Do(http.MethodGet, fmt.Sprintf("/revisions?limit=%d", limit), nil, nil)
	if adminclient.NobodyThere(err) {
		return historyOf(store, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the revisions from the instance at %s: %w", c.Address, err)
	}
	var list []journal.Line
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading the revisions: %w", err)
	}
	return list, nil
}

// historyOf reads the revisions of a store that nobody uses.
func historyOf(store string, limit int) ([]journal.Line, error) {
	s, err := openIdle(store)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return journal.Lines(context.Background(), s, limit)
}

// openIdle opens the store of an instance that does not run.
func openIdle(flag string) (*bolt.Store, error) {
	path := storePath(flag, environment.These())
	if path == noStore {
		return nil, errors.New("no instance runs, and without a store there are no revisions")
	}
	return journal.OpenIdle(path)
}

func (p *program) printHistory(list []journal.Line, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tTIME\tCHANGE\tBYTES\tORIGIN")
	for _, r := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\n", r.Number, r.Time.Local().Format(time.DateTime), plain(strings.TrimSpace(r.Verb+" "+r.Path)), r.Bytes, plain(r.Origin))
	}
	return w.Flush()
}

// plain keeps what others have written from controlling the terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, text)
}
