package main

import (
	"context"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server"
)

// pullHost is the process as a pulled.Puller sees it.
type pullHost struct {
	*admin.API
	host *host
}

// Document implements pulled.Host.
func (p pullHost) Document() (*config.Doc, uint64) { return p.host.Document() }

// Apply implements pulled.Host.
func (p pullHost) Apply(ctx context.Context, c server.Change) (server.Report, error) {
	return p.host.applyAsIs(ctx, c)
}

// Failed implements pulled.Host.
func (p pullHost) Failed(c server.Change, err error) { p.host.record(c, server.Report{}, err) }

// Up implements pulled.Host.
func (p pullHost) Up() bool { return p.host.up.Load() }

// Whole implements pulled.Host.
func (p pullHost) Whole() bool { return p.host.trouble.Load() == nil }

// Setting implements pulled.Host.
func (p pullHost) Setting(object *config.Node) (pulled.Setting, bool) {
	built := p.host.builder().Build(nil, endpoint.SpecID, object, module.Options{})
	if len(built.Problems) > 0 {
		return pulled.Setting{}, false
	}
	return built.Root.Value().(*endpoint.Endpoint).Pulling(), true
}
