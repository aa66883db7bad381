package endpoint

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/server/listen"
)

// handedPrefix tells the admin sockets from those of servers.
const handedPrefix = "admin "

// Inherit makes Sockets use what the process before has handed over, instead of
// opening it. It is called before any is opened.
func (s *Sockets) Inherit(i *listen.Inherited) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inherited = i
}

// adopt takes over the listener with a key, if it was handed to this process.
func (s *Sockets) adopt(key string) (net.Listener, bool, error) {
	ln, ok, err := s.inherited.Listener(listen.Key(handedPrefix + key))
	if u, unix := ln.(*net.UnixListener); unix {
		s.inherited.OnBegin(func() { u.SetUnlinkOnClose(!strings.HasPrefix(u.Addr().String(), "@")) })
	}
	return ln, ok, err
}

// Hand returns the open listeners for another process to inherit. They stay open
// here.
func (s *Sockets) Hand() ([]listen.Handed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []listen.Handed
	for key, sock := range s.open {
		ln, ok := sock.ln.(interface{ File() (*os.File, error) })
		if sock.addr.IsFD() || !ok {
			continue
		}
		f, err := ln.File()
		if err != nil {
			for i := range list {
				list[i].Close()
			}
			return nil, fmt.Errorf("handing %s at %s over: %w", sock.kind, sock.addr, err)
		}
		list = append(list, listen.Handed{Key: listen.Key(handedPrefix + key), File: f})
	}
	slices.SortFunc(list, func(a, b listen.Handed) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list, nil
}

// Leave says that another process has inherited the listeners: whoever closes one,
// Shutdown among them, leaves it as it is, with the connections that nobody has
// accepted yet.
func (s *Sockets) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sock := range s.open {
		sock.left = true
		sock.away.Store(true)
		if u, ok := sock.ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
	}
}

// settleTime is how long a connection that was just accepted may take to send its
// request.
const settleTime = time.Second

// settle lets connections that were accepted last be answered: a server that shuts
// down closes those whose request it has not read yet.
func (k *socket) settle() {
	k.server.SetKeepAlivesEnabled(false)
	time.Sleep(settleTime)
}

// held is a listener that accepts only when it belongs to this process.
type held struct {
	net.Listener
	inherited *listen.Inherited
	ended     <-chan struct{}
}

// Accept waits for the process before to let go.
func (h held) Accept() (net.Conn, error) {
	if !h.inherited.Wait(h.ended) {
		return nil, net.ErrClosed
	}
	return h.Listener.Accept()
}
