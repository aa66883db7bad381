package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// heir is the new process, seen from the old one.
type heir struct {
	cmd   *exec.Cmd
	pid   int
	link  link
	ended chan error // its end; nil if another process is told
}

// Program is the file that this process was started from: the name, so that a file which has taken its place since is
// what runs next. It is called at the start.
func Program(args []string) string {
	running, err := os.Executable()
	if err != nil || len(args) == 0 {
		return running
	}
	named, err := exec.LookPath(args[0])
	if err == nil {
		named, err = filepath.Abs(named)
	}
	if err != nil || !sameFile(named, running) {
		return running // the first argument is not the program's name
	}
	return named
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}

// Possible returns why this process cannot hand over, if that is so.
func Possible() error {
	if os.Getpid() == 1 {
		return errors.New("this process is the first of its container, which ends with it; start a new container beside this one instead")
	}
	return nil
}

// start runs the program.
func (g *Giver) start() (*heir, error) {
	if err := Possible(); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("making the sockets between the two processes: %w", err)
	}
	for _, fd := range pair {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxMessage)
	}
	theirs := os.NewFile(uintptr(pair[1]), "handover")
	defer theirs.Close()
	ours, err := newLink(os.NewFile(uintptr(pair[0]), "handover"))
	if err != nil {
		return nil, fmt.Errorf("making the sockets between the two processes: %w", err)
	}
	files, at := inheritance(theirs)
	cmd := &exec.Cmd{
		Path: g.Program, Args: g.Args, Env: append(without(g.Env, Env), Env+"="+strconv.Itoa(at)),
		Stdout: os.Stdout, Stderr: os.Stderr, ExtraFiles: files,
	}
	if g.Sibling {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
	}
	err = cmd.Start()
	for _, f := range files {
		if f != nil && f != theirs {
			_ = f.Close()
		}
	}
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("starting %s: %w", g.Program, err)
	}
	h := &heir{cmd: cmd, pid: cmd.Process.Pid, link: ours}
	if !g.Sibling {
		h.ended = make(chan error, 1)
		go func() { h.ended <- cmd.Wait() }()
	}
	return h, nil
}

// without is an environment less one variable.
func without(env []string, name string) (list []string) {
	for _, v := range env {
		if len(v) <= len(name) || v[:len(name)] != name || v[len(name)] != '=' {
			list = append(list, v)
		}
	}
	return list
}

// inheritance is the descriptors from 3 on that a child gets: sockets that this process was itself started with keep their
// numbers, which documents name. The link gets the first that is free.
func inheritance(link *os.File) (files []*os.File, at int) {
	for fd := 3; ; fd++ {
		if !startedWith(fd) {
			return append(files, link), fd
		}
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			files = append(files, nil)
			continue
		}
		files = append(files, os.NewFile(uintptr(own), "inherited"))
	}
}

// startedWith reports whether a descriptor is a socket from the time before this program: of those it opens itself, none
// stays open when it runs another.
func startedWith(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// expect waits for a message.
func (h *heir) expect(kind string) (message, error) {
	m, files, err := h.link.receive()
	closeFiles(files)
	switch {
	case err != nil:
		return m, err
	case m.Kind == kindFailed:
		return m, fmt.Errorf("the new process cannot take over: %s", m.Error)
	case m.Kind != kind:
		return m, unexpected(m)
	}
	return m, nil
}

// malformed reports whether an error is of a message and not of the link.
func malformed(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return !network && !closedByPeer(err)
}

// endTime is how long the kernel may take to end a process and to tell of it.
const endTime = 2 * time.Second

// failed ends the heir and says why.
func (h *heir) failed(ctx context.Context, err error) error {
	if closedByPeer(err) {
		err = h.gone()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	h.kill()
	_ = h.link.Close()
	return err
}

// gone says how the heir has ended.
func (h *heir) gone() error {
	how := ""
	if h.ended != nil {
		select {
		case end := <-h.ended:
			h.ended <- end
			if exit, ok := errors.AsType[*exec.ExitError](end); ok {
				how = " (" + exit.Error() + ")"
			}
		case <-time.After(endTime):
		}
	}
	return fmt.Errorf("the new process ended%s before it could take over; what it has said is in the log", how)
}

// kill ends the heir, and waits until it holds nothing any more.
func (h *heir) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.link.SetDeadline(time.Now().Add(endTime))
	for {
		_, files, err := h.link.receive()
		closeFiles(files)
		if err != nil && !malformed(err) {
			return
		}
	}
}

// release lets the heir go on by itself.
func (h *heir) release() {
	_ = h.link.Close()
	if h.ended == nil {
		_ = h.cmd.Process.Release()
	}
}
