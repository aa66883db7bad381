// Package reverseproxy is the handler reverse_proxy: it sends a request to one of its upstreams and the answer back.
//
// A handler is made of four parts that know little of each other. prepare builds the outgoing copy of a request, the
// loop of attempts asks a selection [Policy] for an upstream and decides about retries, the transport makes the round
// trip, and relay copies the answer: informational responses, header, body, trailers, or a tunnel after an upgrade.
// What has to outlive an edit lives elsewhere: hosts and connections in package upstream, the position of round_robin
// in the state of its module, tunnels with their own goroutines.
//
// The rules cited in comments (LIFE-n, LB-n, REQ-n, RESP-n, UP-n, ...) are those of the reverse proxy compatibility
// reference.
package reverseproxy
