package listen

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sizes of struct inet_diag_req_v2 and inet_diag_msg (linux/inet_diag.h).
const (
	diagReqSize = 56
	diagMsgSize = 72
)

// The message type SOCK_DIAG_BY_FAMILY (linux/sock_diag.h).
const sockDiagByFamily = 20

// eachTCP calls f for the TCP sockets of this network namespace that have the
// local port, or any if it is 0, and one of the states, asking the kernel over netlink, or where
// that is not allowed by reading /proc/net/tcp, which takes much longer on a
// busy machine.
func eachTCP(port uint16, states uint32, f func(tcpEntry)) error {
	var all []tcpEntry
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		list, err := diag(family, port, states)
		if err != nil {
			return eachTCPProc(port, states, f)
		}
		all = append(all, list...)
	}
	for _, e := range all {
		f(e)
	}
	return nil
}

// diag lists TCP sockets of one family.
func diag(family byte, port uint16, states uint32) (list []tcpEntry, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	// The answers come at once; this is for a kernel that forgets to.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return nil, err
	}
	req := make([]byte, unix.NLMSG_HDRLEN+diagReqSize)
	ne := binary.NativeEndian
	ne.PutUint32(req[0:], uint32(len(req)))
	ne.PutUint16(req[4:], sockDiagByFamily)
	ne.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := req[unix.NLMSG_HDRLEN:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	ne.PutUint32(body[4:], states)
	binary.BigEndian.PutUint16(body[8:], port)
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		done, err := parseDiag(buf[:n], func(e tcpEntry) {
			if port == 0 || e.local.Port() == port {
				list = append(list, e)
			}
		})
		if done || err != nil {
			return list, err
		}
	}
}

var errDiag = errors.New("a malformed answer of the kernel's socket list")

// parseDiag takes the netlink messages of one datagram apart.
func parseDiag(b []byte, f func(tcpEntry)) (done bool, err error) {
	ne := binary.NativeEndian
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(ne.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return false, errDiag
		}
		body := b[unix.NLMSG_HDRLEN:size]
		switch ne.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errDiag
			}
			return false, unix.Errno(-int32(ne.Uint32(body)))
		case sockDiagByFamily:
			if len(body) < diagMsgSize {
				return false, errDiag
			}
			var ip netip.Addr
			if body[0] == unix.AF_INET {
				ip = netip.AddrFrom4([4]byte(body[8:12]))
			} else {
				ip = netip.AddrFrom16([16]byte(body[8:24])).Unmap()
			}
			f(tcpEntry{
				local: netip.AddrPortFrom(ip, binary.BigEndian.Uint16(body[4:])),
				state: uint64(body[1]),
				inode: uint64(ne.Uint32(body[68:])),
			})
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false, nil
}
