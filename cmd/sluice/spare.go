package main

import (
	"errors"
	"path/filepath"
	"slices"
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
// possible it opens it without its remote side, else the default one; but where the object asks for tokens, or
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
		if local := withoutRemote(object); local != object && s.try(local) == nil {
			return nil
		}
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

// withoutRemote is the admin object without identity and remote endpoint, which
// may stand on what else is in the document; the object itself if it has none.
func withoutRemote(object *config.Node) *config.Node {
	fields := map[string]*config.Node{}
	for key, value := range object.Members() {
		if !strings.EqualFold(key, "identity") && !strings.EqualFold(key, "remote") {
			fields[key] = value.Clone()
		}
	}
	if len(fields) == object.Len() {
		return object
	}
	return config.NewObject(fields)
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
	if e := res.Root.Value().(*endpoint.Endpoint); e.Disabled() && !e.Remote() {
		return errNoEndpoint
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var owned []module.Resource
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				closeResources(owned)
				return err
			}
			owned = append(owned, r)
		}
	}
	for _, r := range owned {
		r.Start()
	}
	s.owned = append(s.owned, owned...)
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
	for _, r := range slices.Backward(list) {
		r.Close()
	}
}

// adminAddresses lists the open admin endpoints for messages.
func (p *process) adminAddresses() string {
	list := p.sockets.Addresses()
	for _, a := range p.sockets.RemoteAddresses() {
		list = append(list, a+" (remote)")
	}
	return strings.Join(list, ", ")
}
