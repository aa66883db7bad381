package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// States of TCP sockets, as in the kernel's lists.
const (
	stateSynRecv = 3
	stateListen  = 10
)

// tcpEntry is one socket of the kernel's list.
type tcpEntry struct {
	local netip.AddrPort // unmapped
	state uint64
	inode uint64
}

// handshakeList is what the kernel said last about handshakes under way. The
// question costs milliseconds, and a range of ports that leaves asks it for
// each of them.
type handshakeList struct {
	mu   sync.Mutex
	at   time.Time // when it was asked
	list []tcpEntry
	err  error
}

// since returns a list that was asked for after t and not long ago.
func (h *handshakeList) since(t time.Time) ([]tcpEntry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.at.After(t) && now.Sub(h.at) < minLinger {
		return h.list, h.err
	}
	h.at, h.list = now, nil
	h.err = eachTCP(0, 1<<stateSynRecv, func(e tcpEntry) { h.list = append(h.list, e) })
	return h.list, h.err
}

// handshakes counts the connections to s's address that the kernel has
// answered and that the client has not confirmed yet. They may belong to
// another socket of ours on that address, which only makes s wait longer.
func handshakes(s *Socket) (n int, err error) {
	t := *s.target
	if a, ok := addrPort(s); ok {
		t.port = a.Port()
	}
	list, err := s.m.handshakes.since(s.hidden.Add(minLinger / 2))
	for _, e := range list {
		if t.covers(e.local.Addr(), e.local.Port()) {
			n++
		}
	}
	return n, err
}

func addrPort(s *Socket) (netip.AddrPort, bool) {
	a, ok := s.Addr().(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}, false
	}
	return a.AddrPort(), true
}

// foreignHolder describes a listening socket on an address that overlaps t and
// that is none of ours; "" if there is none that can be seen. refused says that
// the kernel has refused the bind, so somebody must be there.
//
// A listener on [::] of someone else may be for IPv6 alone, which the list
// does not tell. For an IPv4 target that must be so if we hold something that
// overlaps the target: a listener for both families would overlap that too,
// and neither would have been let in beside the other.
func foreignHolder(t *target, own map[uint64]bool, refused bool) string {
	var found uint64
	var at netip.AddrPort
	if t.port == 0 {
		return ""
	}
	eachTCP(t.port, 1<<stateListen, func(e tcpEntry) {
		if own[e.inode] || found != 0 {
			return
		}
		o := target{kind: kindTCP, port: e.local.Port(), v4: e.local.Addr().Is4(), v6: e.local.Addr().Is6()}
		if !e.local.Addr().IsUnspecified() {
			o.ip = e.local.Addr()
		}
		if t.ip.Zone() != "" && o.ip.IsValid() {
			o.ip = o.ip.WithZone(t.ip.Zone())
		}
		if o.overlaps(t) || refused && o.wildcard() {
			found, at = e.inode, e.local
		}
	})
	if found == 0 {
		return ""
	}
	if who := processOf(found); who != "" {
		return fmt.Sprintf("%s (on %s)", who, at)
	}
	return fmt.Sprintf("another process (on %s)", at)
}

// eachTCPProc is eachTCP by way of /proc.
func eachTCPProc(port uint16, states uint32, f func(tcpEntry)) error {
	want := []byte(fmt.Sprintf(":%04X ", port))
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(name)
		if err != nil {
			if os.IsNotExist(err) && name == "/proc/net/tcp6" {
				return nil // no IPv6
			}
			return err
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			// Only a line with the port somewhere is worth taking apart.
			if port != 0 && !bytes.Contains(lines.Bytes(), want) {
				continue
			}
			if e, ok := parseTCP(lines.Text()); ok && (port == 0 || e.local.Port() == port) && states>>e.state&1 != 0 {
				f(e)
			}
		}
		err = lines.Err()
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func parseTCP(line string) (e tcpEntry, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return e, false
	}
	host, port, ok := strings.Cut(f[1], ":")
	raw, err := hex.DecodeString(host)
	if !ok || err != nil || len(raw)%4 != 0 {
		return e, false
	}
	for i := 0; i < len(raw); i += 4 { // words in the machine's order
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	n, err1 := strconv.ParseUint(port, 16, 16)
	st, err2 := strconv.ParseUint(f[3], 16, 5)
	ino, err3 := strconv.ParseUint(f[9], 10, 64)
	if !ok || err1 != nil || err2 != nil || err3 != nil {
		return e, false
	}
	return tcpEntry{local: netip.AddrPortFrom(ip.Unmap(), uint16(n)), state: st, inode: ino}, true
}

// processOf names the process that holds a socket, if we may see it.
func processOf(inode uint64) string {
	link := fmt.Sprintf("socket:[%d]", inode)
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err != nil || to != link {
				continue
			}
			pid := filepath.Base(filepath.Dir(dir))
			if pid == strconv.Itoa(os.Getpid()) {
				return "another socket of this process"
			}
			name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
			return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}
