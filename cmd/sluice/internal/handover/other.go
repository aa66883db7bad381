//go:build !linux

package handover

import (
	"context"
	"errors"
	"os"
)

const (
	kindHello   = "hello"
	kindReady   = "ready"
	kindTake    = "take"
	kindServing = "serving"
	kindMain    = "main"
)

var errNotHere = errors.New("sockets can be handed to another process on Linux only; stop this process and start the new one")

type message struct{ Kind, Version string }

type link struct{}

func (link) interrupt()                     {}
func (link) send(message, []*os.File) error { return errNotHere }
func (link) sendEstate(*Estate) error       { return errNotHere }

type heir struct {
	pid  int
	link link
}

func (*heir) expect(string) (message, error)          { return message{}, errNotHere }
func (*heir) failed(_ context.Context, e error) error { return e }
func (*heir) gone() error                             { return errNotHere }
func (*heir) kill()                                   {}
func (*heir) release()                                {}
func (*Giver) start() (*heir, error)                  { return nil, errNotHere }

// Program is the file that this process was started from.
func Program([]string) string {
	file, _ := os.Executable()
	return file
}

// Possible returns why this process cannot hand over.
func Possible() error { return errNotHere }

// Successor is this process, if it was started to take over from another one; on this system it never is.
type Successor struct{}

// New returns nil.
func New() (*Successor, error) { return nil, nil }

// Hello fails.
func (*Successor) Hello(string) (*Estate, error) { return nil, errNotHere }

// Ready fails.
func (*Successor) Ready() error { return errNotHere }

// Serving fails.
func (*Successor) Serving() error { return errNotHere }

// Failed does nothing.
func (*Successor) Failed(error) {}

func closedByPeer(error) bool { return false }
