package e2e

import (
	"net"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluiceproxy/sluice/internal/grpctest"
)

func checkGRPC(t *testing.T, m *mission) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpctest.Serve(t, l)
	m.places["localhost:50051"] = l.Addr().String()
	m.load(t, m.file)
	s.Check(t, m.front(), m.site, insecure.NewCredentials())
}
