package main

import (
	"context"
	"time"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"go.uber.org/zap"
)

// watchInterval is the time between two looks at the config file.
const watchInterval = time.Second

// watch loads the file whenever it, or a file that it imports, changes to
// another document. A file that is broken, perhaps because it is just being
// written, is looked at again.
func (p *process) watch(ctx context.Context, first *configfile.File) {
	log := p.logs.Core("watcher").With(zap.String("config_file", first.Name))
	log.Info("watching config file for changes")
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	name, files, loaded := first.Name, first.Watch(), first.Root.Digest()
	first = nil // it may be large
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		f, err := files.Poll()
		if err != nil {
			log.Error("cannot read the changed config file; watching goes on", append(problemFields(err), zap.Error(err))...)
			continue
		}
		if f == nil || f.Root.Digest() == loaded {
			continue
		}
		logWarnings(log, f, language(f))
		log.Info("config file changed; reloading")
		loaded = f.Root.Digest()
		if err := p.host.load(ctx, f, false); err != nil {
			log.Error("applying latest config", append(problemFields(err), zap.Error(err))...)
			loaded = 0 // so that any change is a new try
			continue
		}
		p.source.set(name, p.opts.adapter)
	}
}
