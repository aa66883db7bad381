// Package storagetest is the storage contracts as tests: a store or a blob
// storage is finished when it passes Store or Blobs. It also has the small
// document language that the suites speak.
package storagetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"

	"github.com/sluiceproxy/sluice/storage"
)

// Replay is the storage.Replay of the suites. Their documents are JSON objects
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

// Digest is the storage.Digest of the suites.
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
