package handover

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/spf13/cobra"
)

// Client talks to the admin endpoint of a running instance.
type Client interface {
	Do(method, path string, header http.Header, body []byte) ([]byte, http.Header, error)
}

const restartHelp = `Replaces the running process by a new one without closing a connection.

The program is started again, from the file that it was started from: one that
was replaced since is another version. The new process gets the listening sockets
and goes on with the same document. The old one ends the requests and streams that
it has begun, and itself then. If the new process does not start, does not accept
the document, or is not ready in time, the old one goes on.

A program to put in place is moved there (mv, install), not written over the old
one. Linux only.`

// Command is `restart`. The client is asked for when the flags have been read.
func Command(stdout io.Writer, client func() (Client, error)) *cobra.Command {
	var drain, timeout string
	var dry bool
	cmd := &cobra.Command{
		Use: "restart", Short: "Replace the running process, or upgrade it, without closing a connection", Args: cobra.NoArgs,
		Long: restartHelp,
		Example: `  install new/sluice /usr/bin/sluice && sluice restart
  sluice restart --dry-run                     see whether the new program can take over
  sluice restart --drain 1h                    cut what is older after an hour`,
		RunE: func(*cobra.Command, []string) error {
			q := url.Values{}
			for name, text := range map[string]string{"drain": drain, "timeout": timeout} {
				if text != "" {
					q.Set(name, text)
				}
			}
			if dry {
				q.Set("dry_run", "true")
			}
			c, err := client()
			if err != nil {
				return err
			}
			return ask(stdout, c, q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&drain, "drain", "", "how long the old process may take for what it has begun, 0 for as long as that takes (default $SLUICE_UPGRADE_DRAIN, else the grace period of the document, else 0)")
	f.StringVar(&timeout, "timeout", "", "how long the new process may take until it is ready (default 60s)")
	f.BoolVar(&dry, "dry-run", false, "start the program, see whether it can take over, and end it again")
	return cmd
}

func ask(stdout io.Writer, c Client, q url.Values) error {
	text, _, err := c.Do(http.MethodPost, "/upgrade?"+q.Encode(), nil, nil)
	if err != nil {
		return fmt.Errorf("replacing the running instance: %w", err)
	}
	var done admin.Upgraded
	if err := json.Unmarshal(text, &done); err != nil {
		return fmt.Errorf("reading the answer of the running instance: %w", err)
	}
	if q.Has("dry_run") {
		fmt.Fprintf(stdout, "%s (%s) can take over from process %d\n", done.Program, done.Version, done.OldPID)
		return nil
	}
	fmt.Fprintf(stdout, "Process %d (%s) has taken over from process %d\n", done.NewPID, done.Version, done.OldPID)
	return nil
}
