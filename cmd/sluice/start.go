package main

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

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
	ln, err := listenLoopback()
	if err != nil {
		return err
	}
	defer ln.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	child := exec.Command(self, append([]string{"run", "--pingback", ln.Addr().String()}, o.args()...)...)
	child.Stdin = bytes.NewReader(secret)
	child.Stdout, child.Stderr = p.stdout, p.stderr
	detach(child)
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", self, err)
	}
	exited, confirmed := make(chan error, 1), make(chan struct{})
	go func() { exited <- child.Wait() }()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if confirms(conn, secret) {
				close(confirmed)
				return
			}
		}
	}()
	select {
	case <-confirmed:
		fmt.Fprintf(p.stdout, "Successfully started %s (pid=%d) - %s is running in the background\n", name, child.Process.Pid, name)
		return nil
	case err := <-exited:
		return fmt.Errorf("%s process exited with error: %w", name, errors.Join(err, nilExit(err)))
	}
}

// nilExit is for a child that ended as if all were well, but never confirmed.
func nilExit(err error) error {
	if err == nil {
		return errors.New("it stopped before it was up")
	}
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

func listenLoopback() (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		return ln, nil
	}
	ln, err6 := net.Listen("tcp", "[::1]:0")
	if err6 != nil {
		return nil, fmt.Errorf("opening a listener for the confirmation: %w", errors.Join(err, err6))
	}
	return ln, nil
}

// confirms reads what somebody sends, and reports whether it is the secret.
func confirms(conn net.Conn, secret []byte) bool {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	got, err := io.ReadAll(io.LimitReader(conn, int64(len(secret))+1))
	return err == nil && subtle.ConstantTimeCompare(got, secret) == 1
}
