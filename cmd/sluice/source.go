package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"go.uber.org/zap"
)

// source is the config file that SIGUSR1 loads again. It is forgotten when the
// document is changed to something else than the file says. It is safe for
// concurrent use.
type source struct {
	mu            sync.Mutex
	file, adapter string
}

func (s *source) set(file, adapter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.adapter = file, adapter
}

func (s *source) get() (file, adapter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file, s.adapter
}

// changed is told of each change that came through the admin API. Only a load
// of what the file says now, as reload sends it, leaves the source known.
func (s *source) changed(p *program, c server.Change) {
	file, adapter := s.get()
	if file == "" {
		return
	}
	if c.Verb == storage.VerbLoad {
		if f, err := p.readConfig(file, adapter); err == nil && f.root.Digest() == c.Edit.Value.Digest() {
			return
		}
	}
	s.set("", "")
}

// reloadSource loads the file again, for SIGUSR1.
func (p *process) reloadSource(ctx context.Context) {
	file, adapter := p.source.get()
	if file == "" {
		p.log.Info("last config unknown, ignored SIGUSR1")
		return
	}
	log := p.log.With(zap.String("config_file", file))
	f, err := p.readConfig(file, adapter)
	if err == nil {
		log.Info("config file is loaded again on SIGUSR1")
		if _, err = p.host.load(ctx, f.root, f.origin(), true); err != nil {
			err = fmt.Errorf("loading the config file: %w", err)
		}
	}
	if err != nil {
		log.Error("failed to reload config file; the old configuration stays", append(problemFields(err), zap.Error(err))...)
	}
}
