package upstream

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
)

// Place is where the handler that opened a stream stands in the document. It is the same over edits of that handler.
type Place struct{ node atomic.Pointer[config.Node] }

// Move says which node the handler is made from now.
func (p *Place) Move(n *config.Node) { p.node.Store(n) }

// Node returns that node; it may be one of an older document if the handler was removed.
func (p *Place) Node() *config.Node {
	if p == nil {
		return nil
	}
	return p.node.Load()
}

// Stream is an exchange that may last for hours: an upgraded connection, or a response that is passed on as it comes. What
// has an upper-case name is set before [Host.OpenStream] and not changed any more.
type Stream struct {
	// Kind is "websocket", "upgrade" or "response".
	Kind string
	// Address is where the upstream was reached.
	Address string
	// Client is the address of the client's connection; Target is host and path of its request.
	Client, Target string
	// Place is where the handler stands.
	Place *Place
	// End ends the stream. It must not wait for anything.
	End func()
	// Down and Up count the bytes to the client and to the upstream.
	Down, Up atomic.Int64

	id     uint64
	host   *Host
	opened time.Time
}

// streams is the open ones of a pool.
type streams struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]*Stream
}

// OpenStream makes s known. It is paid back by one [Stream.Done].
func (h *Host) OpenStream(s *Stream) {
	s.host, s.opened = h, h.pool.now()
	h.streams.Add(1)
	p := &h.pool.streams
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	s.id = p.last
	if p.open == nil {
		p.open = map[uint64]*Stream{}
	}
	p.open[s.id] = s
}

// Done says that the stream has ended.
func (s *Stream) Done() {
	s.host.streams.Add(-1)
	p := &s.host.pool.streams
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, s.id)
}

// StreamStatus is one line of GET /reverse_proxy/streams.
type StreamStatus struct {
	// ID identifies the stream as long as the process lives.
	ID uint64 `json:"id"`
	// Kind is "websocket", "upgrade" (another protocol) or "response" (a body that is passed on as it comes).
	Kind string `json:"kind"`
	// Upstream is the dial text of the upstream, Address where it was reached.
	Upstream string `json:"upstream"`
	Address  string `json:"address"`
	// Route is where the handler stands in the document now; absent if it is gone.
	Route string `json:"route,omitempty"`
	// Client is the address of the client, Target host and path of its request.
	Client string `json:"client"`
	Target string `json:"target"`
	// Opened is when the stream began.
	Opened time.Time `json:"opened"`
	// BytesDown and BytesUp were sent to the client and to the upstream.
	BytesDown int64 `json:"bytes_down"`
	BytesUp   int64 `json:"bytes_up"`

	node *config.Node
}

// Node is what the handler of the stream is made from.
func (s *StreamStatus) Node() *config.Node { return s.node }

// StreamFilter says which streams are meant. The zero value means all.
type StreamFilter struct {
	// ID is that of one stream.
	ID uint64
	// Upstream is a dial text or an address.
	Upstream string
	// Nodes is the nodes of handlers; nil means any.
	Nodes map[*config.Node]string
}

func (f *StreamFilter) admits(s *Stream) bool {
	if f.ID != 0 && s.id != f.ID {
		return false
	}
	if f.Upstream != "" && s.host.dial != f.Upstream && s.Address != f.Upstream {
		return false
	}
	if f.Nodes == nil {
		return true
	}
	_, ok := f.Nodes[s.Place.Node()]
	return ok
}

// matching returns the streams in order of their ids.
func (p *Pool) matching(f *StreamFilter) []*Stream {
	var list []*Stream
	p.streams.mu.Lock()
	if s := p.streams.open[f.ID]; f.ID != 0 {
		if s != nil && f.admits(s) {
			list = append(list, s)
		}
	} else {
		for _, s := range p.streams.open {
			if f.admits(s) {
				list = append(list, s)
			}
		}
	}
	p.streams.mu.Unlock()
	slices.SortFunc(list, func(a, b *Stream) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return list
}

// Streams lists open streams in order of their ids, at most limit of those above after.
func (p *Pool) Streams(f StreamFilter, after uint64, limit int) []StreamStatus {
	list := []StreamStatus{}
	for _, s := range p.matching(&f) {
		if s.id <= after {
			continue
		}
		if len(list) == limit {
			break
		}
		list = append(list, StreamStatus{
			ID: s.id, Kind: s.Kind, Upstream: s.host.dial, Address: s.Address, Client: s.Client, Target: s.Target,
			Opened: s.opened, BytesDown: s.Down.Load(), BytesUp: s.Up.Load(), node: s.Place.Node(),
		})
	}
	return list
}

// CloseStreams ends the streams and returns how many they were. They are gone from the list shortly after.
func (p *Pool) CloseStreams(f StreamFilter) int {
	list := p.matching(&f)
	for _, s := range list {
		s.End()
	}
	return len(list)
}

// maxTarget bounds what is kept of the target of a stream, in bytes.
const maxTarget = 256

// StreamTarget is host and path, copied and cut to a length that can be kept.
func StreamTarget(host, path string) string {
	if room := maxTarget - len(host); len(path) > room && room > 0 {
		path = path[:room] + "..."
	}
	return strings.ToValidUTF8(strings.Clone(host+path), "?")
}
