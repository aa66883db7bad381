package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/journal"
	"github.com/spf13/cobra"
)

func (p *program) rollbackCommand() *cobra.Command {
	var t target
	var store string
	cmd := &cobra.Command{
		Use: "rollback REVISION", Short: "Go back to an earlier revision", Args: cobra.ExactArgs(1),
		Long: `Puts the document of an earlier revision into force again, as a new revision, so
that nothing is lost. The running instance does it; if none runs, it is written
into the store for the next start.`,
		Example: `  sluice history
  sluice rollback 12`,
		RunE: own(func(_ *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || n == 0 {
				return fmt.Errorf("%q is not the number of a revision; `%s history` lists them", args[0], name)
			}
			return p.rollback(t, store, n)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	t.flags(cmd)
	storeFlag(cmd, &store)
	return cmd
}

func (p *program) rollback(t target, store string, n uint64) error {
	c, err := p.client(t)
	if err != nil {
		return err
	}
	_, header, err := c.Do(http.MethodPost, fmt.Sprintf("/revisions/%d/restore", n), nil, nil)
	if adminclient.NobodyThere(err) {
		return p.rollbackStore(store, n)
	}
	if err != nil {
		return fmt.Errorf("restoring revision %d: %w", n, err)
	}
	fmt.Fprintf(p.stdout, "Revision %d is in force again, as revision %s.\n", n, header.Get("Sluice-Revision"))
	return nil
}

// rollbackStore makes an old document the last one in a store that nobody uses.
func (p *program) rollbackStore(store string, n uint64) error {
	s, err := openIdle(store)
	if err != nil {
		return err
	}
	defer s.Close()
	made, changed, err := journal.Restore(context.Background(), s, n)
	switch {
	case err != nil:
		return err
	case changed:
		fmt.Fprintf(p.stdout, "No instance runs. Revision %d is now revision %d; the next start uses it.\n", n, made)
	default:
		fmt.Fprintf(p.stdout, "Revision %d is the same as the last one, %d; nothing to do.\n", n, made)
	}
	return nil
}
