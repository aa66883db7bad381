package main

import (
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/handover"
	"github.com/spf13/cobra"
)

func (p *program) restartCommand() *cobra.Command {
	var t target
	cmd := handover.Command(p.stdout, func() (handover.Client, error) { return p.client(t) })
	t.flags(cmd)
	return owned(cmd)[0]
}
