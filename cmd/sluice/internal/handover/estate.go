package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluiceproxy/sluice/server/listen"
)

// Env names the variable that tells a process which descriptor leads to the one before.
const Env = "SLUICE_HANDOVER"

// Estate is what a process leaves beside its sockets.
type Estate struct {
	// Stored says that the document is in the store, as Revision. Otherwise it is Document.
	Stored   bool   `json:"stored"`
	Revision uint64 `json:"revision"`
	Document []byte `json:"-"`
	// Trouble says that not all of the document runs, so that it need not afterwards.
	Trouble bool `json:"trouble,omitempty"`
	// Source and Adapter are the config file that a signal loads again, if it is known.
	Source  string `json:"source,omitempty"`
	Adapter string `json:"adapter,omitempty"`
	// Drained are the upstreams that were taken out of service.
	Drained []string `json:"drained,omitempty"`
	// Tickets are the keys of session tickets.
	Tickets json.RawMessage `json:"tickets,omitempty"`
	// Sockets are all that listen.
	Sockets []listen.Handed `json:"-"`
}

// Close closes the descriptors.
func (e *Estate) Close() {
	for i := range e.Sockets {
		e.Sockets[i].Close()
	}
	e.Sockets = nil
}

// Suspender is something that only one process can have.
type Suspender interface {
	// Suspend releases it; whoever uses it waits, or gets an error. After an error nothing is released.
	Suspend() error
	// Resume takes it again, if it is suspended.
	Resume() error
	// Abandon leaves it to the other process for good: whoever waits gets an error.
	Abandon()
}

// Giver is a process that hands over.
type Giver struct {
	// Program is the file to run, Args its arguments, the name first, and Env its environment.
	Program   string
	Args, Env []string
	// Sibling makes the new process a child of the parent of this one, which is then told when it ends.
	Sibling bool
	// DryRun ends the new process when it has said hello.
	DryRun bool
	// Gate is what changes pass through.
	Gate *Gate
	// Files are released while the new process begins, in this order.
	Files []Suspender
	// Estate collects what is handed over. It is called when nothing changes any more, and before the files are
	// released.
	Estate func() (*Estate, error)
	// Divert stops the reading of what cannot be read by two processes. Restore undoes that, and what Estate has begun.
	Divert, Restore func()
	// Took is called when the new process serves, before that may tell anybody.
	Took func(pid int)
}

// Outcome is a process that has taken over.
type Outcome struct {
	PID     int
	Version string
	// Paused is how long no change was possible.
	Paused time.Duration
}

// Run hands over. When it returns without an error another process serves; after an error all is as it was.
func (g *Giver) Run(ctx context.Context) (Outcome, error) {
	h, err := g.start()
	if err != nil {
		return Outcome{}, err
	}
	out, err := g.handOver(ctx, h)
	if err != nil {
		return out, h.failed(ctx, err)
	}
	h.release()
	return out, nil
}

func (g *Giver) handOver(ctx context.Context, h *heir) (out Outcome, err error) {
	defer context.AfterFunc(ctx, h.link.interrupt)()
	hello, err := h.expect(kindHello)
	if err != nil {
		return out, err
	}
	out.PID, out.Version = h.pid, hello.Version
	if g.DryRun {
		h.kill()
		return out, nil
	}
	if err := g.Gate.Shut(ctx); err != nil {
		return out, err
	}
	start := time.Now()
	defer func() {
		if err != nil {
			g.Gate.Open()
		}
	}()
	estate, err := g.Estate()
	if err != nil {
		return out, err
	}
	defer estate.Close()
	defer func() {
		if err != nil {
			g.Restore()
		}
	}()
	for i, f := range g.Files {
		if err = f.Suspend(); err != nil {
			return out, errors.Join(err, resume(g.Files[:i]))
		}
	}
	if err = g.pass(h, estate); err != nil {
		if ctx.Err() == nil && closedByPeer(err) {
			err = h.gone()
		}
		h.kill() // before anything is taken again
		return out, errors.Join(err, resume(g.Files))
	}
	out.Paused = time.Since(start)
	for _, f := range g.Files {
		f.Abandon()
	}
	g.Took(h.pid)
	_ = h.link.send(message{Kind: kindMain}, nil) // it goes on without
	return out, nil
}

func resume(files []Suspender) error {
	var errs []error
	for _, f := range files {
		if err := f.Resume(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// pass gives the estate to the heir, who serves when it returns without an error.
func (g *Giver) pass(h *heir, estate *Estate) error {
	if err := h.link.sendEstate(estate); err != nil {
		return fmt.Errorf("handing over to the new process: %w", err)
	}
	if _, err := h.expect(kindReady); err != nil {
		return err
	}
	g.Divert()
	if err := h.link.send(message{Kind: kindTake}, nil); err != nil {
		return fmt.Errorf("handing over to the new process: %w", err)
	}
	_, err := h.expect(kindServing)
	return err
}
