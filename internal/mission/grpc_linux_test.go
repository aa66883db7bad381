package mission

import (
	"net"
	"testing"

	"google.golang.org/grpc/credentials"

	"github.com/sluiceproxy/sluice/internal/grpctest"
)

// checkGRPC: calls of all kinds, over TLS to the site and without it to the server.
func checkGRPC(t *testing.T, s *site) {
	l, err := net.Listen("tcp", "localhost:50051")
	must(t, err)
	server := grpctest.Serve(t, l)
	s.up(t)
	server.Check(t, host+":443", host, credentials.NewTLS(s.alpn("h2")))
}
