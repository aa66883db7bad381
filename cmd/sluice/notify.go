package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier tells the service manager what the process does (sd_notify(3)).
type notifier struct{ socket string }

// send sends one message. That it cannot be sent is nobody's business: the
// service manager itself misses it, and acts.
func (n notifier) send(state string) {
	if n.socket == "" {
		return
	}
	path := n.socket
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte(state))
}

// loaded tells that a load has ended.
func (n notifier) loaded(err error) {
	if err != nil {
		n.send("STATUS=" + oneLine(err.Error()))
	}
	n.send("READY=1")
}

func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// writePidFile writes the process id.
func writePidFile(file string) error {
	return os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
}

// pingback sends all of standard input to the process that began this one.
func pingback(stdin io.Reader, address string) error {
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
