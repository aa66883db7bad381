package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/http/pprof"
	"net/url"
	"os"

	"google.golang.org/grpc"
)

// What this program runs as children of its own, so that neither shares a
// process with the clients. The name is the first argument.
const (
	childUpstream = "-child-upstream" // HTTP-ADDRESS GRPC-ADDRESS
	childProxy    = "-child-proxy"    // ADDRESS UPSTREAM
)

// child is the program as one of its own children. It reports false when the
// command line asks for none.
func child(args []string, errs io.Writer) (status int, is bool) {
	if len(args) != 3 {
		return 0, false
	}
	var err error
	switch args[0] {
	case childUpstream:
		err = serveUpstream(args[1], args[2])
	case childProxy:
		err = serveProxy(args[1], args[2])
	default:
		return 0, false
	}
	fmt.Fprintln(errs, "bench:", err)
	return 1, true
}

// startChild starts this program as a child that will listen at addr.
func (b *bench) startChild(name, addr string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return b.startPeer(b.dir, name, addr, append([]string{self}, args...)...)
}

// startStreamUpstream starts the upstream of the cases streams and websockets
// and returns its addresses for HTTP and for gRPC.
func (b *bench) startStreamUpstream() (p *process, plain, rpc string, err error) {
	if plain, err = b.port.take(); err != nil {
		return nil, "", "", err
	}
	if rpc, err = b.port.take(); err != nil {
		return nil, "", "", err
	}
	p, err = b.startChild("upstream", plain, childUpstream, plain, rpc)
	if err == nil {
		err = p.waitPort(b.ctx, rpc)
	}
	return p, plain, rpc, err
}

func serveUpstream(plain, rpc string) error {
	l, err := net.Listen("tcp", plain)
	if err != nil {
		return err
	}
	g, err := net.Listen("tcp", rpc)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	serveStreamer(l)
	return rpcServer().Serve(g)
}

// serveProxy is the standard library's proxy as it comes, with a heap profile
// under the path of the admin endpoints.
func serveProxy(addr, upstream string) error {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream})
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.Handle("/debug/pprof/heap", pprof.Handler("heap"))
	return http.ListenAndServe(addr, mux)
}

// rawCodec passes messages on as the bytes they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	if p, ok := v.(*[]byte); ok {
		return *p, nil
	}
	return nil, fmt.Errorf("a message is a *[]byte, not a %T", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a message is a *[]byte, not a %T", v)
	}
	*p = append((*p)[:0], data...)
	return nil
}

// rpcMethod is the unary call that sends back its message.
const rpcMethod = "/bench.Echo/Unary"

func rpcServer() *grpc.Server {
	s := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Unary",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var message []byte
				err := decode(&message)
				return &message, err
			},
		}},
	}, struct{}{})
	return s
}
