package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// process is a child. It dies with the run at the latest.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // the file with what it printed
	done chan struct{}
	once sync.Once
}

// patience is how long a child may take to end after it was asked to.
const patience = 15 * time.Second

// start runs a program in a process group of its own, so that all of it can be
// ended. What it prints goes to a file. When ctx ends, it is killed.
func start(ctx context.Context, dir, name string, env []string, argv ...string) (*process, error) {
	log := filepath.Join(dir, name+".log")
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, f, f
	machine.OwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	context.AfterFunc(ctx, p.kill)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the child to end, and kills it when it does not.
func (p *process) stop() {
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
	}
	p.kill()
}

// kill ends whatever is left of the child's group.
func (p *process) kill() {
	p.once.Do(func() { machine.KillGroup(p.cmd) })
	<-p.done
}

// failed is the error of a child that did not do what it should, with the end
// of what it printed.
func (p *process) failed(what string) error {
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s %s; it printed: %s", p.name, what, text[max(0, len(text)-600):])
}

// waitPort waits until somebody accepts connections at addr.
func (p *process) waitPort(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.failed("ended before it listened on " + addr)
		case <-ctx.Done():
			return p.failed("does not listen on " + addr)
		}
	}
}

// ports gives out free ports of loopback. They lie below the range from which
// outgoing connections take theirs, so that none is lost to one meanwhile.
type ports struct{ next int }

func newPorts() *ports { return &ports{21000 + rand.IntN(9000)} }

// take returns the address of a port that is free now.
func (p *ports) take() (string, error) {
	for range 2000 {
		p.next++
		if p.next > 31000 {
			p.next = 21000
		}
		addr := "127.0.0.1:" + strconv.Itoa(p.next)
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port between 21000 and 31000 on loopback")
}
