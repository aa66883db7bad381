// Command bench measures sluice, and beside it whichever of nginx, HAProxy and
// Caddy is installed, in one run on one machine, so that the ratios mean
// something:
//
//	go run ./internal/bench -bin bin/sluice [-case reload,proxy,drops,streams,websockets,tls,names] [-quick]
//
// The case reload asks what a change costs as the document grows; proxy, what
// a request costs in CPU time; drops, whether traffic notices that the document
// is replaced under it; streams, what latency is added to gRPC, WebSocket and
// SSE; websockets, what an idle WebSocket costs in memory; tls, what a handshake
// and a request with TLS cost; names, what many managed names cost. Everything runs on loopback and in a temporary
// folder, within a time limit, and every child process is ended when the program
// is, an interrupt included. The exit status is 1 if something failed or was dropped,
// and 2 for a wrong command line; figures alone never fail a run.
//
// The server under test and Caddy must understand `run --config FILE` and
// `run --resume`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	bin    string
	cases  []string
	peers  []string
	limit  time.Duration
	settle time.Duration // wait before memory is read

	routes     []int
	kinds      []string
	patches    int
	peerRoutes int

	loads  []string // kinds of requests of the case proxy
	rounds int
	period time.Duration
	conns  int

	reloads int
	pause   time.Duration // between reloads
	streams int

	traffic      []string // kinds of the case streams
	streamRounds int
	streamPeriod time.Duration
	sockets      []int

	handshakes []string // kinds of the case tls
	managed    []int    // numbers of names of the case names
}

// bench is one run.
type bench struct {
	options
	ctx  context.Context
	out  io.Writer
	dir  string
	path map[string]string // the peers and tools that are installed, by name
	port *ports
}

// errDropped says that a case ran to its end and what it counted is not all
// right. The details are printed.
var errDropped = errors.New("requests failed or were dropped")

func main() {
	if status, is := child(os.Args[1:], os.Stderr); is {
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program but for its surroundings. It returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	opt, err := parse(args, errs)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(errs, "bench:", err)
		}
		return 2
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opt.limit, fmt.Errorf("not done within %v; see -limit", opt.limit))
	defer cancel()
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		fmt.Fprintln(errs, "bench: making a temporary folder:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	b := &bench{options: opt, ctx: ctx, out: out, dir: dir, port: newPorts()}
	b.path = find(append([]string{"wrk"}, opt.peers...))
	status := 0
	for _, name := range opt.cases {
		if err := cases[name](b); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			fmt.Fprintf(errs, "bench: %s: %v\n", name, err)
			status = 1
		}
	}
	return status
}

// cases are what can be measured, by name.
var cases = map[string]func(*bench) error{
	"reload":     (*bench).reload,
	"proxy":      (*bench).proxy,
	"drops":      (*bench).drops,
	"streams":    (*bench).latency,
	"websockets": (*bench).idle,
	"tls":        (*bench).secure,
	"names":      (*bench).names,
}

