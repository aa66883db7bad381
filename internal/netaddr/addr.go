package netaddr

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// IsUnix reports whether the host is the path of a unix socket.
func (a Addr) IsUnix() bool { return isUnix(a.Network) }

// IsFD reports whether the host is the number of an inherited descriptor.
func (a Addr) IsFD() bool { return isFD(a.Network) }

// IsAbstract reports whether the address is a unix socket without a file.
func (a Addr) IsAbstract() bool { return a.IsUnix() && strings.HasPrefix(a.Host, "@") }

// IsDatagram reports whether the network carries packets and no streams.
func (a Addr) IsDatagram() bool {
	switch a.Network {
	case "unixgram", "fdgram":
		return true
	}
	return strings.HasPrefix(a.Network, "udp") || strings.HasPrefix(a.Network, "ip")
}

// IsWildcard reports whether the address is every interface: no host,
// 0.0.0.0 or [::]. Unix sockets and descriptors are none.
func (a Addr) IsWildcard() bool {
	if a.IsUnix() || a.IsFD() {
		return false
	}
	if a.Host == "" {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsUnspecified()
}

// IsLoopback reports whether the host is localhost or a loopback IP address.
// Unix sockets and descriptors have no host, so they are none.
func (a Addr) IsLoopback() bool {
	if a.IsUnix() || a.IsFD() {
		return false
	}
	if strings.EqualFold(a.Host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

// FD returns the number of an inherited descriptor. It is written in decimal,
// or with a prefix 0x or 0, and is only looked at here, when it is bound.
func (a Addr) FD() (uintptr, error) {
	n, err := strconv.ParseUint(a.Host, 0, 31)
	if err != nil || !a.IsFD() {
		return 0, &Error{Addr: clip(a.String()), Reason: "not the number of a file descriptor; want fd/3"}
	}
	return uintptr(n), nil
}

// Count returns how many sockets the address stands for, at least 1.
func (a Addr) Count() int {
	if a.IsUnix() || a.IsFD() || a.EndPort < a.StartPort {
		return 1
	}
	return int(a.EndPort-a.StartPort) + 1
}

// At returns the address of one socket of the range. It panics if i is not in
// [0, Count()).
func (a Addr) At(i int) Addr {
	a.StartPort = a.port(i)
	a.EndPort = a.StartPort
	return a
}

func (a Addr) port(i int) uint {
	if i < 0 || i >= a.Count() {
		panic(fmt.Sprintf("netaddr: socket %d of %d", i, a.Count()))
	}
	return a.StartPort + uint(i)
}

// JoinHostPort returns host:port of one socket of the range as package net
// wants it; for unix sockets and descriptors that is the host alone. It panics
// if i is not in [0, Count()).
func (a Addr) JoinHostPort(i int) string {
	port := a.port(i)
	if a.IsUnix() || a.IsFD() {
		return a.Host
	}
	return net.JoinHostPort(a.Host, strconv.FormatUint(uint64(port), 10))
}

// String returns the address in the form that [Parse] reads back to the same
// value, always with its network: tcp/localhost:2019, tcp/[::1]:80-90,
// unix//run/s.sock|0660. Equal addresses have equal texts. The default mode of
// a unix socket is left out.
func (a Addr) String() string {
	if a.IsUnix() || a.IsFD() {
		if a.IsUnix() && a.Mode != 0 && a.Mode != DefaultUnixMode {
			return fmt.Sprintf("%s/%s|%04o", a.Network, a.Host, uint32(a.Mode))
		}
		return a.Network + "/" + a.Host
	}
	s := a.Network + "/" + a.JoinHostPort(0)
	if a.EndPort > a.StartPort {
		s += "-" + strconv.FormatUint(uint64(a.EndPort), 10)
	}
	return s
}
