package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
)

// target is what the case streams sends its traffic to: the upstream itself, or
// a proxy before it.
type target struct {
	name  string
	plain string // address for HTTP/1.1
	rpc   string // address for gRPC
	calls *grpc.ClientConn
}

const direct = "direct"

// streamKinds are what the case streams measures. The limits are how much the
// latency that sluice adds may be of what a peer adds; 0 is no limit.
var streamKinds = []struct {
	name  string
	run   func(*bench, *target) ([]time.Duration, error)
	limit map[string]float64
}{
	{"grpc", (*bench).callLatency, map[string]float64{"caddy": 1.1}},
	{"websocket", (*bench).echoLatency, map[string]float64{"caddy": 1.1, "nginx": 2.5}},
	{"sse", (*bench).eventLatency, map[string]float64{"caddy": 1.1, "nginx": 2.5}},
}

// latency measures what proxies add to the latency of streams. All targets are
// measured in turn, again and again, so that a slow moment of the machine hits
// them alike.
func (b *bench) latency() error {
	b.printf("streams: latency of one client at a time; %d rounds of %v each; gRPC unary of %d bytes over h2c, WebSocket echo of %d bytes, SSE from the sending of an event, one each %v, to its receipt\n",
		b.streamRounds, b.streamPeriod, messageSize, messageSize, stampEvery)
	upstream, plain, rpc, err := b.startStreamUpstream()
	if upstream != nil {
		defer upstream.stop()
	}
	if err != nil {
		return err
	}
	targets, stop, err := b.startTargets(plain, rpc)
	defer stop()
	if err != nil {
		return err
	}
	for _, t := range targets {
		if t.calls, err = dialCalls(t.rpc); err != nil {
			return err
		}
		defer t.calls.Close()
	}
	for _, k := range streamKinds {
		if !slices.Contains(b.traffic, k.name) {
			continue
		}
		took := map[string][][]time.Duration{}
		for round := range b.streamRounds {
			for i := range targets {
				t := targets[(i+round)%len(targets)]
				times, err := k.run(b, t)
				if err == nil && len(times) == 0 {
					err = errors.New("nothing came")
				}
				if err != nil {
					return fmt.Errorf("%s through %s: %w", k.name, t.name, err)
				}
				took[t.name] = append(took[t.name], times)
			}
		}
		b.printLatency(k.name, targets, took, k.limit)
	}
	return nil
}

// startTargets starts sluice, Caddy and nginx before the upstream. What it
// started is ended by the function that it returns, after an error too.
func (b *bench) startTargets(plain, rpc string) (targets []*target, stop func(), err error) {
	var running []*process
	stop = func() {
		for _, p := range running {
			p.stop()
		}
	}
	targets = []*target{{name: direct, plain: plain, rpc: rpc}}
	for _, m := range b.models() {
		if err := b.place(m, "streams"); err != nil {
			return nil, stop, err
		}
		calls, err := b.port.take()
		if err != nil {
			return nil, stop, err
		}
		if err := b.boot(m, streamSite(m.admin.addr, m.data, calls, plain, rpc)); err != nil {
			return nil, stop, err
		}
		m.admin.close()
		running = append(running, m.process)
		if err := errors.Join(m.waitPort(b.ctx, m.data), m.waitPort(b.ctx, calls)); err != nil {
			return nil, stop, err
		}
		targets = append(targets, &target{name: m.name, plain: m.data, rpc: calls})
	}
	if b.path["nginx"] == "" {
		return targets, stop, nil
	}
	t := &target{name: "nginx"}
	if t.plain, err = b.port.take(); err != nil {
		return nil, stop, err
	}
	if t.rpc, err = b.port.take(); err != nil {
		return nil, stop, err
	}
	p, err := b.startNginx("nginx-streams", nginxStreams(t.plain, t.rpc, plain, rpc), t.plain)
	if err != nil {
		return nil, stop, err
	}
	running = append(running, p)
	return append(targets, t), stop, p.waitPort(b.ctx, t.rpc)
}

// printLatency prints a line for each target, and what sluice adds beside what
// the peers add. The range is the middle half of the rounds.
func (b *bench) printLatency(kind string, targets []*target, took map[string][][]time.Duration, limits map[string]float64) {
	added := map[string]time.Duration{}
	base := median(slices.Concat(took[direct]...))
	for _, t := range targets {
		all := slices.Concat(took[t.name]...)
		slices.Sort(all)
		mid := quantile(all, 0.5)
		added[t.name] = mid - base
		b.printf("%-10s %-8s median %7.1f us  p99 %7.1f us  of %7d", kind, t.name, us(mid), us(quantile(all, 0.99)), len(all))
		if t.name != direct {
			b.printf("  added %7.1f us", us(added[t.name]))
		}
		b.printf("\n")
	}
	for _, peer := range []string{"caddy", "nginx"} {
		if took[peer] == nil {
			continue
		}
		if added[peer] <= 0 {
			b.printf("%-10s %s adds nothing that is seen among the noise\n", kind, peer)
			continue
		}
		own := ratios(took["sluice"], took[peer], took[direct])
		b.printf("%-10s sluice/%s %s (rounds %.2f to %.2f)%s\n", kind, peer, ratio(us(added["sluice"]), us(added[peer])),
			quantile(own, 0.25), quantile(own, 0.75), verdict(us(added["sluice"])/us(added[peer]), limits[peer], "x%g"))
	}
}

// ratios are a round's additions of one target over those of another, sorted.
func ratios(own, peer, base [][]time.Duration) []float64 {
	var out []float64
	for i := range own {
		if zero := median(base[i]); median(peer[i]) > zero {
			out = append(out, us(median(own[i])-zero)/us(median(peer[i])-zero))
		}
	}
	slices.SortFunc(out, cmp.Compare[float64])
	return out
}

// verdict says whether a figure keeps its limit, if it has one. The format
// prints the limit.
func verdict(figure, limit float64, format string) string {
	switch {
	case limit == 0:
		return ""
	case figure <= limit:
		return fmt.Sprintf("  limit "+format+": kept", limit)
	}
	return fmt.Sprintf("  limit "+format+": MISSED", limit)
}
