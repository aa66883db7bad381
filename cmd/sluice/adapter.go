package main

import (
	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"go.uber.org/zap"
)

// newAdapter makes the adapter of this program's modules.
func (p *program) newAdapter() (*adapt.Adapter, error) {
	table, err := p.modules()
	if err != nil {
		return nil, err
	}
	return adapt.New(table, adapt.Words{Order: standard.DirectiveOrder(), Directives: standard.Directives(), Refused: standard.RefusedDirectives()}), nil
}

// apiAdapter adapts what is sent to the admin API. It implements admin.Adapter.
type apiAdapter struct{ files *configfile.Reader }

// Adapt implements admin.Adapter.
func (a apiAdapter) Adapt(body []byte, filename string) (*admin.Adapted, error) {
	f, err := a.files.Adapt(filename, body)
	if err != nil {
		return nil, err
	}
	out := &admin.Adapted{Root: f.Root.Clone(), Place: f.Locate, Pure: f.SelfContained()}
	for _, w := range f.Warnings {
		out.Warnings = append(out.Warnings, admin.AdaptWarning{File: w.File, Line: w.Line, Message: w.Message})
	}
	return out, nil
}

// logWarnings logs what is odd about a file.
func logWarnings(log *zap.Logger, f *configfile.File, fields ...zap.Field) {
	for _, w := range f.Warnings {
		all := append([]zap.Field{zap.String("file", w.File), zap.Int("line", w.Line)}, fields...)
		if w.Pointer != "" {
			all = append(all, zap.String("pointer", w.Pointer))
		}
		log.Warn(w.Message, all...)
	}
}

// language is the field that names the language of a file.
func language(f *configfile.File) zap.Field { return zap.String("adapter", f.Language) }
