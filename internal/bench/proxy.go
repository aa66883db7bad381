package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// candidate is one server of the case proxy.
type candidate struct {
	*process
	name string
	addr string
	many string // where 1,000 routes stand before the one that answers; "" if that makes no sense for it
}

// shot is one measurement of one server.
type shot struct {
	cpu  time.Duration // per request, of the proxy alone
	rate float64       // requests/s
	p99  time.Duration
}

// request kinds of the case proxy, by name.
type kind struct {
	request []byte
	wrk     []string // the same, as arguments of wrk
	path    string
	conns   int
}

func (b *bench) requestKind(name string) (kind, error) {
	k := kind{path: "/", conns: b.conns}
	switch name {
	case "static":
		k.path = "/static"
	case "big":
		k.path, k.conns = "/big", min(8, b.conns)
	case "routes1000":
		k.wrk = []string{"-H", "Host: nobody.test"}
	case "post10k":
		body := bytes.Repeat([]byte("x"), 10240)
		k.request = append(fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: bench.test\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
		script := filepath.Join(b.dir, "post.lua")
		k.wrk = []string{"-s", script}
		lua := `wrk.method="POST" wrk.body=string.rep("x",10240) wrk.headers["Content-Type"]="application/octet-stream"` + "\n"
		return k, os.WriteFile(script, []byte(lua), 0o600)
	}
	k.request = get(k.path, "nobody.test")
	return k, nil
}

// proxy measures the CPU time that a request costs the proxy.
func (b *bench) proxy() error {
	how := "the built-in load generator"
	if b.path["wrk"] != "" {
		how = "wrk"
	}
	b.printf("proxy: CPU per request, of the proxy alone; %d connections, %v each, median of %d, load from %s\n", b.conns, b.period, b.rounds, how)
	upstream, stop, err := b.startUpstream()
	if err != nil {
		return err
	}
	defer stop()
	servers, err := b.startCandidates(upstream)
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	var failed error
	medians := map[string]map[string]shot{}
	for _, name := range b.loads {
		k, err := b.requestKind(name)
		if err != nil {
			return err
		}
		shots := map[string][]shot{}
		for range b.rounds {
			for _, s := range servers {
				one, err := b.shoot(s, name, k)
				if b.ctx.Err() != nil {
					return err
				}
				if err != nil {
					b.printf("%-10s %-8s FAILED: %v\n", name, s.name, err)
					failed = errDropped
					continue
				}
				shots[s.name] = append(shots[s.name], one)
			}
		}
		medians[name] = b.printShots(name, servers, shots)
	}
	small, many := medians["small"]["sluice"], medians["routes1000"]["sluice"]
	if small.cpu > 0 && many.cpu > 0 {
		b.printf("routes1000/small: sluice %s", ratio(us(many.cpu), us(small.cpu)))
		if s, m := medians["small"]["caddy"], medians["routes1000"]["caddy"]; s.cpu > 0 && m.cpu > 0 {
			b.printf("  caddy %s", ratio(us(m.cpu), us(s.cpu)))
		}
		b.printf("\n")
	}
	return failed
}

// shoot measures one server once.
func (b *bench) shoot(s *candidate, name string, k kind) (shot, error) {
	addr := s.addr
	if name == "routes1000" && s.many != "" {
		addr = s.many
	}
	before, err := machine.CPUTime(s.pid())
	if err != nil {
		return shot{}, err
	}
	l, err := b.generate(addr, k)
	if err != nil {
		return shot{}, err
	}
	after, err := machine.CPUTime(s.pid())
	if err != nil {
		return shot{}, s.failed("ended under load")
	}
	return shot{(after - before) / time.Duration(l.requests), l.rate, l.p99}, nil
}

// printShots prints the median of each server and returns it.
func (b *bench) printShots(name string, servers []*candidate, shots map[string][]shot) map[string]shot {
	mid := map[string]shot{}
	for who, all := range shots {
		slices.SortFunc(all, func(x, y shot) int { return cmp.Compare(x.cpu, y.cpu) })
		mid[who] = quantile(all, 0.5)
	}
	for _, s := range servers {
		m, ok := mid[s.name]
		if !ok {
			continue
		}
		b.printf("%-10s %-8s %8.2f us CPU/request  %8.0f requests/s  p99 %8.2f ms", name, s.name, us(m.cpu), m.rate, ms(m.p99))
		for _, peer := range []string{"nginx", "haproxy", "caddy"} {
			if p, ok := mid[peer]; ok && peer != s.name {
				b.printf("  %s %s", peer, ratio(us(m.cpu), us(p.cpu)))
			}
		}
		b.printf("\n")
	}
	return mid
}

// greeting is the small body that upstreams answer with.
const greeting = "hello from upstream, this is a small body of text for the bench ok\n"

// startUpstream starts what the proxies send requests to: nginx, or where there
// is none a server within this process.
func (b *bench) startUpstream() (addr string, stop func(), err error) {
	if b.path["nginx"] == "" {
		return b.ownUpstream()
	}
	if addr, err = b.port.take(); err != nil {
		return "", nil, err
	}
	// nginx may change its user, who must be able to read the file.
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return "", nil, err
	}
	www := filepath.Join(b.dir, "www")
	if err := os.MkdirAll(www, 0o755); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(filepath.Join(www, "big"), bigBody(), 0o644); err != nil {
		return "", nil, err
	}
	p, err := b.startNginx("upstream", nginxUpstream(addr, www), addr)
	if err != nil {
		return "", nil, err
	}
	return addr, p.stop, nil
}

// bigBody is 1 MiB that does not compress and is the same in each run.
func bigBody() []byte {
	body := make([]byte, 1<<20)
	x := uint64(1)
	for i := range body {
		x = x*6364136223846793005 + 1442695040888963407
		body[i] = byte(x >> 56)
	}
	return body
}

// ownUpstream answers requests with as little work as Go allows.
func (b *bench) ownUpstream() (string, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	small := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(greeting), greeting)
	big := bigBody()
	big = append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(big)), big...)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echoHTTP(c, small, big)
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }, nil
}
