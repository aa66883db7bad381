package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
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
	if c.Verb == storage.VerbLoad && says(p, file, adapter, c) {
		return
	}
	s.set("", "")
}

// says reports whether a file says now what a change made of the document.
func says(p *program, file, adapter string, c server.Change) bool {
	if c.Source != nil && c.SourceType == configfile.LanguageOf(file, adapter) { // to adapt it again takes longer
		text, err := os.ReadFile(file)
		return err == nil && bytes.Equal(text, c.Source)
	}
	f, err := p.files.Read(file, adapter)
	return err == nil && f.Root.Digest() == c.Edit.Value.Digest()
}

// reloadSource loads the file again, for SIGUSR1.
func (p *process) reloadSource(ctx context.Context) {
	file, adapter := p.source.get()
	if file == "" {
		p.log.Info("last config unknown, ignored SIGUSR1")
		return
	}
	log := p.log.With(zap.String("config_file", file))
	f, err := p.files.Read(file, adapter)
	if err == nil {
		logWarnings(log, f, language(f))
		log.Info("config file is loaded again on SIGUSR1")
		if err = p.host.load(ctx, f, true); err != nil {
			err = fmt.Errorf("loading the config file: %w", err)
		}
	}
	if err != nil {
		log.Error("failed to reload config file; the old configuration stays", append(problemFields(err), zap.Error(err))...)
	}
}
