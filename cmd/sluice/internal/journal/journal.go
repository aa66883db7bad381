// Package journal keeps the engine's changes in a store, and reads them back.
package journal

import (
	"context"
	"fmt"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/bolt"
)

// Journal keeps the engine's changes in a store. It implements server.Journal.
type Journal struct{ Store storage.Store }

// Commit implements server.Journal.
func (j Journal) Commit(ctx context.Context, base uint64, entries []server.Entry, document func() []byte) error {
	changes := make([]storage.Change, len(entries))
	for i, e := range entries {
		changes[i] = storage.Change{Origin: e.Origin, Digest: e.Digest,
			Edit: storage.Edit{Verb: e.Verb, Path: e.Path, Source: e.Source, SourceType: e.SourceType}}
		edit := &changes[i].Edit
		if e.Verb == config.Delete.String() || e.Value == nil || (edit.Whole() && e.Value.Kind() == config.Null) {
			continue
		}
		edit.Body = e.Value.AppendJSON(nil)
	}
	_, err := j.Store.Commit(ctx, base, changes, func() []byte { return stored(document()) })
	if err != nil {
		return fmt.Errorf("committing revision %d: %w", base+uint64(len(entries)), err)
	}
	return nil
}

// stored is a document as a store keeps it: null is nothing.
func stored(text []byte) []byte {
	if string(text) == "null" {
		return nil
	}
	return text
}

// Parse reads a document as a store keeps it: nothing is null.
func Parse(text []byte) (*config.Node, error) {
	if len(text) == 0 {
		return config.NewNull(), nil
	}
	n, _, err := config.Parse(text, config.Limits{MaxNodes: 1 << 30})
	if err != nil {
		return nil, fmt.Errorf("reading a stored document: %w", err)
	}
	return n, nil
}

// storedDigest implements storage.Digest with the digest of the engine.
func storedDigest(text []byte) uint64 {
	if len(text) == 0 {
		text = []byte("null")
	}
	digest, err := config.DigestText(text)
	if err != nil {
		return 0
	}
	return digest
}

// replay implements storage.Replay.
func replay(document []byte, edits []storage.Edit) ([]byte, error) {
	root, err := Parse(document)
	if err != nil {
		return nil, err
	}
	doc, err := config.NewDoc(root)
	if err != nil {
		return nil, fmt.Errorf("reading a stored document: %w", err)
	}
	for _, e := range edits {
		next, err := replayOne(doc, e)
		if err != nil && doc.Root().Kind() == config.Null {
			// A store does not tell a document that is null from one that was
			// deleted; the edit was possible on one of them.
			gone, _ := config.NewDoc(nil)
			next, err = replayOne(gone, e)
		}
		if err != nil {
			return nil, fmt.Errorf("replaying %s %s: %w", e.Verb, e.Path, err)
		}
		doc = next
	}
	if doc.Root() == nil {
		return nil, nil
	}
	return stored(doc.Root().AppendJSON(nil)), nil
}

func replayOne(doc *config.Doc, e storage.Edit) (*config.Doc, error) {
	path, ok := config.SplitPointer(e.Path)
	if !ok {
		return nil, fmt.Errorf("malformed path %q", e.Path)
	}
	edit := config.Edit{Path: path}
	for _, v := range []config.Verb{config.Post, config.Put, config.Patch, config.Delete} {
		if v.String() == e.Verb {
			edit.Verb = v
		}
	}
	if edit.Verb == 0 {
		return nil, fmt.Errorf("unknown verb %q", e.Verb)
	}
	if len(e.Body) > 0 {
		value, err := Parse(e.Body)
		if err != nil {
			return nil, err
		}
		edit.Value = value
	}
	next, err := doc.Apply(edit)
	if err != nil {
		return nil, err
	}
	return next, nil
}

// Open opens a store file, with what this program's documents need. onError, if
// not nil, hears of what goes wrong in the background.
func Open(path string, mustExist bool, onError func(error)) (*bolt.Store, error) {
	s, err := bolt.Open(path, bolt.Options{Replay: replay, Digest: storedDigest, MustExist: mustExist, OnError: onError})
	if err != nil {
		return nil, err
	}
	return s, nil
}

var _ server.Journal = Journal{}
