package reverseproxy

import (
	"bytes"
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
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = bytes.Clone(b); return nil }
func (rawCodec) Name() string                    { return "raw" }

// calls is a gRPC service whose methods are functions over streams, whatever kind of call they are.
type calls map[string]func(grpc.ServerStream) error

const serviceName = "test.Calls"

// bidi is the widest kind of call; the others are uses of it that do less.
var bidi = grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// serve starts the service and a front that proxies to it over h2c.
func (c calls) serve(t *testing.T, more string) *grpc.ClientConn {
	t.Helper()
	desc := grpc.ServiceDesc{ServiceName: serviceName, HandlerType: (*any)(nil)}
	for name, f := range c {
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: name, ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return f(s) },
		})
	}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.MaxRecvMsgSize(8<<20))
	server.RegisterService(&desc, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(ln)
	t.Cleanup(server.Stop)
	return grpcClient(t, newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c"]}%s}`, ln.Addr(), more)))
}

func grpcClient(t *testing.T, g *generation) *grpc.ClientConn {
	t.Helper()
	f := g.frontH2C()
	conn, err := grpc.NewClient("passthrough:///"+f.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t testing.TB, s grpc.Stream, text string) {
	t.Helper()
	b := []byte(text)
	if err := s.SendMsg(&b); err != nil {
		t.Errorf("sending %.20q: %v", text, err)
	}
}

func receive(s grpc.Stream) (string, error) {
	var b []byte
	err := s.RecvMsg(&b)
	return string(b), err
}

func wantNext(t testing.TB, s grpc.Stream, want string) {
	t.Helper()
	if got, err := receive(s); got != want || err != nil {
		t.Errorf("received %.40q (%d bytes), %v; want %.40q", got, len(got), err, want)
	}
}

func wantEnd(t testing.TB, s grpc.Stream, want codes.Code) *status.Status {
	t.Helper()
	got, err := receive(s)
	if err == io.EOF {
		err = nil
	}
	if status.Code(err) != want {
		t.Errorf("received %.40q, %v; want the end with %v", got, err, want)
	}
	return status.Convert(err)
}

func call(t *testing.T, conn *grpc.ClientConn, ctx context.Context, method string) grpc.ClientStream { //nolint:revive // ctx is a variant
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	t.Cleanup(cancel)
	s, err := conn.NewStream(ctx, &bidi, "/"+serviceName+"/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// HT-13: the four kinds of calls.
func TestGRPCKindsOfCalls(t *testing.T) {
	conn := calls{
		"Unary": func(s grpc.ServerStream) error {
			in, err := receive(s)
			if err != nil {
				return err
			}
			send(t, s, strings.ToUpper(in))
			return nil
		},
		"ServerStream": func(s grpc.ServerStream) error {
			in, err := receive(s)
			for i := range len(in) {
				send(t, s, in[:i+1])
			}
			return err
		},
		"ClientStream": func(s grpc.ServerStream) error {
			all := ""
			for {
				in, err := receive(s)
				if err != nil {
					send(t, s, all)
					return nil
				}
				all += in
			}
		},
		"Bidi": func(s grpc.ServerStream) error {
			for {
				in, err := receive(s)
				if err != nil {
					send(t, s, "after the half-close")
					return nil
				}
				send(t, s, "1:"+in)
				send(t, s, "2:"+in)
			}
		},
	}.serve(t, "")
	in, out := []byte("hello"), []byte(nil)
	if err := conn.Invoke(t.Context(), "/"+serviceName+"/Unary", &in, &out); err != nil || string(out) != "HELLO" {
		t.Errorf("unary: %q, %v", out, err)
	}

	s := call(t, conn, t.Context(), "ServerStream")
	send(t, s, "abc")
	s.CloseSend()
	for _, want := range []string{"a", "ab", "abc"} {
		wantNext(t, s, want)
	}
	wantEnd(t, s, codes.OK)

	s = call(t, conn, t.Context(), "ClientStream")
	for _, part := range []string{"a", "b", "c"} {
		send(t, s, part)
	}
	s.CloseSend()
	wantNext(t, s, "abc")
	wantEnd(t, s, codes.OK)

	s = call(t, conn, t.Context(), "Bidi")
	for _, part := range []string{"a", "", "c"} { // each answered before the next is sent
		send(t, s, part)
		wantNext(t, s, "1:"+part)
		wantNext(t, s, "2:"+part)
	}
	s.CloseSend()
	wantNext(t, s, "after the half-close")
	wantEnd(t, s, codes.OK)
}

// A server that speaks first, before the client has sent a message.
func TestGRPCServerSpeaksFirst(t *testing.T) {
	conn := calls{"Push": func(s grpc.ServerStream) error {
		s.SetHeader(metadata.Pairs("x-early", "1"))
		s.SendHeader(nil)
		send(t, s, "first")
		in, _ := receive(s)
		send(t, s, in)
		return nil
	}}.serve(t, "")
	s := call(t, conn, t.Context(), "Push")
	if h, err := s.Header(); err != nil || len(h["x-early"]) != 1 {
		t.Errorf("header %v, %v", h, err)
	}
	wantNext(t, s, "first")
	send(t, s, "second")
	wantNext(t, s, "second")
	wantEnd(t, s, codes.OK)
}

func TestGRPCMetadata(t *testing.T) {
	conn := calls{"Meta": func(s grpc.ServerStream) error {
		in, _ := metadata.FromIncomingContext(s.Context())
		s.SetHeader(metadata.Pairs("x-head", strings.Join(in["x-two"], "|"), "x-head-bin", "\x00\xff"))
		s.SetTrailer(metadata.Pairs("x-tail", fmt.Sprintf("%x", in["x-one-bin"]), "x-tail", "again", "x-tail-bin", "\x01\xfe"))
		send(t, s, in[":authority"][0])
		return nil
	}}.serve(t, `,"headers":{"request":{"set":{"Host":["grpc.test"]},"add":{"X-Two":["c"]}}}`)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-one-bin", "\x00\x01", "x-two", "a", "x-two", "b")
	s := call(t, conn, ctx, "Meta")
	s.CloseSend()
	wantNext(t, s, "grpc.test")
	wantEnd(t, s, codes.OK)
	h, _ := s.Header()
	if got := fmt.Sprintf("%q %q", h["x-head"], h["x-head-bin"]); got != `["a|b|c"] ["\x00\xff"]` {
		t.Errorf("header %s", got)
	}
	tail := s.Trailer()
	if got := fmt.Sprintf("%q %q", tail["x-tail"], tail["x-tail-bin"]); got != `["[0001]" "again"] ["\x01\xfe"]` {
		t.Errorf("trailer %s", got)
	}
}

// A failure after messages, one before any, which comes as trailers only, and one in the middle of a call.
func TestGRPCStatus(t *testing.T) {
	failure, err := status.New(codes.FailedPrecondition, "not so: \u20ac % \n").WithDetails(durationpb.New(7 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	conn := calls{
		"After": func(s grpc.ServerStream) error { send(t, s, "one"); return failure.Err() },
		"Only": func(s grpc.ServerStream) error {
			s.SetTrailer(metadata.Pairs("x-tail", "1"))
			return failure.Err()
		},
		"Middle": func(s grpc.ServerStream) error { receive(s); return failure.Err() },
	}.serve(t, "")
	for _, method := range []string{"After", "Only", "Middle"} {
		s := call(t, conn, t.Context(), method)
		switch method {
		case "After":
			wantNext(t, s, "one")
		case "Middle":
			send(t, s, "x")
		}
		got := wantEnd(t, s, codes.FailedPrecondition)
		if !proto.Equal(got.Proto(), failure.Proto()) {
			t.Errorf("%s: status %v, want %v", method, got, failure)
		}
		if tail := s.Trailer(); method == "Only" && len(tail["x-tail"]) != 1 {
			t.Errorf("trailer %v", tail)
		}
	}
	if got := wantEnd(t, call(t, conn, t.Context(), "Nowhere"), codes.Unimplemented); !strings.Contains(got.Message(), "Nowhere") {
		t.Error(got)
	}
}

// S11 for calls: the server learns at once that the client has cancelled, whatever the call is waiting for.
func TestGRPCCancel(t *testing.T) {
	begun, ended := make(chan bool, 1), make(chan error, 1)
	wait := func(s grpc.ServerStream) error {
		begun <- true
		<-s.Context().Done()
		ended <- s.Context().Err()
		return nil
	}
	conn := calls{
		"Silent": wait,
		"Talking": func(s grpc.ServerStream) error {
			send(t, s, "x")
			return wait(s)
		},
		"Listening": func(s grpc.ServerStream) error {
			receive(s)
			begun <- true
			_, err := receive(s)
			ended <- errors.Join(s.Context().Err(), err)
			return nil
		},
	}.serve(t, "")
	for _, method := range []string{"Silent", "Talking", "Listening"} {
		ctx, cancel := context.WithCancel(t.Context())
		s := call(t, conn, ctx, method)
		send(t, s, "x")
		if method == "Talking" {
			wantNext(t, s, "x")
		}
		<-begun
		cancel()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: ended without an error", method)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the server was not told", method)
		}
		wantEnd(t, s, codes.Canceled)
	}
}

func TestGRPCDeadline(t *testing.T) {
	left := make(chan time.Duration, 1)
	conn := calls{"Slow": func(s grpc.ServerStream) error {
		by, _ := s.Context().Deadline()
		left <- time.Until(by)
		<-s.Context().Done()
		return nil
	}}.serve(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s := call(t, conn, ctx, "Slow")
	s.CloseSend()
	wantEnd(t, s, codes.DeadlineExceeded)
	if d := <-left; d <= 0 || d > 300*time.Millisecond {
		t.Errorf("the server had %v", d)
	}
}

func TestGRPCLargeMessages(t *testing.T) {
	conn := calls{"Echo": func(s grpc.ServerStream) error {
		for {
			in, err := receive(s)
			if err != nil {
				return nil
			}
			send(t, s, in)
		}
	}}.serve(t, "")
	large := make([]byte, 4<<20)
	(&pattern{}).Read(large)
	s := call(t, conn, t.Context(), "Echo")
	for _, n := range []int{4 << 20, 0, 1, 65535, 65536, 3<<20 + 1} {
		send(t, s, string(large[:n]))
		if got, err := receive(s); err != nil || got != string(large[:n]) {
			t.Errorf("of %d bytes %d came back, %v", n, len(got), err)
		}
	}
	s.CloseSend()
	wantEnd(t, s, codes.OK)
}

// What the proxy answers itself is a status too.
func TestGRPCWithoutUpstream(t *testing.T) {
	for _, config := range []string{`{}`, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["h2c"]}}`, dead(t))} {
		s := call(t, grpcClient(t, newWorld(t).build(nil, config)), t.Context(), "Any")
		wantEnd(t, s, codes.Unavailable)
	}
}
