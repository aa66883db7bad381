package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
)

// boot makes the engine and puts the first document into force.
func (p *process) boot(ctx context.Context, last, first *beginning) error {
	revision, err := p.lastNumber(ctx)
	if err != nil {
		return err
	}
	doc, err := config.NewDoc(last.root)
	if err != nil {
		return fmt.Errorf("reading revision %d: %w", revision, err)
	}
	eng, err := p.newEngine(doc, revision)
	if err != nil {
		return err
	}
	if err := p.serveAdmin(eng); err != nil {
		return err
	}
	if first.root == nil {
		return withHint(p.spare.open(nil, p.dirs))
	}
	change := server.Change{Edit: config.Edit{Whole: true, Value: first.root.Clone()}, Verb: first.verb, Origin: first.origin, Force: true}
	if first.file != nil {
		change.Source, change.SourceType = first.file.Source()
	}
	apply := p.host.apply
	if p.estate != nil {
		apply = p.host.applyNow // what was pulled before stays
	}
	_, err = apply(ctx, change)
	var rejected *server.Rejected
	switch {
	case err == nil:
		p.warnOfEdits(last, first, revision)
		return nil
	case !errors.As(err, &rejected), p.estate != nil && !p.estate.Trouble:
	case first.stored && p.opts.bestEffort:
		return p.startPart(ctx, doc, revision, rejected.Problems)
	case first.stored:
		return p.standBy(doc, revision, rejected.Problems)
	case first.file != nil:
		err = first.file.Locate(rejected.Problems)
	}
	return fmt.Errorf("loading initial config: %w", withHint(err))
}

// standBy runs the admin endpoint only, because the last revision does not
// start.
func (p *process) standBy(doc *config.Doc, revision uint64, problems schema.Problems) error {
	p.logs.Flush()
	reasons := make([]string, len(problems))
	for i, one := range problems {
		reasons[i] = one.String()
		p.log.Error("the last revision does not start", zap.Uint64("revision", revision), zap.String("pointer", one.Pointer), zap.String("problem", one.String()))
	}
	p.host.trouble.Store(&reasons) // first, so that nobody is ever told that all is well
	if err := p.spare.open(doc.Root().Get("admin"), p.dirs); err != nil {
		return fmt.Errorf("revision %d does not start, and neither does an admin endpoint to repair it with: %w; try `%s run --best-effort` or `%s run --revision N`", revision, withHint(err), name, name)
	}
	p.log.Error(fmt.Sprintf("revision %d does not start, so nothing is served; repair it through the admin API at %s, or stop this process and use `%s run --revision N` with an earlier revision (see `%s history`), or `%s run --best-effort` to run what can be run",
		revision, p.adminAddresses(), name, name, name), zap.Int("problems", len(problems)))
	return nil
}

// withHint adds what may help if somebody has the admin address.
func withHint(err error) error {
	if err == nil || !isPortConflict(err.Error()) || !strings.Contains(err.Error(), "admin endpoint") {
		return err
	}
	return fmt.Errorf("%w; is another instance running? `%s stop` ends it, and SLUICE_ADMIN or admin.listen chooses another address", err, name)
}

// isPortConflict recognises the problem of an address that somebody has.
func isPortConflict(message string) bool {
	return strings.Contains(message, "address is in use") || strings.Contains(message, "address already in use")
}
