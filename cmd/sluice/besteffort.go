package main

import (
	"context"
	"fmt"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/salvage"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/memory"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
)

// partMark makes the root of a document that is only a part of what is stored
// unequal to any other document. It is never shown or stored.
const partMark = "part of the document, as --best-effort runs it"

// startPart runs what can be run of the last revision. The stored document
// stays as it is: it is what the admin API shows and edits, and as soon as an
// edit makes all of it run, all of it does.
func (p *process) startPart(ctx context.Context, whole *config.Doc, revision uint64, problems schema.Problems) error {
	p.logs.Flush()
	eng := p.host.engine
	part, cut, err := salvage.Part(ctx, eng, whole, problems, ownerEndpoint(p.dirs))
	if err != nil {
		return fmt.Errorf("--best-effort: revision %d does not start: %w", revision, err)
	}
	var reasons []string
	for _, c := range cut {
		p.log.Error("left out of a best-effort start", zap.String("pointer", c.Path.Pointer()), zap.String("problem", c.Why))
		reasons = append(reasons, "left out "+c.Path.Pointer()+": "+c.Why)
	}
	if err := eng.Shutdown(ctx); err != nil { // it has never run anything
		return fmt.Errorf("--best-effort: %w", err)
	}
	marked, err := part.Apply(config.Edit{Verb: config.Post, Path: config.Path{"@id"}, Value: config.NewString(partMark)})
	if err != nil {
		return fmt.Errorf("--best-effort: %w", err)
	}
	if p.host.engine, err = p.newEngine(marked, revision); err != nil {
		return err
	}
	// From the moment the admin endpoint opens it shows the whole document.
	p.host.partial.Store(&partial{whole, revision})
	p.host.trouble.Store(&reasons)
	report, err := p.host.engine.Apply(ctx, server.Change{Edit: config.Edit{Whole: true, Value: marked.Root().Clone()}, Force: true})
	if err != nil {
		return fmt.Errorf("--best-effort: %w", err)
	}
	memory.GiveBack(report.Built)
	p.log.Warn(fmt.Sprintf("running revision %d without %d parts that have problems; the stored document stays as it is, and runs whole as soon as it is repaired", revision, len(reasons)))
	return nil
}
