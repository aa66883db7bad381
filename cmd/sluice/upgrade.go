package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/autosave"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/handover"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/service"
	"github.com/sluiceproxy/sluice/handlers/acmeserver"
	"github.com/sluiceproxy/sluice/server/certstore"
	"go.uber.org/zap"
)

// upgradeTimeout is how long a new process may take until it serves.
const upgradeTimeout = time.Minute

// upgrade hands over to a new process (POST /upgrade). When it returns without an
// error that one serves, and this one ends when what it has begun has ended.
func (p *process) upgrade(ctx context.Context, u admin.Upgrade) (admin.Upgraded, error) {
	none := admin.Upgraded{}
	if err := handover.Possible(); err != nil {
		return none, &admin.Error{Status: http.StatusNotFound, Msg: err.Error()}
	}
	drain := u.Drain
	if drain < 0 {
		var err error
		if drain, err = p.drainLimit(); err != nil {
			return none, err
		}
	}
	if !p.host.up.Load() {
		return none, &admin.Error{Status: http.StatusConflict, Msg: "this process is starting"}
	}
	ctx, err := p.turn.Begin(ctx)
	if err != nil {
		return none, &admin.Error{Status: http.StatusConflict, Msg: err.Error()}
	}
	limit := cmp.Or(u.Timeout, upgradeTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the new process was not ready within %v", limit))
	defer cancel()
	giver := p.giver()
	giver.DryRun = u.DryRun
	p.log.Info("starting a new process to take over", zap.String("program", giver.Program), zap.Bool("dry_run", u.DryRun))
	out, err := giver.Run(ctx)
	if err != nil {
		err = fmt.Errorf("starting %s to take over: %w; this process goes on", giver.Program, err)
		p.log.Error("no upgrade", zap.Error(err))
	} else if !u.DryRun {
		p.log.Info("another process has taken over", zap.Int("pid", out.PID), zap.String("version", out.Version), zap.Duration("paused", out.Paused))
	}
	p.drain = drain
	p.turn.End(err == nil && !u.DryRun)
	return admin.Upgraded{Program: giver.Program, Version: out.Version, OldPID: os.Getpid(), NewPID: out.PID,
		Paused: float64(out.Paused.Microseconds()) / 1e3}, err
}

// giver is this process as one that hands over.
func (p *process) giver() *handover.Giver {
	g := &handover.Giver{
		Program: p.executable, Args: os.Args, Env: p.env, Sibling: p.notifySocket != "",
		Gate: &p.gate, Files: []handover.Suspender{autosaves{p}},
		Estate: p.leave, Divert: p.packets.Divert, Restore: p.packets.Restore,
		Took: func(pid int) { p.notify.Send("MAINPID=" + strconv.Itoa(pid)) },
	}
	if p.store != nil {
		g.Files = append(g.Files, p.store)
	}
	for _, t := range []reflect.Type{reflect.TypeFor[*certstore.Stores](), reflect.TypeFor[*acmeserver.Databases]()} {
		g.Files = append(g.Files, p.services[t].(handover.Suspender))
	}
	return g
}

// autosaves is the autosave file as something that one process writes.
type autosaves struct{ *process }

// Suspend implements handover.Suspender.
func (a autosaves) Suspend() error {
	a.autosave.Close()
	return nil
}

// Resume implements handover.Suspender.
func (a autosaves) Resume() error {
	a.autosave = autosave.New(a.dirs.AutosaveFile(), a.logs.Core(""))
	return nil
}

// Abandon implements handover.Suspender.
func (a autosaves) Abandon() {}

// end stops the process, unless another one has just taken over.
func (p *process) end() int {
	if p.turn.Close() {
		return p.outlive(nil, true)
	}
	return p.shutdown()
}

// outlive ends what this process has begun, now that another one serves. A signal
// to stop ends streams, and gives requests the grace period of the document; soon
// is as if it had come already.
func (p *process) outlive(signals <-chan os.Signal, soon bool) int {
	streams, hurry := context.WithCancel(context.Background())
	defer hurry()
	if soon {
		hurry()
	}
	ended, stop := make(chan int, 1), p.stop
	go func() { ended <- p.fade(streams) }()
	interrupted := false
	for {
		select {
		case code := <-ended:
			return code
		case <-stop:
			stop = nil
			hurry()
		case sig := <-signals:
			switch service.SignalOf(sig) {
			case service.Stop:
				if service.IsInterrupt(sig) && interrupted {
					p.exitNow("a second interrupt")
				}
				interrupted = interrupted || service.IsInterrupt(sig)
				hurry()
			case service.Quit:
				p.exitNow(sig.String())
			}
		}
	}
}

// handshakeTime is how long handshakes that have begun may need certificates.
const handshakeTime = 30 * time.Second

// fade is shutdown for a process in whose place another one serves.
func (p *process) fade(streams context.Context) int {
	p.log.Info("ending what has begun before another process took over", zap.Duration("at_most", p.drain))
	p.puller.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if p.drain > 0 {
		defer time.AfterFunc(p.drain, cancel).Stop()
	}
	defer context.AfterFunc(streams, func() {
		if grace := p.host.engine.GracePeriod(); grace > 0 {
			time.AfterFunc(grace, cancel)
		}
	})()
	p.sockets.Leave()
	left := make(chan error, 1)
	go func() {
		short, cancel := context.WithTimeout(context.Background(), adminStopTime)
		defer cancel()
		left <- p.sockets.Shutdown(short)
	}()
	idle := time.AfterFunc(handshakeTime, p.certificates.Manager.Close) // the other process renews them
	err := p.host.engine.HandOver(ctx, streams)
	idle.Stop()
	p.certificates.Close()
	p.spare.close()
	if err = errors.Join(err, <-left); err != nil {
		p.log.Warn("some connections were cut", zap.Error(err))
	}
	p.log.Info("ended; another process serves")
	_ = p.logs.Sync()
	return 0
}
