// Package h3 speaks HTTP/3 to upstreams: a [Dialer] makes QUIC connections, and a [Pool] keeps them and sends requests over
// them.
//
// A connection has a UDP socket of its own, which is connected to the upstream. So the system tells when nobody listens
// there, and what is pooled, counted and bounded is the same as with TCP: one connection, one socket.
package h3
