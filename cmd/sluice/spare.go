package main

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"go.uber.org/zap"
)

// spareEndpoint is an admin endpoint for the time in which no document runs. It
// is let go when one does; the listener stays if that one has the same address.
type spareEndpoint struct {
	world *world
	mu    sync.Mutex
	owned []module.Resource
}

// open opens the endpoint that the admin object describes. If that is not
// possible it opens the default one; but where the object asks for tokens, or
// the default address is taken, it is a socket in the data directory, which
// only the owner can use.
func (s *spareEndpoint) open(object *config.Node, d environment.Directories) error {
	first := s.try(object)
	if first == nil {
		return nil
	}
	if object.Get("disabled").Bool() {
		return first
	}
	if object != nil {
		s.world.logs.Core("admin").Error("the admin endpoint of the document cannot be opened", zap.Error(first))
		if object.Get("tokens") == nil {
			if s.try(nil) == nil {
				return nil
			}
		}
	}
	if object == nil {
		return first
	}
	if err := s.try(ownerEndpoint(d)); err != nil {
		return errors.Join(first, err)
	}
	return nil
}

// ownerEndpoint describes an endpoint that only the owner of the process can
// use: a socket in the data directory.
func ownerEndpoint(d environment.Directories) *config.Node {
	return config.NewObject(map[string]*config.Node{
		"listen": config.NewString("unix/" + filepath.Join(d.Data, "admin.sock") + "|0200"),
	})
}

var errNoEndpoint = errors.New("the document turns the admin endpoint off")

func (s *spareEndpoint) try(object *config.Node) error {
	if object == nil {
		object = config.NewNull()
	}
	res := s.world.builder().Build(nil, endpoint.SpecID, object, module.Options{})
	if len(res.Problems) > 0 {
		return res.Problems.Under("/admin")
	}
	if res.Root.Value().(*endpoint.Endpoint).Disabled() {
		return errNoEndpoint
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range res.Root.Owned() {
		if err := r.Prepare(); err != nil {
			return err
		}
		r.Start()
		s.owned = append(s.owned, r)
	}
	return nil
}

// release lets the endpoint go once a document has its own. It returns at once.
func (s *spareEndpoint) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owned := s.owned; owned != nil {
		s.owned = nil
		go closeResources(owned)
	}
}

func (s *spareEndpoint) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	closeResources(s.owned)
	s.owned = nil
}

func closeResources(list []module.Resource) {
	for _, r := range list {
		r.Close()
	}
}

// adminAddresses lists the open admin endpoints for messages.
func (p *process) adminAddresses() string {
	return strings.Join(p.sockets.Addresses(), ", ")
}
