// Package netaddr parses the network addresses of configs, command lines and
// upstreams:
//
//	[network/]host[:port[-port]]
//	unix/path[|mode]
//	fd/number
//
// The rules are those of section 1.6 of the config reference. A parsed address
// has not been resolved and its network may be one that nobody knows: that is
// found out when it is bound or dialled.
package netaddr

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// DefaultUnixMode is the mode of a unix socket for which none is given: its
// owner may connect.
const DefaultUnixMode fs.FileMode = 0o200

// MaxLen is the length of the longest address that is parsed.
const MaxLen = 4096

// Addr is a network address with one port or a range of them. It is a value:
// two Addr are equal if they mean the same text.
type Addr struct {
	Network   string      // lower case: tcp, tcp4, udp, unix, unixgram, fd, ...
	Host      string      // "" is every interface; the path of a unix socket; the number of a descriptor
	StartPort uint        // 0 lets the system choose
	EndPort   uint        // the last port of the range, StartPort if there is one only
	Mode      fs.FileMode // of a unix socket in the file system, else 0
}

// Error says what is wrong with an address.
type Error struct {
	Addr   string // as it was given, cut if it is long
	Reason string // what is wrong, and what would be right
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("network address %q: %s", e.Addr, e.Reason) }

// Parse parses an address whose network is tcp and whose port is 0 if it does
// not say otherwise. Every error is an [*Error].
func Parse(s string) (Addr, error) { return ParseDefault(s, "tcp", 0) }

// ParseDefault parses an address; the network and the port are used where it
// names none. Every error is an [*Error].
func ParseDefault(s, defaultNetwork string, defaultPort uint) (Addr, error) {
	a, reason := parse(s, defaultNetwork, defaultPort)
	if reason != "" {
		if len(s) > 128 {
			s = s[:128] + "..."
		}
		return Addr{}, &Error{Addr: s, Reason: reason}
	}
	return a, nil
}

// parse returns the reason for a failure as text.
func parse(s, defaultNetwork string, defaultPort uint) (Addr, string) {
	if len(s) > MaxLen {
		return Addr{}, fmt.Sprintf("longer than %d bytes", MaxLen)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return Addr{}, "holds a NUL byte"
	}
	network, rest, slash := strings.Cut(s, "/")
	if slash {
		network = strings.ToLower(strings.TrimSpace(network))
		if network == "" {
			return Addr{}, "the network before the / is missing; a unix socket is written unix/" + clip(s)
		}
		if strings.ContainsAny(network, ":[]") {
			return Addr{}, "the text before the / is no network; want network/host:port without a path or scheme"
		}
	} else {
		network, rest = defaultNetwork, s
	}
	switch {
	case isUnix(network):
		return parseUnix(network, rest)
	case isFD(network):
		if rest == "" {
			return Addr{}, "the number of the descriptor is missing; want fd/3"
		}
		return Addr{Network: network, Host: rest}, ""
	}
	host, port, reason := split(rest)
	if reason == "" && isIP(network) && strings.IndexByte(host, ':') >= 0 {
		if _, err := netip.ParseAddr(host); err != nil {
			reason = fmt.Sprintf("%q has colons and is no IPv6 address; want host:port or [IPv6]:port", clip(host))
		}
	}
	if reason != "" {
		return Addr{}, reason
	}
	a := Addr{Network: network, Host: host, StartPort: defaultPort, EndPort: defaultPort}
	if port != "" {
		a.StartPort, a.EndPort, reason = parsePorts(port)
	}
	return a, reason
}

func parseUnix(network, rest string) (Addr, string) {
	path, mode, given := strings.Cut(rest, "|")
	if path == "" {
		return Addr{}, "the path of the socket is missing; want " + network + "//run/name.sock"
	}
	a := Addr{Network: network, Host: path, Mode: DefaultUnixMode}
	if given {
		bits, err := strconv.ParseUint(mode, 8, 32)
		switch {
		case err != nil:
			return Addr{}, fmt.Sprintf("mode %q is not octal; want permission bits such as 0660", clip(mode))
		case bits > 0o777:
			return Addr{}, fmt.Sprintf("mode %q has more than permission bits; want at most 0777", clip(mode))
		case bits&0o200 == 0:
			return Addr{}, fmt.Sprintf("mode %q lets the owner not write; want the bit 0200 in it", clip(mode))
		}
		a.Mode = fs.FileMode(bits)
	}
	if path[0] == '@' {
		a.Mode = 0 // abstract: there is no file
	}
	return a, ""
}

// split splits a host from its port. Text that cannot be split is a host.
func split(s string) (host, port, reason string) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		return host, port, ""
	}
	host = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if strings.ContainsAny(host, "[]") {
		return "", "", "the brackets are not around the host; want [IPv6]:port"
	}
	return host, "", ""
}

func parsePorts(s string) (start, end uint, reason string) {
	first, last, isRange := strings.Cut(s, "-")
	start, reason = parsePort(first)
	if !isRange || reason != "" {
		return start, start, reason
	}
	if end, reason = parsePort(last); reason == "" && end < start {
		reason = fmt.Sprintf("the port range %d-%d ends before it starts; want %d-%d", start, end, end, start)
	}
	return start, end, reason
}

func parsePort(s string) (uint, string) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Sprintf("port %q is not a number from 0 to 65535; want host:port or host:first-last", clip(s))
	}
	return uint(n), ""
}

// clip keeps what an error quotes short.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "..."
	}
	return s
}

func isUnix(network string) bool { return strings.HasPrefix(network, "unix") }

func isFD(network string) bool { return strings.HasPrefix(network, "fd") }

// isIP reports whether the hosts of a network are names and IP addresses.
func isIP(network string) bool {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return true
	}
	return strings.HasPrefix(network, "ip")
}
