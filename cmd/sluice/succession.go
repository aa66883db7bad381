package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/handover"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/journal"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/service"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"go.uber.org/zap"
)

// succession is what the process needs to take over from another one, and to hand
// over to the next.
type succession struct {
	executable string   // the file that it was started from
	env        []string // as it was at the start
	turn       *handover.Turn
	gate       handover.Gate
	listening  *listen.Manager
	packets    *listen.Packets
	drain      time.Duration // how long what was begun may take once another process serves; 0 is no limit

	// before is the process that this one takes over from, and estate what that
	// leaves; nil if there is none.
	before    *handover.Successor
	estate    *handover.Estate
	inherited *listen.Inherited
}

// inherit asks the process before for what it leaves. Until this one serves the
// document does not change, and the service manager hears nothing from it.
func (p *process) inherit() (err error) {
	if p.before == nil {
		return nil
	}
	if p.estate, err = p.before.Hello(versionText()); err != nil {
		return err
	}
	_ = p.gate.Shut(context.Background()) // nobody is in yet
	p.notify = service.Notifier{}
	p.inherited = listen.NewInherited(p.estate.Sockets)
	p.sockets.Inherit(p.inherited)
	p.source.set(p.estate.Source, p.estate.Adapter)
	var keys handshake.Ring
	if json.Unmarshal(p.estate.Tickets, &keys) == nil { // else sessions begin anew
		p.certificates.tickets.Inherit(keys)
	}
	return nil
}

// continued is the document of the process before. Last becomes the same.
func (p *process) continued(ctx context.Context, last *beginning) (*beginning, error) {
	e := p.estate
	if e.Stored {
		number, err := p.lastNumber(ctx)
		if err == nil && number != e.Revision {
			err = fmt.Errorf("the process before runs revision %d, and the last one in the store is %d", e.Revision, number)
		}
		return last, err
	}
	if len(e.Document) == 0 {
		return last, nil
	}
	var err error
	last.root, err = journal.Parse(e.Document)
	return last, err
}

// takeOver begins to serve in the place of the process before.
func (p *process) takeOver() error {
	if p.before == nil {
		return nil
	}
	for _, address := range p.estate.Drained {
		_, _ = p.pool.Drain(address, -1) // there is no such upstream any more, or it is only named by requests
	}
	if err := p.before.Ready(); err != nil {
		return err
	}
	if unused := p.inherited.Begin(); len(unused) > 0 {
		p.log.Warn("sockets of the process before are of no use here", zap.Strings("sockets", unused))
	}
	p.writePidFile()
	if err := p.before.Serving(); err != nil {
		p.log.Warn("the process before may not know that this one serves", zap.Error(err))
	}
	p.notify = service.Notifier{Socket: p.notifySocket}
	p.gate.Open()
	return nil
}

// watched is the config file to watch in the place of the process before.
func (p *process) watched() *configfile.File {
	if p.opts.resume || p.opts.config == "" && configfile.InWorkingDirectory() == "" {
		return nil
	}
	name := p.opts.config
	if name == "" {
		name = configfile.InWorkingDirectory()
	}
	f, err := p.files.Read(name, p.opts.adapter)
	if err != nil {
		p.log.Error("the config file is not watched any more", zap.Error(err))
		return nil
	}
	return f
}

func (p *process) writePidFile() {
	if p.opts.pidFile == "" {
		return
	}
	if err := service.WritePidFile(p.opts.pidFile); err != nil {
		p.log.Error("writing pid file", zap.Error(err))
	}
}

// leave collects what the next process gets.
func (p *process) leave() (*handover.Estate, error) {
	doc, revision := p.host.Document()
	e := &handover.Estate{Stored: p.store != nil, Revision: revision, Trouble: p.host.trouble.Load() != nil}
	e.Source, e.Adapter = p.source.get()
	if !e.Stored && doc.Root() != nil {
		e.Document = doc.Root().AppendJSON(nil)
	}
	for _, host := range p.pool.List() {
		if host.Draining {
			e.Drained = append(e.Drained, host.Address)
		}
	}
	var err error
	if e.Tickets, err = json.Marshal(p.certificates.tickets.Hand()); err != nil {
		return nil, fmt.Errorf("handing the keys of session tickets over: %w", err)
	}
	for _, hand := range []func() ([]listen.Handed, error){p.listening.Hand, p.packets.Hand, p.sockets.Hand} {
		list, err := hand()
		e.Sockets = append(e.Sockets, list...)
		if err != nil {
			e.Close()
			p.packets.Restore()
			return nil, err
		}
	}
	return e, nil
}

// drainEnv names a variable with the time that the process may take for what it
// has begun when another one has taken over.
const drainEnv = "SLUICE_UPGRADE_DRAIN"

// drainLimit is how long that is, unless the request says so.
func (p *process) drainLimit() (time.Duration, error) {
	text := os.Getenv(drainEnv)
	if text == "" {
		return p.host.engine.GracePeriod(), nil
	}
	d, err := vars.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("it is negative")
	}
	if err != nil {
		return 0, fmt.Errorf("reading %s, %q: %w; want a duration such as 1h, or 0 for no limit", drainEnv, text, err)
	}
	return d, nil
}
