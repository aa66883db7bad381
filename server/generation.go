package server

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/listen"
)

// Generation is one document and everything that was compiled from it. It is
// immutable. Requests that use it hold a pin; what only it uses is released
// when the last pin of it and of all generations before it is gone.
type Generation struct {
	doc      *config.Doc
	tree     *module.Built
	root     *root
	seq      uint64
	revision uint64
	started  time.Time
	binds    *bindings

	shards  [pinShards]shard
	retired atomic.Bool
	drained sync.Once
	onDrain func()
}

// pinShards spreads the counting of pins over cache lines.
const pinShards = 16

type shard struct {
	n atomic.Int64
	_ [56]byte
}

// bindings says which server is meant by a connection of a socket. It is
// shared by generations until an address changes.
type bindings struct {
	owner map[listen.Key]bound
}

type bound struct {
	server string
	speak  spoken
	altSvc []string // of responses that may tell of HTTP/3
}

// Doc is the document.
func (g *Generation) Doc() *config.Doc { return g.doc }

// Revision is the number of the stored revision that the document is, 0 if it
// was never stored.
func (g *Generation) Revision() uint64 { return g.revision }

// Number counts the generations of this process.
func (g *Generation) Number() uint64 { return g.seq }

// Started is when the generation began to serve.
func (g *Generation) Started() time.Time { return g.started }

// Modules counts the modules that run.
func (g *Generation) Modules() int { return g.tree.Size() }

// serverAt finds the server for connections of a socket, nil if the socket is
// no longer in the document.
func (g *Generation) serverAt(key listen.Key) *boundServer {
	b, ok := g.binds.owner[key]
	if !ok {
		return nil
	}
	return g.root.app.servers[b.server]
}

// pin keeps a generation. It is part of the state of a request.
type pin struct {
	gen   *Generation
	shard *shard
}

// Release lets the generation go.
func (p *pin) Release() {
	g := p.gen
	p.shard.n.Add(-1)
	p.gen, p.shard = nil, nil
	if g.retired.Load() {
		g.checkDrained()
	}
}

// tryPin pins g if it still is what current holds.
func (g *Generation) tryPin(current *atomic.Pointer[Generation]) (pin, bool) {
	p := pin{g, &g.shards[rand.Uint32N(pinShards)]}
	p.shard.n.Add(1)
	if current.Load() == g {
		return p, true
	}
	p.Release()
	return pin{}, false
}

// retire is called once g is no longer current.
func (g *Generation) retire() {
	g.retired.Store(true)
	g.checkDrained()
}

// checkDrained calls onDrain once no pin is left. Pins only fall after retire,
// but for a moment within tryPin, so whoever takes the last one away sees zero.
func (g *Generation) checkDrained() {
	var n int64
	for i := range g.shards {
		n += g.shards[i].n.Load()
	}
	if n == 0 {
		g.drained.Do(g.onDrain)
	}
}

// pinNow pins a generation that is kept by another pin or by the applier.
func (g *Generation) pinNow() pin {
	p := pin{g, &g.shards[rand.Uint32N(pinShards)]}
	p.shard.n.Add(1)
	return p
}
