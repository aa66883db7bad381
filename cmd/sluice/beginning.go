package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/journal"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/storage"
	"go.uber.org/zap"
)

// beginning is the document that the server starts with.
type beginning struct {
	root *config.Node // nil if there is none
	// stored says that it is the last revision.
	stored bool
	// file is where it was read, nil if not from a file.
	file *configfile.File
	// origin and verb are for the history.
	origin, verb string
}

// lastDocument reads the last revision; there may be none.
func (p *process) lastDocument(ctx context.Context) (*beginning, error) {
	last := &beginning{stored: true}
	if p.store == nil {
		return last, nil
	}
	snap, err := p.store.Load(ctx)
	if errors.Is(err, storage.ErrEmpty) {
		return last, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last revision: %w; `%s run --revision N` starts with an earlier one, --store %s without any", err, name, noStore)
	}
	last.origin, last.verb = snap.Revision.Origin, snap.Revision.Edit.Verb
	if len(snap.Document) > 0 || last.verb != config.Delete.String() { // else there is none any more
		last.root, err = journal.Parse(snap.Document)
	}
	return last, err
}

// chooseStart finds the document to start with: --resume, --config, --revision,
// a Caddyfile in the working directory, the last revision, or none.
func (p *process) chooseStart(ctx context.Context, last *beginning) (*beginning, error) {
	o := p.opts
	if p.estate != nil {
		return p.continued(ctx, last)
	}
	if o.resume {
		b, err := p.resumed(last)
		if b != nil || err != nil {
			return b, err
		}
		p.log.Info("no autosave file exists", zap.String("autosave_file", p.dirs.AutosaveFile()))
	}
	switch {
	case o.document != nil:
		return &beginning{root: o.document, origin: "command line", verb: storage.VerbLoad}, nil
	case o.config != "":
		p.log.Info("using config from file", zap.String("file", o.config))
		return p.fromFile(o.config)
	case o.revision != 0:
		return p.oldRevision(ctx, o.revision)
	case o.bestEffort: // which is for the last revision
		return last, nil
	}
	if file := configfile.InWorkingDirectory(); file != "" {
		p.log.Info("using the Caddyfile in the working directory", zap.String("file", file))
		return p.fromFile(file)
	}
	return last, nil
}

// fromFile starts with a file, and remembers it.
func (p *process) fromFile(name string) (*beginning, error) {
	f, err := p.files.Read(name, p.opts.adapter)
	if err != nil {
		return nil, err
	}
	logWarnings(p.log, f, language(f))
	p.source.set(name, p.opts.adapter)
	return &beginning{root: f.Root, file: f, origin: f.Origin(), verb: storage.VerbLoad}, nil
}

// resumed is what --resume starts with: the last revision, else the autosaved
// document, else that of a Caddy whose place the program has taken; nil if there
// is none.
func (p *process) resumed(last *beginning) (*beginning, error) {
	var b *beginning
	file := p.dirs.AutosaveFile()
	f, err := p.files.Read(file, configfile.JSON)
	if errors.Is(err, fs.ErrNotExist) {
		file = p.dirs.CaddyAutosaveFile()
		f, err = p.files.Read(file, configfile.JSON)
	}
	switch {
	case last.root != nil:
		b = last
		p.log.Info("resuming from the last revision")
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	default:
		b = &beginning{root: f.Root, file: nil, origin: "autosaved document", verb: storage.VerbLoad}
		p.log.Info("resuming from last configuration", zap.String("autosave_file", file))
	}
	if p.opts.config != "" {
		p.log.Warn("--config and --resume flags were used together; ignoring --config and resuming from last configuration", zap.String("config", p.opts.config))
	}
	return b, nil
}

func (p *process) oldRevision(ctx context.Context, n uint64) (*beginning, error) {
	if p.store == nil {
		return nil, fmt.Errorf("there is no revision %d: this process runs without a store", n)
	}
	snap, err := p.store.Revision(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("reading revision %d: %w", n, err)
	}
	root, err := journal.Parse(snap.Document)
	if err != nil {
		return nil, err
	}
	return &beginning{root: root, origin: fmt.Sprintf("run --revision %d", n), verb: storage.VerbRestore}, nil
}

// lastNumber is the number of the last revision, 0 if there is none.
func (p *process) lastNumber(ctx context.Context) (uint64, error) {
	switch {
	case p.store != nil:
	case p.estate != nil:
		return p.estate.Revision, nil
	default:
		return 0, nil
	}
	list, err := p.store.History(ctx, 0, 1)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Number, nil
}

// warnOfEdits warns if the file that the server starts with replaces changes
// that were made in another way.
func (p *process) warnOfEdits(last, first *beginning, revision uint64) {
	if first.file == nil || last.root == nil || config.Equal(last.root, first.root) {
		return
	}
	if last.verb == storage.VerbLoad && (last.origin == first.origin || pulled.IsOrigin(last.origin) && pulled.Wanted(first.root)) {
		return // the file itself was changed, or what it pulls
	}
	p.log.Warn(fmt.Sprintf("starting with %s, which differs from revision %d; that revision is kept, and `%s rollback %d` brings it back",
		first.file.Name, revision, name, revision),
		zap.Uint64("revision", revision), zap.String("origin", last.origin))
}
