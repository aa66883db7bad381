package main

import (
	"bytes"
	"context"
	"os"
	"time"

	"go.uber.org/zap"
)

// watchInterval is the time between two looks at the config file.
const watchInterval = time.Second

// watch loads the file whenever it changes. A file that cannot be read or is
// not JSON, perhaps because it is just being written, is looked at again.
func (p *process) watch(ctx context.Context, last *configFile) {
	log := p.logs.Core("watcher").With(zap.String("config_file", last.file))
	log.Info("watching config file for changes")
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	text, complained := last.text, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := os.ReadFile(last.file)
		if err == nil && bytes.Equal(now, text) {
			complained = ""
			continue
		}
		f, err := p.readConfig(last.file, p.opts.adapter)
		if err != nil {
			if err.Error() != complained {
				complained = err.Error()
				log.Error("cannot read the changed config file; watching goes on", zap.Error(err))
			}
			continue
		}
		text, complained = f.text, ""
		log.Info("config file changed; reloading")
		if _, err := p.host.load(ctx, f.root, f.origin(), false); err != nil {
			log.Error("applying latest config", append(problemFields(err), zap.Error(err))...)
			continue
		}
		p.source.set(last.file, p.opts.adapter)
	}
}
