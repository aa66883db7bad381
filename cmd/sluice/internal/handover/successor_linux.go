package handover

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Successor is this process, if it was started to take over from another one. A nil Successor is a process that was not.
type Successor struct{ link link }

// New returns the successor that this process is to be; nil if it is none. It is called once, at the start.
func New() (*Successor, error) {
	text, ok := os.LookupEnv(Env)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(Env) // it is for nobody else
	fd, err := strconv.Atoi(text)
	if err == nil && fd < 3 {
		err = errors.New("want the number of a descriptor from 3 on")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", Env, err)
	}
	unix.CloseOnExec(fd)
	l, err := newLink(os.NewFile(uintptr(fd), "handover"))
	if err != nil {
		return nil, fmt.Errorf("using descriptor %d, which %s names: %w", fd, Env, err)
	}
	return &Successor{l}, nil
}

// Hello says that this process can take over, and waits until it may begin to.
func (s *Successor) Hello(version string) (*Estate, error) {
	if err := s.link.send(message{Kind: kindHello, Version: version}, nil); err != nil {
		return nil, fmt.Errorf("talking to the process before: %w", err)
	}
	e, err := s.link.receiveEstate()
	if err != nil {
		return nil, fmt.Errorf("taking over from the process before: %w", err)
	}
	return e, nil
}

// Ready says that everything runs, and waits until connections may be accepted. That the process before has vanished
// means so, too.
func (s *Successor) Ready() error {
	if err := s.link.send(message{Kind: kindReady}, nil); err != nil && !closedByPeer(err) {
		return fmt.Errorf("talking to the process before: %w", err)
	}
	return s.await(kindTake)
}

// Serving says that connections are accepted, and waits until the service manager knows of this process.
func (s *Successor) Serving() error {
	defer s.link.Close()
	if err := s.link.send(message{Kind: kindServing}, nil); err != nil && !closedByPeer(err) {
		return fmt.Errorf("talking to the process before: %w", err)
	}
	return s.await(kindMain)
}

func (s *Successor) await(kind string) error {
	m, files, err := s.link.receive()
	closeFiles(files)
	switch {
	case closedByPeer(err):
		return nil
	case err != nil:
		return fmt.Errorf("talking to the process before: %w", err)
	case m.Kind != kind:
		return unexpected(m)
	}
	return nil
}

// Failed says why this process cannot take over.
func (s *Successor) Failed(err error) {
	if s == nil {
		return
	}
	text := err.Error()
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "..."
	}
	_ = s.link.send(message{Kind: kindFailed, Error: text}, nil)
}
