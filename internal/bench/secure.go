package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/certs"
	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// secureHost is the name of the certificate that the case tls uses.
const secureHost = "bench.localhost"

// secureKind is one thing that the case tls measures.
type secureKind struct {
	name string
	unit string
	// worker makes what one of several concurrent clients does over and over. It
	// returns how much of the unit one call was.
	worker func(c *secureClient) (do func() (int, error), end func())
	over   []string           // the peers that can be measured
	limits map[string]float64 // the most that sluice may cost, in times of a peer
}

// The limit of handshakes is 1/0.95: each second 0.95 of what Caddy makes.
var secureKinds = []secureKind{
	{"full", "handshake", fullHandshakes, []string{"caddy", "nginx"}, map[string]float64{"caddy": 1 / 0.95}},
	{"resumed", "handshake", resumedHandshakes, []string{"caddy", "nginx"}, map[string]float64{"caddy": 1 / 0.95}},
	{"fullpq", "handshake", fullHandshakesPQ, []string{"caddy", "nginx"}, nil},
	{"full12", "handshake", fullHandshakes12, []string{"caddy", "nginx"}, nil},
	{"resumed12", "handshake", resumedHandshakes12, []string{"caddy", "nginx"}, nil},
	{"https1", "request", requestsH1, []string{"caddy", "nginx"}, nil},
	{"h2", "request", requestsH2, []string{"caddy", "nginx"}, map[string]float64{"caddy": 1}},
	{"h3", "request", requestsH3, []string{"caddy"}, map[string]float64{"caddy": 1}},
}

// secureClient is what a worker needs to know.
type secureClient struct {
	addr  string
	roots *x509.CertPool
}

// config allows one key exchange only, so that all servers do the same work.
func (c *secureClient) config(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: c.roots, ServerName: secureHost, NextProtos: protocols, CurvePreferences: []tls.CurveID{tls.X25519}}
}

// secure measures what handshakes and requests with TLS cost.
func (b *bench) secure() error {
	b.printf("tls: CPU of the server for a handshake (ECDSA P-256) and for a small request, %v each, median of %d\n", b.period, b.rounds)
	cert, key, roots, err := certs.Make(b.dir, secureHost)
	if err != nil {
		return err
	}
	servers, stop, err := b.startSecure(cert, key)
	defer stop()
	if err != nil {
		return err
	}
	for _, k := range secureKinds {
		if !slices.Contains(b.handshakes, k.name) {
			continue
		}
		shots := map[string][]shot{}
		for range b.rounds {
			for _, s := range servers {
				if s.name != "sluice" && !slices.Contains(k.over, s.name) {
					continue
				}
				one, err := b.shootSecure(s, k, roots)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", k.name, s.name, err)
				}
				shots[s.name] = append(shots[s.name], one)
			}
		}
		b.printSecure(k, servers, shots)
	}
	return nil
}

// shootSecure measures one server once.
func (b *bench) shootSecure(s *candidate, k secureKind, roots *x509.CertPool) (shot, error) {
	before, err := machine.CPUTime(s.pid())
	if err != nil {
		return shot{}, err
	}
	var n atomic.Int64
	workers := min(16, b.conns)
	errs := make([]error, workers)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			do, end := k.worker(&secureClient{s.addr, roots})
			defer end()
			for time.Since(start) < b.period && b.ctx.Err() == nil {
				done, err := do()
				if err != nil {
					errs[i] = err
					return
				}
				n.Add(int64(done))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return shot{}, err
	}
	after, err := machine.CPUTime(s.pid())
	if err != nil || n.Load() == 0 {
		return shot{}, s.failed("ended, or answered nothing")
	}
	return shot{cpu: (after - before) / time.Duration(n.Load()), rate: float64(n.Load()) / took.Seconds()}, nil
}

// printSecure prints the median of each server, and how sluice compares.
func (b *bench) printSecure(k secureKind, servers []*candidate, shots map[string][]shot) {
	mid := map[string]shot{}
	for who, all := range shots {
		slices.SortFunc(all, func(x, y shot) int { return cmp.Compare(x.rate, y.rate) })
		rate := quantile(all, 0.5).rate
		slices.SortFunc(all, func(x, y shot) int { return cmp.Compare(x.cpu, y.cpu) })
		mid[who] = shot{cpu: quantile(all, 0.5).cpu, rate: rate}
	}
	for _, s := range servers {
		if m, ok := mid[s.name]; ok {
			b.printf("%-10s %-8s %8.2f us CPU/%s  %8.0f %ss/s\n", k.name, s.name, us(m.cpu), k.unit, m.rate, k.unit)
		}
	}
	own := mid["sluice"]
	for _, peer := range []string{"caddy", "nginx"} {
		if p, ok := mid[peer]; ok {
			b.printf("%-10s sluice/%s %s CPU, %s rate%s\n", k.name, peer, ratio(us(own.cpu), us(p.cpu)), ratio(own.rate, p.rate),
				verdict(us(own.cpu)/us(p.cpu), k.limits[peer], "x%.3g"))
		}
	}
}

