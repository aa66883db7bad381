package admin

import (
	"context"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// Engine is what the API needs of the engine. It is safe for concurrent use.
type Engine interface {
	// Apply carries out a change and returns when it is live and on disk, or
	// with one of the errors that server.Engine names. If ctx ends before the
	// change is persisted, the change is dropped.
	Apply(ctx context.Context, c server.Change) (server.Report, error)
	// Document is the document that serves now, and its revision. It never
	// waits for a change in progress.
	Document() (doc *config.Doc, revision uint64)
}

// Generation is the part of a server.Generation that the API reads.
type Generation interface {
	Doc() *config.Doc
	Revision() uint64
}

// Applier has the methods of *server.Engine that the API uses.
type Applier[G Generation] interface {
	Apply(ctx context.Context, c server.Change) (server.Report, error)
	Current() G
}

// FromEngine makes an Engine of a *server.Engine.
func FromEngine[G Generation](e Applier[G]) Engine { return engineOf[G]{e} }

type engineOf[G Generation] struct{ Applier[G] }

func (e engineOf[G]) Document() (*config.Doc, uint64) {
	g := e.Current()
	return g.Doc(), g.Revision()
}
