// Package storagetest is the contract of storage as a test: a store is finished
// when it passes Store. It also has the small document language that the suite
// speaks.
package storagetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/sluiceproxy/sluice/storage"
)

// Replay is the storage.Replay of the suite. Their documents are JSON objects
// (nil is the null document); "PUT" sets the member named by the path, and
// "DELETE" removes it, or with path "" everything.
func Replay(document []byte, edits []storage.Edit) ([]byte, error) {
	var doc map[string]json.RawMessage
	if document != nil {
		if err := json.Unmarshal(document, &doc); err != nil {
			return nil, err
		}
	}
	for _, e := range edits {
		switch {
		case e.Verb == "PUT":
			if doc == nil {
				doc = make(map[string]json.RawMessage)
			}
			doc[e.Path] = bytes.Clone(e.Body)
		case e.Verb == "DELETE" && e.Path == "":
			doc = nil
		case e.Verb == "DELETE":
			delete(doc, e.Path)
		default:
			return nil, fmt.Errorf("unknown verb %q", e.Verb)
		}
	}
	if doc == nil {
		return nil, nil
	}
	return json.Marshal(doc)
}

// Digest is the storage.Digest of the suite.
func Digest(document []byte) uint64 {
	h := fnv.New64a()
	h.Write(document)
	return h.Sum64()
}

// Next returns the document after one edit, whole edits included.
func Next(document []byte, e storage.Edit) []byte {
	if e.Whole() {
		return e.Body
	}
	next, err := Replay(document, []storage.Edit{e})
	if err != nil {
		panic(err)
	}
	return next
}

// Put is an edit that sets a member to a value.
func Put(name string, value any) storage.Edit {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return storage.Edit{Verb: "PUT", Path: name, Body: body}
}

// A Model commits edits to a store and remembers each document, to compare.
// It is for one goroutine.
type Model struct {
	Store storage.Store
	// Documents has the document of each revision, the null document first.
	Documents [][]byte
	// Edits has the edit of each revision, from index 1.
	Edits []storage.Edit
}

// NewModel makes a model of an empty store.
func NewModel(s storage.Store) *Model {
	return &Model{Store: s, Documents: [][]byte{nil}, Edits: make([]storage.Edit, 1)}
}

// Last returns the number of the latest revision.
func (m *Model) Last() uint64 { return uint64(len(m.Documents) - 1) }

// Changes returns edits as changes with their digests, and the documents after
// them.
func (m *Model) Changes(edits ...storage.Edit) ([]storage.Change, [][]byte) {
	doc := m.Documents[m.Last()]
	var docs [][]byte
	var changes []storage.Change
	for _, e := range edits {
		doc = Next(doc, e)
		docs = append(docs, doc)
		changes = append(changes, storage.Change{Edit: e, Origin: "test", Digest: Digest(doc)})
	}
	return changes, docs
}

// MustCommit commits edits as one group and remembers the documents.
func (m *Model) MustCommit(t *testing.T, edits ...storage.Edit) []storage.Revision {
	t.Helper()
	changes, docs := m.Changes(edits...)
	revs, err := m.Store.Commit(bg, m.Last(), changes, func() []byte { return docs[len(docs)-1] })
	if err != nil {
		t.Fatalf("committing revision %d: %v", m.Last()+1, err)
	}
	m.Accept(edits, docs)
	return revs
}

// Accept remembers edits that were committed.
func (m *Model) Accept(edits []storage.Edit, docs [][]byte) {
	m.Edits = append(m.Edits, edits...)
	m.Documents = append(m.Documents, docs...)
}

// CheckLoad compares the store's latest revision with the model's.
func (m *Model) CheckLoad(t *testing.T) {
	t.Helper()
	snap, err := m.Store.Load(bg)
	if err != nil {
		t.Fatalf("loading: %v", err)
	}
	if snap.Revision.Number != m.Last() || !same(snap.Document, m.Documents[m.Last()]) {
		t.Fatalf("loaded revision %d with %.100q, want %d with %.100q", snap.Revision.Number, snap.Document, m.Last(), m.Documents[m.Last()])
	}
	if e := snap.Revision.Edit; e.Body != nil || e.Source != nil {
		t.Fatalf("Load returned the body or source of the edit")
	}
}

// CheckRevision compares revision n with the model's.
func (m *Model) CheckRevision(t *testing.T, n uint64) {
	t.Helper()
	snap, err := m.Store.Revision(bg, n)
	if err != nil {
		t.Fatalf("revision %d: %v", n, err)
	}
	if !same(snap.Document, m.Documents[n]) {
		t.Fatalf("revision %d has document %.100q, want %.100q", n, snap.Document, m.Documents[n])
	}
	got, want := snap.Revision.Edit, m.Edits[n]
	if snap.Revision.Number != n || got.Verb != want.Verb || got.Path != want.Path || !same(got.Body, want.Body) ||
		!same(got.Source, want.Source) || got.SourceType != want.SourceType {
		t.Fatalf("revision %d has edit %.100v, want %.100v", n, got, want)
	}
}

// same compares bytes, and nil is not empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