// startSecure starts sluice, Caddy and nginx with one certificate and one small
// answer each. What was started is ended by stop, after an error too.
func (b *bench) startSecure(cert, key string) (servers []*candidate, stop func(), err error) {
	stop = func() {
		for _, s := range servers {
			s.stop()
		}
	}
	for _, m := range b.models() {
		if err := b.place(m, "tls"); err != nil {
			return servers, stop, err
		}
		if err := b.boot(m, secureSite(m.admin.addr, m.data, cert, key)); err != nil {
			return servers, stop, err
		}
		m.admin.close()
		servers = append(servers, &candidate{process: m.process, name: m.name, addr: m.data})
		if err := m.waitPort(b.ctx, m.data); err != nil {
			return servers, stop, err
		}
	}
	if b.path["nginx"] == "" {
		return servers, stop, nil
	}
	addr, err := b.port.take()
	if err != nil {
		return servers, stop, err
	}
	p, err := b.startNginx("nginx-tls", nginxSecure(addr, cert, key), addr)
	if err != nil {
		return servers, stop, err
	}
	return append(servers, &candidate{process: p, name: "nginx", addr: addr}), stop, nil
}

// secureSite is a document with one server, a certificate from files, and a
// small answer.
func secureSite(admin, data, cert, key string) object {
	server := httpServer(data, list{handle(answer(greeting))})
	server["tls_connection_policies"] = list{object{}}
	d := document(admin, object{"s": server})
	d["apps"].(object)["tls"] = object{"certificates": object{"load_files": list{object{"certificate": cert, "key": key}}}}
	return d
}

func nginxSecure(addr, cert, key string) string {
	return fmt.Sprintf(` server {
  listen %s ssl http2;
  ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
  location / { default_type text/plain; return 200 %q; }
 }
`, addr, cert, key, greeting)
}

// shake makes one handshake and waits for what the server sends after it.
func shake(addr string, config *tls.Config, resumed bool) error {
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	if did := conn.ConnectionState().DidResume; did != resumed {
		return fmt.Errorf("a session was resumed: %v, want %v", did, resumed)
	}
	// The ticket of TLS 1.3 comes behind the handshake, so it is read with an answer.
	if _, err := conn.Write(get("/", secureHost)); err != nil {
		return err
	}
	var buf [512]byte
	_, err = conn.Read(buf[:])
	return err
}

func fullHandshakes(c *secureClient) (func() (int, error), func()) {
	config := c.config("http/1.1")
	return func() (int, error) { return 1, shake(c.addr, config, false) }, func() {}
}

// fullHandshakesPQ offers the hybrid with ML-KEM as well, which servers of today
// choose and older ones do not know.
func fullHandshakesPQ(c *secureClient) (func() (int, error), func()) {
	config := c.config("http/1.1")
	config.CurvePreferences = nil
	return func() (int, error) { return 1, shake(c.addr, config, false) }, func() {}
}

func fullHandshakes12(c *secureClient) (func() (int, error), func()) {
	config := c.config("http/1.1")
	config.MaxVersion = tls.VersionTLS12
	return func() (int, error) { return 1, shake(c.addr, config, false) }, func() {}
}

func resumedHandshakes(c *secureClient) (func() (int, error), func()) {
	return resuming(c, c.config("http/1.1"))
}

func resumedHandshakes12(c *secureClient) (func() (int, error), func()) {
	config := c.config("http/1.1")
	config.MaxVersion = tls.VersionTLS12
	return resuming(c, config)
}

// resuming begins with a full handshake, which is not counted.
func resuming(c *secureClient, config *tls.Config) (func() (int, error), func()) {
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	first := true
	return func() (int, error) {
		if first {
			first = false
			return 0, shake(c.addr, config, false)
		}
		return 1, shake(c.addr, config, true)
	}, func() {}
}
