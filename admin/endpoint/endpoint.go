package endpoint

import (
	"os"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"go.uber.org/zap"
)

// Endpoint is the compiled admin object of one document. It is a
// module.Resource: Prepare opens the listener or joins the one that is open,
// Start puts the document's rules into force, Close lets the listener go.
type Endpoint struct {
	sockets  *Sockets
	disabled bool
	options  admin.GuardOptions
	socket   *socket
	started  bool
}

// Disabled reports whether the document wants no endpoint.
func (e *Endpoint) Disabled() bool { return e.disabled }

// Address is what the document says; port 0 means that the system chooses.
func (e *Endpoint) Address() netaddr.Addr { return e.options.Address }

// Prepare implements module.Resource.
func (e *Endpoint) Prepare() error {
	if e.disabled {
		return nil
	}
	sock, err := e.sockets.acquire(e.options.Address)
	if err != nil {
		return err
	}
	e.socket = sock
	return nil
}

// Start implements module.Resource.
func (e *Endpoint) Start() {
	if e.disabled {
		e.sockets.started(nil)
		e.sockets.log.Warn("admin endpoint disabled")
		return
	}
	e.started = true
	defer e.sockets.started(e.socket)
	opts := e.options
	opts.Address = e.socket.address()
	opts.Address.Mode = e.options.Address.Mode
	guard, err := admin.NewGuard(opts)
	if err != nil {
		// Compile has checked the origins; a guard that lets nobody in is the
		// safe answer to a mistake in that.
		e.sockets.log.Error("admin endpoint locked", zap.Error(err))
		guard = admin.LockedGuard()
	}
	if a := opts.Address; a.IsUnix() && !a.IsAbstract() {
		if err := os.Chmod(a.Host, a.Mode.Perm()); err != nil {
			e.sockets.log.Error("setting the mode of the admin socket", zap.String("address", a.String()), zap.Error(err))
		}
	}
	if !e.socket.serve(guard) {
		return
	}
	e.sockets.log.Info("admin endpoint started", zap.String("address", opts.Address.String()),
		zap.Bool("enforce_origin", opts.EnforceOrigin), zap.Strings("origins", guard.Origins()))
	if !guard.ChecksHost() {
		e.sockets.log.Warn("admin endpoint on open interface; host checking disabled", zap.String("address", opts.Address.String()))
	}
}

// Close implements module.Resource.
func (e *Endpoint) Close() {
	if e.socket != nil {
		e.sockets.release(e.socket, e.started)
		e.socket = nil
	}
}
