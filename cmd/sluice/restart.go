package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/spf13/cobra"
)

const restartHelp = `Replaces the running process by a new one without closing a connection.

The program is started again, from the file that it was started from: one that
was replaced since is another version. The new process gets the listening sockets
and goes on with the same document. The old one ends the requests and streams that
it has begun, and itself then. If the new process does not start, does not accept
the document, or is not ready in time, the old one goes on.

A program to put in place is moved there (mv, install), not written over the old
one. Linux only.`

func (p *program) restartCommand() *cobra.Command {
	var t target
	q := url.Values{}
	var drain, timeout string
	var dry bool
	cmd := &cobra.Command{
		Use: "restart", Short: "Replace the running process, or upgrade it, without closing a connection", Args: cobra.NoArgs,
		Long: restartHelp,
		Example: `  install new/sluice /usr/bin/sluice && sluice restart
  sluice restart --dry-run                     see whether the new program can take over
  sluice restart --drain 1h                    cut WebSockets that are older after an hour`,
		RunE: own(func(*cobra.Command, []string) error {
			c, err := p.client(t)
			if err != nil {
				return err
			}
			for name, text := range map[string]string{"drain": drain, "timeout": timeout} {
				if text != "" {
					q.Set(name, text)
				}
			}
			if dry {
				q.Set("dry_run", "true")
			}
			text, _, err := c.Do(http.MethodPost, "/upgrade?"+q.Encode(), nil, nil)
			if err != nil {
				return fmt.Errorf("replacing the instance at %s: %w", c.Address, err)
			}
			var done admin.Upgraded
			if err := json.Unmarshal(text, &done); err != nil {
				return fmt.Errorf("reading the answer of the running instance: %w", err)
			}
			if dry {
				fmt.Fprintf(p.stdout, "%s (%s) can take over from process %d\n", done.Program, done.Version, done.OldPID)
				return nil
			}
			fmt.Fprintf(p.stdout, "Process %d (%s) has taken over from process %d\n", done.NewPID, done.Version, done.OldPID)
			return nil
		}),
	}
	t.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&drain, "drain", "", "how long the old process may take for what it has begun, 0 for as long as that takes (default $SLUICE_UPGRADE_DRAIN, else the grace period of the document, else 0)")
	f.StringVar(&timeout, "timeout", "", "how long the new process may take until it is ready (default 60s)")
	f.BoolVar(&dry, "dry-run", false, "start the program, see whether it can take over, and end it again")
	return cmd
}
