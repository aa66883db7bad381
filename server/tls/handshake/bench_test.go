package handshake_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkHandshake compares handshakes by policies with those of a plain config with the same certificate. The two take
// turns, so that what else the machine does meets both; the overhead is that of the medians. Client and server are both counted.
func BenchmarkHandshake(b *testing.B) {
	s := newSite(b)
	s.policy(`{}`)
	one := s.bound
	s.policy(`{"default_sni":"b.test"}`)
	copied := s.bound
	var docs []string
	for i := range 1000 {
		docs = append(docs, fmt.Sprintf(`{"match":{"sni":["s%d.test"]}}`, i))
	}
	s.load(`{"policies":[` + strings.Join(append(docs, `{"match":{"sni":["a.test"]}}`, `{}`), ",") + `]}`)
	plain := &tls.Config{Certificates: []tls.Certificate{s.certificate}, NextProtos: []string{"h2", "http/1.1"}}
	for _, kind := range []struct {
		name    string
		version uint16
		resume  bool
	}{{"full", tls.VersionTLS13, false}, {"resumed", tls.VersionTLS13, true}, {"full12", tls.VersionTLS12, false}, {"resumed12", tls.VersionTLS12, true}} {
		for name, bound := range map[string]*tls.Config{
			"one": {GetConfigForClient: one.ConfigForClient}, "copied": {GetConfigForClient: copied.ConfigForClient}, "thousand": {GetConfigForClient: s.bound.ConfigForClient},
		} {
			b.Run(kind.name+"/"+name, func(b *testing.B) {
				servers := [2]*tls.Config{plain, bound}
				var clients [2]*tls.Config
				var times [2][]time.Duration
				for i := range clients {
					clients[i] = s.client("a.test")
					clients[i].MaxVersion = kind.version
					if kind.resume {
						clients[i].ClientSessionCache = tls.NewLRUClientSessionCache(4)
					}
				}
				round := func(i int, first bool) {
					near, far := net.Pipe()
					start := time.Now()
					o := shake(b, near, far, servers[i], clients[i])
					if !o.ok() || o.client.DidResume != (kind.resume && !first) {
						b.Fatal(o.serverErr, o.clientErr, o.client.DidResume)
					}
					times[i] = append(times[i], time.Since(start))
				}
				round(0, true)
				round(1, true)
				for b.Loop() {
					round(0, false)
					round(1, false)
				}
				median := func(i int) float64 {
					slices.Sort(times[i])
					return float64(times[i][len(times[i])/2])
				}
				b.ReportMetric(median(0), "plain-ns")
				b.ReportMetric(median(1), "policy-ns")
				b.ReportMetric(100*(median(1)/median(0)-1), "%over")
			})
		}
	}
}

// BenchmarkConfigForClient is what a handshake pays for the choice of its policy.
func BenchmarkConfigForClient(b *testing.B) {
	s := bareSite(b)
	for _, n := range []int{1, 10, 10000} {
		var docs []string
		for i := range n {
			docs = append(docs, fmt.Sprintf(`{"match":{"sni":["s%d.test"]}}`, i))
		}
		s.load(`{"policies":[` + strings.Join(docs, ",") + `]}`)
		h := hello(fmt.Sprintf("s%d.test", n-1), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.bound.ConfigForClient(h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
