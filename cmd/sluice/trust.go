package main

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/trusted"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/spf13/cobra"
)

func caFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "ca", pki.DefaultID, "ID of the certificate authority")
}

// instanceRoot is the root of a certificate authority of the running instance.
func (p *program) instanceRoot(t target, ca string) (*x509.Certificate, error) {
	c, err := p.client(t)
	if err != nil {
		return nil, err
	}
	root, err := trusted.RootOf(c, ca)
	if err != nil {
		return nil, fmt.Errorf("asking the instance at %s: %w", c.Address, err)
	}
	return root, nil
}

func (p *program) trustCommand() *cobra.Command {
	var t target
	var ca string
	cmd := &cobra.Command{
		Use: "trust", Short: "Trust a certificate authority of a running instance", Args: cobra.NoArgs,
		Long: `Asks the running instance for the root certificate of a certificate authority of
its own, and puts that into the trust stores of this machine: the system's, and
Java's and Firefox's where they are. It needs the privileges to do so.`,
		Example: `  sudo sluice trust
  sudo sluice trust --ca internal --address localhost:2020`,
		RunE: own(func(*cobra.Command, []string) error {
			root, err := p.instanceRoot(t, ca)
			if err != nil {
				return err
			}
			return trusted.Install(p.trust, root, p.stdout)
		}),
	}
	t.flags(cmd)
	caFlag(cmd, &ca)
	return cmd
}

func (p *program) untrustCommand() *cobra.Command {
	var t target
	var ca, file string
	cmd := &cobra.Command{
		Use: "untrust", Short: "Stop trusting a certificate authority", Args: cobra.NoArgs,
		Long: `Takes the root certificate of a certificate authority out of the trust stores of
this machine. The running instance is asked for it; with --cert it is in a file,
and no instance is needed. It needs the privileges to change the stores.`,
		Example: `  sudo sluice untrust
  sudo sluice untrust --cert root.crt`,
		RunE: own(func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				root, err := p.instanceRoot(t, ca)
				if err != nil {
					return err
				}
				return trusted.Uninstall(p.trust, root, p.stdout)
			}
			for _, other := range []string{"ca", "address", "config", "adapter"} {
				if cmd.Flags().Changed(other) {
					return errors.New("conflicting flags: --cert names the certificate, so no instance is asked; leave out --" + other)
				}
			}
			root, err := trusted.RootIn(file)
			if err != nil {
				return err
			}
			return trusted.Uninstall(p.trust, root, p.stdout)
		}),
	}
	t.flags(cmd)
	caFlag(cmd, &ca)
	cmd.Flags().StringVarP(&file, "cert", "p", "", "file with the root certificate, in place of asking an instance")
	return cmd
}
