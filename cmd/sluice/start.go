package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/service"
	"github.com/spf13/cobra"
)

func (p *program) startCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "start", Short: "Start the server in the background", Args: cobra.NoArgs,
		Long: `Starts the server in the background and returns when it is up, or with an error
when it is not. Its logs go where those of this command go. Stop it with
"sluice stop".`,
		Example: `  sluice start --config sluice.json
  sluice start --pidfile /run/sluice.pid`,
		RunE: own(func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return p.startChild(o)
		}),
	}
	o.sharedFlags(cmd)
	return cmd
}

// startChild runs this program again and waits until it reports back.
func (p *program) startChild(o runOptions) error {
	if o.config == "-" {
		return errors.New("start needs a config file by name; it cannot be read from standard input")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	pid, err := service.Start(func(address string) *exec.Cmd {
		child := exec.Command(self, append([]string{"run", "--pingback", address}, o.args()...)...)
		child.Stdout, child.Stderr = p.stdout, p.stderr
		return child
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Successfully started %s (pid=%d) - %s is running in the background\n", name, pid, name)
	return nil
}

// args passes the flags on.
func (o *runOptions) args() []string {
	var args []string
	pass := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	pass("--config", o.config)
	pass("--adapter", o.adapter)
	for _, file := range o.envFiles {
		pass("--envfile", file)
	}
	if o.watch {
		args = append(args, "--watch")
	}
	pass("--pidfile", o.pidFile)
	pass("--store", o.store)
	return args
}
