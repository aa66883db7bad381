// Package grpctest is a gRPC server of the kind that implementations of gRPC test each other with, and calls of all kinds to
// it that find out what stands between.
package grpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// patience is how long a call may take on a busy machine.
const patience = 30 * time.Second

// Server is a gRPC server over h2c.
type Server struct {
	grpc_testing.UnimplementedTestServiceServer
	server *grpc.Server
	gone   chan error // why a call that waits has ended
}

// Serve serves at a listener until the test ends.
func Serve(t testing.TB, l net.Listener) *Server {
	s := &Server{server: grpc.NewServer(), gone: make(chan error, 1)}
	grpc_testing.RegisterTestServiceServer(s.server, s)
	go func() { _ = s.server.Serve(l) }()
	t.Cleanup(s.server.Stop)
	return s
}

// Check makes calls of all kinds to a host at an address, which is where a proxy before the server is. In the end it stops
// the server.
func (s *Server) Check(t *testing.T, address, host string, c credentials.TransportCredentials) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(c), grpc.WithAuthority(host), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := grpc_testing.NewTestServiceClient(conn)
	for _, tt := range []struct {
		name string
		call func(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient)
	}{
		{"unary", func(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient) {
			callUnary(t, ctx, client, host)
		}},
		{"error", callError}, {"client stream", callClientStream}, {"server stream", callServerStream}, {"to and fro", callDuplex},
		{"taken back", func(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient) {
			callTakenBack(t, ctx, client, s)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tt.call(t, ctx, client)
		})
	}
	t.Run("no server", func(t *testing.T) {
		s.server.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Unavailable { // what gRPC makes of 502
			t.Errorf("%v", err)
		}
	})
}

func payload(n int) *grpc_testing.Payload {
	return &grpc_testing.Payload{Body: []byte(strings.Repeat("x", n))}
}

// UnaryCall implements grpc_testing.TestServiceServer.
func (s *Server) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	got, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-asked", strings.Join(got.Get("x-ask"), ",")))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-last-bin", "\x00\xff", "x-authority", strings.Join(got.Get(":authority"), ",")))
	if e := in.GetResponseStatus(); e != nil {
		return nil, status.Error(codes.Code(e.GetCode()), e.GetMessage())
	}
	return &grpc_testing.SimpleResponse{Payload: payload(int(in.GetResponseSize())), Username: fmt.Sprint(len(in.GetPayload().GetBody()))}, nil
}

// StreamingInputCall implements grpc_testing.TestServiceServer.
func (s *Server) StreamingInputCall(stream grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	var sum int32
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: sum})
		}
		if err != nil {
			return err
		}
		sum += int32(len(in.GetPayload().GetBody()))
	}
}

// StreamingOutputCall implements grpc_testing.TestServiceServer.
func (s *Server) StreamingOutputCall(in *grpc_testing.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for _, p := range in.GetResponseParameters() {
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: payload(int(p.GetSize()))}); err != nil {
			return err
		}
	}
	if len(in.GetResponseParameters()) == 0 { // it waits for ever
		_ = stream.SendHeader(nil)
		<-stream.Context().Done()
		s.gone <- stream.Context().Err()
	}
	return status.Error(codes.ResourceExhausted, "no more of it: 100%")
}

// FullDuplexCall implements grpc_testing.TestServiceServer.
func (s *Server) FullDuplexCall(stream grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.GetPayload()})
		}
		if err != nil {
			return err
		}
	}
}

func callUnary(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient, host string) {
	const size = 3 << 20
	var header, trailer metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "x-ask", "one", "x-ask", "two")
	res, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: payload(size), ResponseSize: size}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.GetPayload().GetBody()) != size || res.GetUsername() != fmt.Sprint(size) {
		t.Errorf("%s bytes arrived, %d came back", res.GetUsername(), len(res.GetPayload().GetBody()))
	}
	if got := fmt.Sprint(header.Get("x-asked")); got != "[one,two]" {
		t.Errorf("metadata %s", got)
	}
	if got := fmt.Sprintf("%q", trailer.Get("x-last-bin")); got != `["\x00\xff"]` {
		t.Errorf("trailer %s", got)
	}
	if got := trailer.Get("x-authority"); len(got) != 1 || got[0] != host {
		t.Errorf("the server was asked for %q, want %s", got, host)
	}
}

func callError(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient) {
	for _, code := range []codes.Code{codes.NotFound, codes.Unavailable, codes.Internal} {
		_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(code), Message: "nothing there: ü %"}})
		if got := status.Convert(err); got.Code() != code || got.Message() != "nothing there: ü %" {
			t.Errorf("%v, want %v", err, code)
		}
	}
	if _, err := client.EmptyCall(ctx, &grpc_testing.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v, want that it is not implemented", err)
	}
}

func callClientStream(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient) {
	stream, err := client.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const n, size = 100, 10_000
	for range n {
		if err := stream.Send(&grpc_testing.StreamingInputCallRequest{Payload: payload(size)}); err != nil {
			t.Fatal(err)
		}
	}
	if res, err := stream.CloseAndRecv(); err != nil || res.GetAggregatedPayloadSize() != n*size {
		t.Errorf("%d bytes arrived, %v", res.GetAggregatedPayloadSize(), err)
	}
}

func callServerStream(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient) {
	in := &grpc_testing.StreamingOutputCallRequest{}
	for i := range 50 {
		in.ResponseParameters = append(in.ResponseParameters, &grpc_testing.ResponseParameters{Size: int32(i * 1000)})
	}
	stream, err := client.StreamingOutputCall(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if res, err := stream.Recv(); err != nil || len(res.GetPayload().GetBody()) != i*1000 {
			t.Fatalf("message %d: %d bytes, %v", i, len(res.GetPayload().GetBody()), err)
		}
	}
	if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "no more of it: 100%" {
		t.Errorf("the end is %v", err)
	}
}

// callDuplex: each side waits for the other, so nothing may be held back.
func callDuplex(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient) {
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		text := fmt.Sprint("message ", i)
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(text)}}); err != nil {
			t.Fatal(err)
		}
		if res, err := stream.Recv(); err != nil || string(res.GetPayload().GetBody()) != text {
			t.Fatalf("%q came back, %v; want %q", res.GetPayload().GetBody(), err, text)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

// callTakenBack: the server learns that nobody waits any more.
func callTakenBack(t *testing.T, ctx context.Context, client grpc_testing.TestServiceClient, s *Server) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.StreamingOutputCall(call, &grpc_testing.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-s.gone:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-ctx.Done():
		t.Error("the server does not learn that the call was taken back")
	}
}
