package main

import (
	"context"
	"errors"
	"os"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/service"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
)

// live waits for the start to end and then for a reason to stop, and reacts to
// signals. The error is that of a failed start.
func (p *process) live(ctx context.Context, started <-chan error, signals <-chan os.Signal) (code int, err error) {
	ended := make(chan int, 1)
	up, leaving, interrupts := false, "", 0
	leave := func() { p.quit(leaving, ended) }
	ask := func(reason string) {
		if leaving != "" {
			return
		}
		leaving = reason
		if up {
			leave()
			return
		}
		p.puller.Stop() // what the start waits for may take long
	}
	stop, over := p.stop, p.turn.Over()
	for {
		select {
		case <-over:
			if over = nil; leaving == "" {
				return p.outlive(signals, false), nil
			}
		case err := <-started:
			if err != nil && leaving != "" && errors.Is(err, server.ErrClosed) {
				_ = p.failedStart(err)
				return 0, nil
			}
			if err != nil {
				return exitFailed, p.failedStart(err)
			}
			if up = true; leaving != "" {
				leave()
			}
		case code := <-ended:
			return code, nil
		case <-stop:
			stop = nil
			ask("POST /stop")
		case sig := <-signals:
			switch service.SignalOf(sig) {
			case service.Stop:
				if service.IsInterrupt(sig) {
					interrupts++
				}
				if interrupts > 1 {
					p.exitNow("a second interrupt")
				}
				ask(sig.String())
			case service.Quit:
				p.exitNow(sig.String())
			case service.Reload:
				if up {
					go p.reloadSource(ctx)
				}
			case service.Idle:
				p.log.Info("not implemented", zap.String("signal", sig.String()))
			}
		}
	}
}

// quit begins the end of the process.
func (p *process) quit(reason string, ended chan<- int) {
	p.notify.Send("STOPPING=1")
	p.log.Info("exiting; byeee!! 👋", zap.String("reason", reason))
	go func() { ended <- p.end() }()
}

// exitNow ends the process at once. What was accepted is in the store already,
// and its lock goes with the process.
func (p *process) exitNow(reason string) {
	releaseLocks(p.log)
	p.log.Warn("quitting immediately", zap.String("reason", reason), zap.Int("exit_code", exitForced))
	_ = p.logs.Sync()
	os.Exit(exitForced)
}

// failedStart releases what a failed start holds, and passes its error on.
func (p *process) failedStart(err error) error {
	p.notify.Status(err.Error())
	p.puller.Stop()
	if p.host != nil {
		_ = p.host.engine.Shutdown(context.Background())
	}
	if p.store != nil {
		_ = p.store.Close()
	}
	return err
}