// parse reads the command line.
func parse(args []string, errs io.Writer) (options, error) {
	o := options{settle: time.Second, pause: 50 * time.Millisecond, streams: 20}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(errs)
	list := func(p *[]string, name, value, usage string, allowed ...string) {
		*p = strings.Split(value, ",")
		fs.Func(name, usage+" (default "+value+")", func(s string) error {
			*p = nil
			for each := range strings.SplitSeq(s, ",") {
				if each == "" {
					continue
				}
				if !slices.Contains(allowed, each) {
					return fmt.Errorf("%q is not one of %s", each, strings.Join(allowed, ", "))
				}
				*p = append(*p, each)
			}
			return nil
		})
	}
	fs.StringVar(&o.bin, "bin", "bin/sluice", "the server to measure")
	list(&o.cases, "case", "reload,proxy,drops,streams,websockets,tls,names", "what to measure", "reload", "proxy", "drops", "streams", "websockets", "tls", "names")
	list(&o.peers, "peers", "nginx,haproxy,caddy", "what to measure beside it, where installed; empty for nothing", "nginx", "haproxy", "caddy")
	fs.DurationVar(&o.limit, "limit", 40*time.Minute, "end the whole run after this time")
	routes := fs.String("routes", "10,1000,10000", "reload: numbers of routes, each at least 10")
	list(&o.kinds, "by", "hosts,paths", "reload: what tells the routes apart", "hosts", "paths")
	fs.IntVar(&o.patches, "patches", 15, "reload: PATCHes of one route; from 200 on memory and store file are watched too")
	fs.IntVar(&o.peerRoutes, "peer-routes", 10000, "reload: the largest number of routes given to a peer")
	list(&o.loads, "requests", "small,routes1000,static,post10k,big", "proxy: kinds of requests", "small", "routes1000", "static", "post10k", "big")
	fs.IntVar(&o.rounds, "rounds", 3, "proxy: how often each is measured; the median counts")
	fs.DurationVar(&o.period, "period", 4*time.Second, "proxy: how long each is measured")
	fs.IntVar(&o.conns, "conns", 64, "proxy: connections")
	fs.IntVar(&o.reloads, "reloads", 60, "drops: changes of the document")
	list(&o.traffic, "traffic", "grpc,websocket,sse", "streams: kinds of traffic", "grpc", "websocket", "sse")
	fs.IntVar(&o.streamRounds, "stream-rounds", 60, "streams: how often each is measured, in turn")
	fs.DurationVar(&o.streamPeriod, "stream-period", 100*time.Millisecond, "streams: how long each is measured")
	sockets := fs.String("sockets", "1000,5000", "websockets: numbers of open WebSockets, each at least 10")
	list(&o.handshakes, "tls", "full,resumed,h2,h3", "tls: kinds of handshakes and requests", "full", "resumed", "fullpq", "full12", "resumed12", "https1", "h2", "h3")
	managed := fs.String("names", "10000", "names: numbers of managed names, each at least 10")
	quick := fs.Bool("quick", false, "measure little of everything, to see whether it runs; other flags still count")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *quick {
		given := map[string]bool{}
		fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
		o.quicken(given, routes, sockets, managed)
	}
	return o, o.check(*routes, *sockets, *managed)
}

// quicken makes everything small that was not asked for by a flag.
func (o *options) quicken(given map[string]bool, routes, sockets, managed *string) {
	o.settle, o.pause, o.streams = 50*time.Millisecond, 10*time.Millisecond, 4
	for name, set := range map[string]func(){
		"routes":        func() { *routes = "10,200" },
		"patches":       func() { o.patches = 5 },
		"requests":      func() { o.loads = []string{"small", "static"} },
		"rounds":        func() { o.rounds = 1 },
		"period":        func() { o.period = 500 * time.Millisecond },
		"conns":         func() { o.conns = 8 },
		"reloads":       func() { o.reloads = 12 },
		"stream-rounds": func() { o.streamRounds = 2 },
		"stream-period": func() { o.streamPeriod = 50 * time.Millisecond },
		"sockets":       func() { *sockets = "100" },
		"names":         func() { *managed = "50" },
	} {
		if !given[name] {
			set()
		}
	}
}

// numbers reads a list of numbers, none of which is small.
func numbers(name, text string) ([]int, error) {
	var out []int
	for each := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(each)
		if err != nil || n < 10 {
			return nil, fmt.Errorf("-%s: %q is not a number of at least 10", name, each)
		}
		out = append(out, n)
	}
	return out, nil
}

func (o *options) check(routes, sockets, managed string) error {
	var err1, err2, err3 error
	o.routes, err1 = numbers("routes", routes)
	o.sockets, err2 = numbers("sockets", sockets)
	o.managed, err3 = numbers("names", managed)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for name, n := range map[string]int{"patches": o.patches, "rounds": o.rounds, "conns": o.conns, "reloads": o.reloads, "stream-rounds": o.streamRounds} {
		if n < 1 {
			return fmt.Errorf("-%s must be at least 1, not %d", name, n)
		}
	}
	if o.period < 100*time.Millisecond {
		return fmt.Errorf("-period must be at least 100ms, not %v", o.period)
	}
	if o.streamPeriod < 10*time.Millisecond {
		return fmt.Errorf("-stream-period must be at least 10ms, not %v", o.streamPeriod)
	}
	path, err := exec.LookPath(o.bin)
	if err != nil {
		return fmt.Errorf("-bin: %w; build it with `make build`", err)
	}
	o.bin, err = filepath.Abs(path)
	return err
}

// find looks programs up, in the folders of an administrator too. PEER_CADDY
// names the Caddy to use instead of the one installed.
func find(names []string) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		candidates := []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name}
		if peer := os.Getenv("PEER_CADDY"); name == "caddy" && peer != "" {
			candidates = []string{peer}
		}
		for _, c := range candidates {
			if path, err := exec.LookPath(c); err == nil {
				found[name] = path
				break
			}
		}
	}
	return found
}

// sleep waits, and returns early with an error when the run ends.
func (b *bench) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

func (b *bench) printf(format string, args ...any) { fmt.Fprintf(b.out, format, args...) }
