package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/server/listen"
	"go.uber.org/zap"
)

// The time-outs and limits of section 3 of the admin API reference.
const (
	readTimeout       = 10 * time.Second
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 64 << 10
	// stopTimeout is how long the requests of a listener that goes away may
	// take.
	stopTimeout = 10 * time.Second
	// drainTime is how long a listener that goes away still accepts, so that
	// connections which the system has already made are answered.
	drainTime = 10 * time.Millisecond
	// maxConnections is how many connections a listener has open. One more is
	// closed at once.
	maxConnections = 512
)

const defaultPort = 2019

// SocketsOptions set up Sockets.
type SocketsOptions struct {
	// Default is the address of documents that name none: $SLUICE_ADMIN, else
	// $CADDY_ADMIN, as they were when the process started. Default:
	// admin.DefaultAddress.
	Default string
	// Connections is how many connections each listener may have open. Default:
	// 512.
	Connections int
	// Log is the logger "admin"; nil logs nothing.
	Log *zap.Logger
	// Puller follows the settings of config.load; nil follows none.
	Puller *pulled.Puller
}

// Sockets is the admin listeners of a process: normally one, and one more if
// there is a remote endpoint; for the moment of a change of address also the one
// before. A listener and its connections live for as long as
// some document in use names its address, whatever else changes. It is safe
// for concurrent use.
type Sockets struct {
	options SocketsOptions
	log     *zap.Logger
	remote  *zap.Logger // that of remote endpoints
	api     atomic.Pointer[admin.API]

	mu        sync.Mutex
	inherited *listen.Inherited // nil unless another process has handed something over
	open      map[string]*socket
	closed    bool
	stopping  sync.WaitGroup
}

// NewSockets makes a service without listeners.
func NewSockets(o SocketsOptions) *Sockets {
	if o.Default == "" {
		o.Default = admin.DefaultAddress
	}
	if o.Connections <= 0 {
		o.Connections = maxConnections
	}
	s := &Sockets{options: o, log: o.Log, open: map[string]*socket{}}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.remote = s.log.Named("remote")
	return s
}

// Serve sets what answers requests. Until it is called they get status 503.
func (s *Sockets) Serve(a *admin.API) { s.api.Store(a) }

// Addresses lists the open listeners, those of remote endpoints aside, each in a
// form that netaddr.Parse reads, with the port that was really opened.
func (s *Sockets) Addresses() []string { return s.addresses(localKind) }

// RemoteAddresses is Addresses for remote endpoints.
func (s *Sockets) RemoteAddresses() []string { return s.addresses(remoteKind) }

func (s *Sockets) addresses(k kind) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sock := range s.open {
		if sock.kind == k {
			list = append(list, sock.address().String())
		}
	}
	return list
}

func (s *Sockets) logOf(k kind) *zap.Logger {
	if k == remoteKind {
		return s.remote
	}
	return s.log
}

// Shutdown closes all listeners, those of documents in use among them, and
// waits until their requests are answered, at most until ctx ends.
func (s *Sockets) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for key, sock := range s.open {
		delete(s.open, key)
		s.stop(sock)
	}
	s.mu.Unlock()
	stopped := make(chan struct{})
	go func() {
		s.stopping.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping the admin endpoint: %w", ctx.Err())
	}
}

// acquire opens the address, or counts one more holder of it.
func (s *Sockets) acquire(k kind, a netaddr.Addr) (*socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the admin endpoint is shutting down")
	}
	key := keyOf(a)
	if sock := s.open[key]; sock != nil {
		if sock.kind != k {
			return nil, fmt.Errorf("opening %s at %s: the address is that of %s; choose another, or change that one first", k, a, sock.kind)
		}
		sock.holders++
		sock.waiting++
		return sock, nil
	}
	ln, adopted, err := s.adopt(key)
	if !adopted {
		var own []net.Listener
		for _, sock := range s.open {
			own = append(own, sock.ln)
		}
		ln, err = open(k, a, own)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s at %s: %w", k, a, err)
	}
	sock := &socket{sockets: s, kind: k, log: s.logOf(k), key: key, addr: a, ln: ln, holders: 1, waiting: 1, accepted: make(chan struct{}), ended: make(chan struct{})}
	s.open[key] = sock
	return sock, nil
}

// keyOf identifies a listener. Another mode of a unix socket does not make it
// another, nor does another name for the same IP address.
func keyOf(a netaddr.Addr) string {
	text := a.JoinHostPort(0)
	if !a.IsUnix() && !a.IsFD() && a.StartPort != 0 {
		if tcp, err := net.ResolveTCPAddr(a.Network, text); err == nil {
			text = tcp.String()
		}
	}
	return a.Network + "/" + text
}

