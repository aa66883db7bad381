package endpoint

import (
	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/admin/pulled"
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
	pulling  pulled.Setting
	socket   *socket
	started  bool
	identity *identity.Service  // nil if it is not needed
	settings *identity.Settings // nil if there is no identity
	remote   *remote            // nil if there is none
}

// Disabled reports whether the document wants no endpoint, a remote one aside.
func (e *Endpoint) Disabled() bool { return e.disabled }

// Remote reports whether the document wants a remote endpoint.
func (e *Endpoint) Remote() bool { return e.remote != nil }

// Address is what the document says; port 0 means that the system chooses.
func (e *Endpoint) Address() netaddr.Addr { return e.options.Address }

// Prepare implements module.Resource.
func (e *Endpoint) Prepare() error {
	err := e.prepareLocal()
	if err == nil && e.settings != nil {
		err = e.identity.Prepare(e.settings)
	}
	if err == nil && e.remote != nil {
		err = e.remote.prepare()
	}
	if err != nil {
		e.Close()
	}
	return err
}

func (e *Endpoint) prepareLocal() error {
	if e.disabled {
		return nil
	}
	sock, err := e.sockets.acquire(localKind, e.options.Address)
	if err != nil {
		return err
	}
	e.socket = sock
	return nil
}

// Start implements module.Resource.
func (e *Endpoint) Start() {
	if e.settings != nil {
		e.identity.Start(e.settings)
	}
	if e.remote != nil {
		e.remote.start()
	} else {
		e.sockets.started(remoteKind, nil)
	}
	e.startLocal()
	if p := e.sockets.options.Puller; p != nil {
		p.Use(e.pulling)
	}
}

func (e *Endpoint) startLocal() {
	if e.disabled {
		e.sockets.started(localKind, nil)
		e.sockets.log.Warn("admin endpoint disabled")
		return
	}
	e.started = true
	defer e.sockets.started(localKind, e.socket)
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
	e.socket.setMode(opts.Address)
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
	if e.remote != nil {
		e.remote.close()
	}
	if e.settings != nil {
		e.identity.Release(e.settings)
	}
	if e.socket != nil {
		e.sockets.release(e.socket, e.started)
		e.socket = nil
	}
}
