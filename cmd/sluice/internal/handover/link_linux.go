package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluiceproxy/sluice/server/listen"
)

const (
	kindHello   = "hello"
	kindSockets = "sockets"
	kindGo      = "go"
	kindReady   = "ready"
	kindFailed  = "failed"
	kindTake    = "take"
	kindServing = "serving"
	kindMain    = "main"
)

// message is what one process tells the other.
type message struct {
	Kind    string   `json:"kind"`
	Version string   `json:"version,omitempty"`
	Error   string   `json:"error,omitempty"`
	Sockets []socket `json:"sockets,omitempty"`
}

// socket says what the descriptors of a message are: one of the socket, then one for each of the elders.
type socket struct {
	Key    listen.Key `json:"key"`
	Elders []int      `json:"elders,omitempty"` // their tags
}

const (
	// maxMessage is the longest message in bytes.
	maxMessage = 128 << 10
	// maxFiles is how many descriptors go with one; the system allows 253.
	maxFiles = 200
	// maxKeys is how long the keys in one may be together, so that it stays within what a socket can hold.
	maxKeys = 32 << 10
	// maxSaid is how much is said of what has failed.
	maxSaid = 16 << 10
	// maxElders is how many processes before this one can have packets of a socket.
	maxElders = 150
)

// link is one end of the pair of sockets.
type link struct{ *net.UnixConn }

// newLink takes a descriptor over.
func newLink(f *os.File) (link, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return link{}, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return link{}, errors.New("it is no unix socket")
	}
	return link{u}, nil
}

// interrupt ends all that waits.
func (l link) interrupt() { _ = l.SetDeadline(time.Unix(1, 0)) }

func (l link) send(m message, files []*os.File) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return fmt.Errorf("the message %q has %d bytes and %d are possible", m.Kind, len(text), maxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			// Not Fd, which would make sockets of the running process block.
			raw, err := f.SyscallConn()
			if err == nil {
				err = raw.Control(func(fd uintptr) { fds[i] = int(fd) })
			}
			if err != nil {
				return err
			}
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = l.WriteMsgUnix(text, rights, nil)
	return err
}

// receive reads the next message. The files are the caller's.
func (l link) receive() (m message, files []*os.File, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*(maxFiles+maxElders+1)))
	n, rn, _, _, err := l.ReadMsgUnix(text, rights)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return m, nil, err
	}
	controls, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return m, nil, err
	}
	for i := range controls {
		fds, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	if err = json.NewDecoder(bytes.NewReader(text[:n])).Decode(&m); err != nil {
		closeFiles(files)
		return m, nil, fmt.Errorf("reading what the other process says: %w", err)
	}
	return m, files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// sendEstate sends the sockets in messages that are not too long, and all else behind them.
func (l link) sendEstate(e *Estate) error {
	var m message
	var files []*os.File
	keys := 0
	flush := func() error {
		if len(files) == 0 {
			return nil
		}
		m.Kind = kindSockets
		err := l.send(m, files)
		m, files, keys = message{}, nil, 0
		return err
	}
	for _, h := range e.Sockets {
		h.Elders = h.Elders[max(0, len(h.Elders)-maxElders):]
		if len(files)+1+len(h.Elders) > maxFiles || keys+len(h.Key) > maxKeys {
			if err := flush(); err != nil {
				return err
			}
		}
		s := socket{Key: h.Key}
		files = append(files, h.File)
		for _, elder := range h.Elders {
			s.Elders = append(s.Elders, int(elder.Tag))
			files = append(files, elder.File)
		}
		keys += len(h.Key)
		m.Sockets = append(m.Sockets, s)
	}
	if err := flush(); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var parts []*os.File
	defer func() { closeFiles(parts) }()
	for _, part := range [][]byte{text, e.Document} {
		f, err := inMemory(part)
		if err != nil {
			return fmt.Errorf("passing the document on: %w", err)
		}
		parts = append(parts, f)
	}
	return l.send(message{Kind: kindGo}, parts)
}

// inMemory is a file without a name.
func inMemory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("sluice-handover", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "handover")
	if _, err := f.Write(text); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// receiveEstate is the other side of sendEstate.
func (l link) receiveEstate() (*Estate, error) {
	var list []listen.Handed
	fail := func(err error) (*Estate, error) {
		(&Estate{Sockets: list}).Close()
		return nil, err
	}
	for {
		m, files, err := l.receive()
		if err != nil {
			return fail(err)
		}
		switch m.Kind {
		case kindSockets:
			some, err := sockets(m.Sockets, files)
			list = append(list, some...)
			if err != nil {
				return fail(err)
			}
		case kindGo:
			e, err := readEstate(files)
			if err != nil {
				return fail(err)
			}
			e.Sockets = list
			return e, nil
		default:
			closeFiles(files)
			return fail(unexpected(m))
		}
	}
}

// readEstate reads what is not sockets.
func readEstate(files []*os.File) (*Estate, error) {
	defer closeFiles(files)
	if len(files) != 2 {
		return nil, errFewer
	}
	text, err := io.ReadAll(io.NewSectionReader(files[0], 0, 1<<62))
	if err != nil {
		return nil, err
	}
	e := &Estate{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, err
	}
	e.Document, err = io.ReadAll(io.NewSectionReader(files[1], 0, 1<<62))
	return e, err
}

var errFewer = errors.New("the other process has sent fewer descriptors than it says; may this one have so many files open?")

func unexpected(m message) error {
	return fmt.Errorf("the other process says %q, which is not its turn; are the two versions too far apart?", m.Kind)
}

// sockets tells what the files of a message are.
func sockets(list []socket, files []*os.File) (out []listen.Handed, err error) {
	next := func() *os.File {
		if len(files) == 0 {
			err = errFewer
			return nil
		}
		f := files[0]
		files = files[1:]
		return f
	}
	for _, s := range list {
		h := listen.Handed{Key: s.Key, File: next()}
		for _, tag := range s.Elders {
			if f := next(); f != nil {
				h.Elders = append(h.Elders, listen.Elder{Tag: byte(tag), File: f})
			}
		}
		out = append(out, h)
	}
	closeFiles(files)
	return out, err
}

// closedByPeer reports whether an error says that the other process has ended.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
