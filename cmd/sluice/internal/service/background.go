package service

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"
)

// Start starts a program in the background and waits until it calls Confirm
// with the address and the standard input that it gets; command makes it for an
// address. An error is that of a program that ended before. Signals of the
// terminal do not reach it.
func Start(command func(address string) *exec.Cmd) (pid int, err error) {
	ln, err := listenLoopback()
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	child := command(ln.Addr().String())
	child.Stdin = bytes.NewReader(secret)
	detach(child)
	if err := child.Start(); err != nil {
		return 0, fmt.Errorf("starting %s: %w", child.Path, err)
	}
	exited, waited := make(chan error, 1), make(chan error, 1)
	go func() { exited <- child.Wait() }()
	go func() { waited <- await(ln, secret) }()
	select {
	case err := <-waited:
		if err != nil {
			_ = child.Process.Kill()
			return 0, fmt.Errorf("waiting for the confirmation: %w", err)
		}
		return child.Process.Pid, nil
	case err = <-exited:
	}
	if err == nil {
		// It ended as if all were well, so its confirmation may be on the way.
		_ = ln.SetDeadline(time.Now().Add(100 * time.Millisecond))
		if <-waited == nil {
			return child.Process.Pid, nil
		}
		err = errors.New("it stopped before it was up")
	}
	return 0, fmt.Errorf("sluice process exited with error: %w", err)
}

// await waits for somebody who knows the secret, until the listener fails.
func await(ln net.Listener, secret []byte) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		if confirms(conn, secret) {
			return nil
		}
	}
}

// Confirm sends all of standard input to the process that began this one.
func Confirm(stdin io.Reader, address string) error {
	token, err := io.ReadAll(io.LimitReader(stdin, 1<<16))
	if err != nil {
		return fmt.Errorf("reading the confirmation from stdin: %w", err)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", address, err)
	}
	defer conn.Close()
	if _, err := conn.Write(token); err != nil {
		return fmt.Errorf("writing to %s: %w", address, err)
	}
	return nil
}

func listenLoopback() (*net.TCPListener, error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err == nil {
		return ln, nil
	}
	ln, err6 := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv6loopback})
	if err6 != nil {
		return nil, fmt.Errorf("opening a listener for the confirmation: %w", errors.Join(err, err6))
	}
	return ln, nil
}

// confirms reads what somebody sends, and reports whether it is the secret.
func confirms(conn net.Conn, secret []byte) bool {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	got, err := io.ReadAll(io.LimitReader(conn, int64(len(secret))+1))
	return err == nil && subtle.ConstantTimeCompare(got, secret) == 1
}
