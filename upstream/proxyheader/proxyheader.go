// Package proxyheader writes the header of the PROXY protocol.
package proxyheader

import (
	"fmt"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// Of returns the header of the PROXY protocol, version 1 or 2, for a connection on behalf of client. The port is
// 0, since requests of many connections of the client share it, and so is the destination, which the upstream knows
// better (HT-7). Without a client the connection is the proxy's own.
func Of(version int, client string) ([]byte, error) {
	h := &proxyproto.Header{Version: byte(version), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if client != "" {
		ip, err := netip.ParseAddr(client)
		if err != nil {
			return nil, fmt.Errorf("the PROXY protocol needs the client's IP address: %w", err)
		}
		ip = ip.Unmap().WithZone("")
		h.Command, h.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv4
		to := net.IPv4zero
		if ip.Is6() {
			h.TransportProtocol, to = proxyproto.TCPv6, net.IPv6zero
		}
		h.SourceAddr, h.DestinationAddr = &net.TCPAddr{IP: ip.AsSlice()}, &net.TCPAddr{IP: to}
	}
	text, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("writing the header of the PROXY protocol: %w", err)
	}
	return text, nil
}
