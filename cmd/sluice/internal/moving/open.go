// Package moving carries what a storage of certificates holds out of it and into
// it, as an archive.
package moving

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/certstore"
)

// holder is the part of a document that is looked at.
type holder struct {
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
}

const holderID = "sluice.storage_command"

// Storage is the storage that a document names.
type Storage struct {
	certmagic.Storage
	leave []string
	owned []module.Resource
}

// World is what Open needs to know.
type World struct {
	// ReadFile and Globals are for the placeholders of the document.
	ReadFile func(name string) ([]byte, error)
	Globals  vars.Scope
	// Data is the folder of a storage that says nothing of its place.
	Data string
	// Foreign are files that are not of the storage, wherever it is.
	Foreign []string
}

// Open opens the storage that a document names, or the default. An error may be
// a schema.Problems.
func Open(root *config.Node, w World) (*Storage, error) {
	specs := append(standard.Specs(), module.New(holderID, "A document, as far as its storage goes.", nil,
		func(_ *module.Env, c *holder) (certmagic.Storage, error) { return c.Storage.Value(), nil }))
	table, err := module.NewTable(specs, standard.Refused())
	if err != nil {
		return nil, fmt.Errorf("making the table of modules: %w", err)
	}
	stores := certstore.NewStores(w.Data)
	services := module.Services{}
	module.Provide(services, stores)
	builder := &module.Builder{Table: table, Sources: module.Sources{ReadFile: w.ReadFile, Globals: w.Globals, Services: services}}
	part := map[string]*config.Node{}
	if named := root.Get("storage"); named != nil {
		part["storage"] = named.Clone()
	}
	res := builder.Build(nil, holderID, config.NewObject(part), module.Options{})
	if len(res.Problems) > 0 {
		return nil, res.Problems
	}
	s := &Storage{}
	if s.Storage, _ = res.Root.Value().(certmagic.Storage); s.Storage == nil {
		s.Storage = stores.Default()
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				s.Close()
				return nil, fmt.Errorf("opening the storage: %w", err)
			}
			s.owned = append(s.owned, r)
		}
	}
	if files, ok := s.Storage.(*certstore.FileSystem); ok {
		s.leave = keysIn(files.Root(), w.Foreign)
	}
	return s, nil
}

// Close gives the storage up.
func (s *Storage) Close() {
	for _, r := range slices.Backward(s.owned) {
		r.Close()
	}
}

// keysIn are the keys of those files that are below a folder.
func keysIn(folder string, files []string) (keys []string) {
	for _, f := range files {
		f, err := filepath.Abs(f)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(folder, f); err == nil && filepath.IsLocal(rel) {
			keys = append(keys, filepath.ToSlash(rel))
		}
	}
	return keys
}
