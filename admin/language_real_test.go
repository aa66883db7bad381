package admin_test

import (
	"context"
	"os"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/mem"
)

// caddyfiles is the real adapter for texts that import nothing.
type caddyfiles struct{ *adapt.Adapter }

func (l caddyfiles) Adapt(body []byte, filename string) (*admin.Adapted, error) {
	doc, err := l.Adapter.Adapt(adapt.Source{Filename: filename, Text: body, Env: caddyfile.Env{LookupEnv: os.LookupEnv}})
	if err != nil {
		return nil, err
	}
	out := &admin.Adapted{Root: doc.Root, Place: doc.Place}
	for _, w := range doc.Warnings {
		out.Warnings = append(out.Warnings, admin.AdaptWarning{File: w.File, Line: w.Line, Message: w.Message})
	}
	return out, nil
}

// journal keeps changes in memory.
type journal struct{ *mem.Store }

func (j journal) Commit(ctx context.Context, base uint64, entries []server.Entry, _ func() []byte) error {
	changes := make([]storage.Change, len(entries))
	for i, e := range entries {
		changes[i] = storage.Change{Digest: e.Digest, Edit: storage.Edit{
			Verb: e.Verb, Path: e.Path, Body: e.Value.AppendJSON(nil), Source: e.Source, SourceType: e.SourceType}}
	}
	_, err := j.Store.Commit(ctx, base, changes, nil)
	return err
}
