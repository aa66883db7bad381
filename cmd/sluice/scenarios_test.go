package main

import (
	"fmt"
	"testing"

	"github.com/sluiceproxy/sluice/admin/admintest"
)

// The curl scenarios of the admin API reference, against the whole program.
func TestAdminScenarios(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	n := port(t)
	b.admin = fmt.Sprintf("localhost:%d", n)
	b.setenv("SLUICE_ADMIN", b.admin)
	c := b.up()
	o := admintest.Options{URL: "http://" + b.admin, Stopped: func(t *testing.T) { c.exits(0) }}
	for i := range o.Ports {
		o.Ports[i] = port(t)
	}
	admintest.Run(t, o)
}