// started says that a document came into force which wants sock, or no listener
// of this kind if it is nil. The listeners of documents before it are stopped now, though
// those are still in use by requests: an address that was taken away should not
// stay open until the last download has ended.
func (s *Sockets) started(k kind, sock *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sock != nil {
		sock.waiting--
	}
	for key, other := range s.open {
		if other.kind == k && other != sock && other.waiting == 0 {
			delete(s.open, key)
			s.stop(other)
		}
	}
}

// release ends what acquire began.
func (s *Sockets) release(sock *socket, started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !started {
		sock.waiting--
	}
	if sock.holders--; sock.holders > 0 || s.open[sock.key] != sock {
		return
	}
	delete(s.open, sock.key)
	s.stop(sock)
}

// stop closes a listener now, and its connections when they are done. s.mu is
// held.
func (s *Sockets) stop(sock *socket) {
	if sock.server == nil {
		_ = sock.ln.Close() // nobody was served yet
		return
	}
	sock.endAccept()
	left := sock.left
	s.stopping.Go(func() {
		if left {
			sock.settle()
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := sock.server.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
			_ = sock.server.Close()
			sock.log.Warn("stopped previous server; requests were cut off", zap.String("address", sock.addr.String()), zap.Error(err))
			return
		}
		sock.log.Info("stopped previous server", zap.String("address", sock.addr.String()))
	})
}

// socket is one listener.
type socket struct {
	sockets *Sockets
	kind    kind
	log     *zap.Logger
	key     string
	addr    netaddr.Addr
	ln      net.Listener
	// holders counts the documents that want it, waiting those of them that are
	// not in force yet. Both are guarded by Sockets.mu.
	holders, waiting int
	server           *http.Server
	guard            atomic.Pointer[admin.Guard]
	// tls is for the handshakes of a remote endpoint.
	tls atomic.Pointer[tls.Config]
	// accepted is closed when the server accepts no more.
	accepted chan struct{}
	ending   atomic.Bool
	ended    chan struct{} // closed when the listener is to end
	left     bool          // another process has it; guarded by Sockets.mu
	away     atomic.Bool   // so requests to change something are for that one
}

// address is the address with the port that was really opened.
func (k *socket) address() netaddr.Addr {
	a := k.addr
	if tcp, ok := k.ln.Addr().(*net.TCPAddr); ok && a.StartPort == 0 && !a.IsFD() {
		a.StartPort = uint(tcp.Port)
		a.EndPort = a.StartPort
	}
	return a
}

// serve begins to accept, under the rules of g. It reports false if it served
// already and only the rules are new.
func (k *socket) serve(g *admin.Guard) bool {
	k.guard.Store(g)
	k.sockets.mu.Lock()
	defer k.sockets.mu.Unlock()
	if k.server != nil || k.sockets.closed {
		return false
	}
	errorLog, err := zap.NewStdLogAt(k.log, zap.DebugLevel)
	if err != nil {
		panic(fmt.Sprintf("endpoint: %v", err)) // only for a level that does not exist
	}
	k.server = &http.Server{
		Handler:                      k,
		ReadTimeout:                  readTimeout,
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     errorLog,
	}
	server := k.server
	ln := k.listener(server)
	go func() {
		defer close(k.accepted)
		err := server.Serve(ln)
		if !k.ending.Load() && !errors.Is(err, http.ErrServerClosed) {
			k.log.Error("admin endpoint stopped accepting", zap.String("address", k.addr.String()), zap.Error(err))
		}
	}()
	return true
}

// ServeHTTP hands a request to the API under the rules of the document in use.
func (k *socket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	api := k.sockets.api.Load()
	if api == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the process is starting", http.StatusServiceUnavailable)
		return
	}
	if k.away.Load() && r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "another process has taken over; ask again", http.StatusServiceUnavailable)
		return
	}
	api.Serve(w, r, k.guard.Load())
}

// endAccept accepts what the system has already connected, then closes the
// listener, so that the address is free when it returns.
func (k *socket) endAccept() {
	k.ending.Store(true)
	close(k.ended)
	end := time.Now()
	if !k.left {
		end = end.Add(drainTime)
	}
	if d, ok := k.ln.(interface{ SetDeadline(time.Time) error }); ok && d.SetDeadline(end) == nil {
		<-k.accepted
	}
	_ = k.ln.Close()
	<-k.accepted
}

// draining is a listener whose end is not an error to retry.
type draining struct {
	net.Listener
	socket *socket
}

// Accept returns net.ErrClosed once the listener is to end.
func (d draining) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil && d.socket.ending.Load() {
		err = net.ErrClosed
	}
	return conn, err
}
