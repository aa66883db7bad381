package automation

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/internal/metrics"
)

// BenchmarkStart loads 10,000 managed names from a storage in files, as a process does that starts.
func BenchmarkStart(b *testing.B) {
	const n = 10_000
	s := &certmagic.FileStorage{Path: b.TempDir()}
	a := newAuthority("public")
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("site%d.example.com", i)
		cert, key := a.fresh(names[i])
		folder := filepath.Join(s.Path, "certificates", "public", names[i])
		if err := os.MkdirAll(folder, 0o700); err != nil {
			b.Fatal(err)
		}
		for ext, text := range map[string]string{"crt": cert, "key": key, "json": `{"sans":["` + names[i] + `"]}`} {
			if err := os.WriteFile(filepath.Join(folder, names[i]+"."+ext), []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		r := newRig(b, s)
		r.m.Manage(names, nil)
		told := time.Since(start)
		until(b, "all are there", func() bool { return r.bus.count("tls/cached_managed_cert") == n })
		took := time.Since(start)
		if r.public.total() != 0 {
			b.Fatal("certificates were obtained")
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(took.Seconds(), "s/start")
		b.ReportMetric(told.Seconds()*1000, "ms/Manage")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		start = time.Now()
		r.m.Manage([]string{"one-more.example.com"}, nil)
		b.ReportMetric(float64(time.Since(start).Microseconds()), "us/one")
		start = time.Now()
		_ = r.m.Certificates()
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/Certificates")
		start = time.Now()
		_ = r.m.Certificates()
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/CertificatesAgain")
		start = time.Now()
		r.load(`{"cache":{"capacity":20000}}`)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/edit")
		r.m.Close()
	}
}

// BenchmarkCertificates is what GET /tls/certificates and each scrape of metrics cost with 10,000 names, when all of them have
// been looked at.
func BenchmarkCertificates(b *testing.B) {
	reg, err := metrics.New(metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, newMemory(), func(o *Options) { o.Metrics = reg })
	const n = 10_000
	a := newAuthority("public")
	cert, _ := a.fresh("site.example.com")
	block, _ := pem.Decode([]byte(cert))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	r.m.Config("")
	now := time.Now()
	for i := range n {
		name := fmt.Sprintf("site%d.example.com", i)
		m := &managed{name: name, binding: r.m.state().base, ready: true}
		m.view.settle([]seen{seenOf([]string{name}, leaf)}, now)
		r.m.table.managed[name] = m
	}
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if len(r.m.Certificates()) != n {
				b.Fatal("some are missing")
			}
		}
	})
	b.Run("scrape", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := reg.Gatherer().Gather(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("described", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			count := 0
			r.m.describe(func(*CertificateStatus) { count++ })
		}
	})
}

func BenchmarkConfig(b *testing.B) {
	r := newRig(b, newMemory())
	r.load(`{"automation":{"policies":[{"subjects":["*.example.com","a.test"]},{}]}}`)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = r.m.Config("some.example.com")
		}
	})
}
