// Package service is how the process gets on with whoever started it: a service
// manager that wants to be told, a pid file, or the command `start`, which runs
// the program in the background.
package service

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notifier tells the service manager what the process does (sd_notify(3)).
type Notifier struct {
	// Socket is what NOTIFY_SOCKET says; empty if nobody wants to know.
	Socket string
}

// Send sends one message. That it cannot be sent is nobody's business: the
// service manager itself misses it, and acts.
func (n Notifier) Send(state string) {
	if n.Socket == "" {
		return
	}
	path := n.Socket
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

// Status sends a text for people.
func (n Notifier) Status(text string) {
	line := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	n.Send("STATUS=" + line)
}

// Loaded tells that a load has ended, with an error or without.
func (n Notifier) Loaded(err error) {
	if err != nil {
		n.Status(err.Error())
	}
	n.Send("READY=1")
}

// WritePidFile writes the process id to a file of mode 0600.
func WritePidFile(file string) error {
	return os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
}
