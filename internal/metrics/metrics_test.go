package metrics

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
)

func newRegistry(t testing.TB, c Config) *Registry {
	t.Helper()
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// scrape asks a real server and returns the samples by their text.
func scrape(t *testing.T, r *Registry, accept string) (map[string]string, http.Header) {
	t.Helper()
	srv := httptest.NewServer(r.Handler())
	defer srv.Close()
	req, _ := http.NewRequest(http.MethodGet, srv.URL+"/metrics", nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	samples := map[string]string{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			i := strings.LastIndexByte(line, ' ')
			samples[line[:i]] = line[i+1:]
		} else if line == "# EOF" {
			t.Error("OpenMetrics was served")
		}
	}
	return samples, res.Header
}

func TestScrape(t *testing.T) {
	r := newRegistry(t, Config{})
	requests := r.Counters(Opts{Subsystem: "admin_http", Name: "requests_total", Help: "h", Labels: []string{"handler", "path", "code", "method"}})
	requests.With("admin", "/config/", "200", "GET").Add(2)
	requests.With("admin", "/config/", "404", "GET").Inc()
	r.Gauge(Opts{Subsystem: "config", Name: "last_reload_successful", Help: "h"}).Set(1)
	healthy := r.Gauges(Opts{Subsystem: "reverse_proxy", Name: "upstreams_healthy", Help: "h", Labels: []string{"upstream"}})
	healthy.With("a:1").Set(1)
	r.Histograms(Opts{Subsystem: "http", Name: "request_duration_seconds", Help: "h", Labels: []string{"server"}}).With("srv0").Observe(0.3)
	r.Histogram(Opts{Subsystem: "http", Name: "size_bytes", Help: "h", Buckets: Bytes()}).Observe(300)
	r.Counter(Opts{Name: "edits_total", Help: "h"}).Inc()
	live := 7.0
	r.GaugeFunc(Opts{Name: "live", Help: "h"}, func() float64 { return live })

	samples, _ := scrape(t, r, "")
	samples, header := scrape(t, r, "") // the second one sees the first
	if got := header.Get("Content-Type"); got != ContentType {
		t.Errorf("Content-Type %q", got)
	}
	for name, want := range map[string]string{
		`sluice_admin_http_requests_total{code="200",handler="admin",method="GET",path="/config/"}`: "2",
		`sluice_admin_http_requests_total{code="404",handler="admin",method="GET",path="/config/"}`: "1",
		`sluice_config_last_reload_successful`:                                                      "1",
		`sluice_reverse_proxy_upstreams_healthy{upstream="a:1"}`:                                    "1",
		`sluice_http_request_duration_seconds_bucket{server="srv0",le="0.25"}`:                      "0",
		`sluice_http_request_duration_seconds_bucket{server="srv0",le="0.5"}`:                       "1",
		`sluice_http_request_duration_seconds_count{server="srv0"}`:                                 "1",
		`sluice_http_request_duration_seconds_sum{server="srv0"}`:                                   "0.3",
		`sluice_http_size_bytes_bucket{le="256"}`:                                                   "0",
		`sluice_http_size_bytes_bucket{le="1024"}`:                                                  "1",
		`sluice_edits_total`: "1",
		`sluice_live`:        "7",
		`promhttp_metric_handler_requests_total{code="200"}`:     "1",
		`promhttp_metric_handler_requests_in_flight`:             "1",
		`promhttp_metric_handler_errors_total{cause="encoding"}`: "0",
	} {
		if samples[name] != want {
			t.Errorf("%s is %q, want %q", name, samples[name], want)
		}
	}
	for _, prefix := range []string{"go_goroutines", "go_memstats_alloc_bytes", "go_gc_duration_seconds", "go_build_info{", "process_start_time_seconds", "process_open_fds"} {
		found := false
		for name := range samples {
			found = found || strings.HasPrefix(name, prefix)
		}
		if !found {
			t.Errorf("no metric %s", prefix)
		}
	}
	healthy.Delete("a:1")
	healthy.Delete("never")
	if samples, _ := scrape(t, r, ""); samples[`sluice_reverse_proxy_upstreams_healthy{upstream="a:1"}`] != "" {
		t.Error("a deleted series is still there")
	}
}

func TestNoNegotiation(t *testing.T) {
	r := newRegistry(t, Config{})
	for _, accept := range []string{
		"application/openmetrics-text; version=1.0.0; charset=utf-8",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
		"text/plain; version=1.0.0; escaping=allow-utf-8", "text/html", "*/*", "text/plain;version=0.0.4;escaping=dots",
	} {
		samples, header := scrape(t, r, accept)
		if got := header.Get("Content-Type"); got != ContentType {
			t.Errorf("Accept %q: Content-Type %q", accept, got)
		}
		if samples["go_goroutines"] == "" {
			t.Errorf("Accept %q: no text", accept)
		}
	}
	// The request that others may still use is left as it was.
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Accept-Encoding", "gzip")
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, req)
	if req.Header.Get("Accept") != "text/html" {
		t.Error("the request was changed")
	}
	zr, err := gzip.NewReader(rec.Body)
	if err != nil {
		t.Fatalf("the answer is not compressed: %v", err)
	}
	if text, err := io.ReadAll(zr); err != nil || !strings.Contains(string(text), "go_goroutines") {
		t.Errorf("compressed: %v", err)
	}
}

func TestNamespace(t *testing.T) {
	r := newRegistry(t, Config{Namespace: "caddy"})
	r.Counter(Opts{Subsystem: "http", Name: "requests_total", Help: "h"}).Inc()
	if samples, _ := scrape(t, r, ""); samples["caddy_http_requests_total"] != "1" {
		t.Error("the namespace is not used")
	}
	if got := r.Name("http", "x"); got != "caddy_http_x" || r.Namespace() != "caddy" {
		t.Errorf("Name %q", got)
	}
	for _, bad := range []string{"a-b", "1a", "ü", "a b", "__x", strings.Repeat("x", 65), "a\n"} {
		if _, err := New(Config{Namespace: bad}); err == nil {
			t.Errorf("namespace %q is accepted", bad)
		}
	}
}

func TestRegister(t *testing.T) {
	r := newRegistry(t, Config{})
	c := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "own", Help: "h"}, func() float64 { return 3 })
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	if err := r.Register(c); err == nil {
		t.Error("the same collector twice is accepted")
	}
	if samples, _ := scrape(t, r, ""); samples["own"] != "3" {
		t.Error("the collector is not asked")
	}
	if families, err := r.Gatherer().Gather(); err != nil || len(families) == 0 {
		t.Errorf("Gather: %v", err)
	}
}

func TestPanics(t *testing.T) {
	r := newRegistry(t, Config{})
	v := r.Counters(Opts{Name: "a_total", Help: "h", Labels: []string{"x"}})
	for name, f := range map[string]func(){
		"taken name":       func() { r.Gauge(Opts{Name: "a_total", Help: "h"}) },
		"too few values":   func() { v.With() },
		"too many values":  func() { v.With("a", "b") },
		"delete, too many": func() { v.Delete("a", "b") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestMaxSeries(t *testing.T) {
	r := newRegistry(t, Config{MaxSeries: 100})
	v := r.Counters(Opts{Name: "hits_total", Help: "h", Labels: []string{"host", "code"}})
	for i := range 250 {
		v.With(fmt.Sprintf("h%d", i), "200").Inc()
	}
	v.With("h7", "200").Inc() // one that exists still counts for itself
	v.With(Other, Other).Inc()
	if v.Len() != 100 {
		t.Errorf("%d series", v.Len())
	}
	samples, _ := scrape(t, r, "")
	check := func(name, want string) {
		t.Helper()
		if samples[name] != want {
			t.Errorf("%s is %q, want %q", name, samples[name], want)
		}
	}
	check(`sluice_hits_total{code="200",host="h7"}`, "2")
	check(`sluice_hits_total{code="200",host="h99"}`, "1")
	check(`sluice_hits_total{code="200",host="h100"}`, "")
	check(`sluice_hits_total{code="_other",host="_other"}`, "151")
	n := 0
	for name := range samples {
		if strings.HasPrefix(name, "sluice_hits_total") {
			n++
		}
	}
	if n != 101 {
		t.Errorf("%d series are served", n)
	}
	// A deleted series makes room for one.
	v.Delete("h7", "200")
	v.With("new", "200").Inc()
	v.With("newer", "200").Inc()
	samples, _ = scrape(t, r, "")
	check(`sluice_hits_total{code="200",host="h7"}`, "")
	check(`sluice_hits_total{code="200",host="new"}`, "1")
	check(`sluice_hits_total{code="200",host="newer"}`, "")
	check(`sluice_hits_total{code="_other",host="_other"}`, "152")

	small := r.Gauges(Opts{Name: "small", Help: "h", Labels: []string{"x"}, MaxSeries: 1})
	small.With(Other).Set(1) // before the maximum is reached
	small.With("a").Set(2)
	small.With("b").Set(3)
	samples, _ = scrape(t, r, "")
	check(`sluice_small{x="a"}`, "2")
	check(`sluice_small{x="_other"}`, "3")
	if d := newRegistry(t, Config{}); d.maxSeries != 10_000 {
		t.Errorf("the default is %d", d.maxSeries)
	}
}

func TestHostileLabels(t *testing.T) {
	r := newRegistry(t, Config{})
	v := r.Counters(Opts{Name: "hits_total", Help: "h", Labels: []string{"host"}})
	v.With("a\xffb").Inc()
	v.With("a?b").Inc()
	v.With("quote\"new\nline").Inc()
	v.With(strings.Repeat("x", 10_000)).Inc()
	v.With(strings.Repeat("x", MaxLabelLen)).Inc()
	v.With(strings.Repeat("x", MaxLabelLen-1) + "é").Inc()
	v.With(strings.Repeat("\x80", 10_000)).Inc()
	samples, _ := scrape(t, r, "")
	for name, want := range map[string]string{
		`sluice_hits_total{host="a?b"}`:                                        "2",
		`sluice_hits_total{host="quote\"new\nline"}`:                           "1",
		`sluice_hits_total{host="` + strings.Repeat("x", MaxLabelLen) + `"}`:   "2",
		`sluice_hits_total{host="` + strings.Repeat("x", MaxLabelLen-1) + `"}`: "1",
		`sluice_hits_total{host="?"}`:                                          "1",
	} {
		if samples[name] != want {
			t.Errorf("%s is %q, want %q", name, samples[name], want)
		}
	}
	for name := range samples {
		if !utf8.ValidString(name) || len(name) > MaxLabelLen+100 {
			t.Errorf("a sample %q", name)
		}
	}
	// The series must not keep the caller's memory, which is used again.
	buf := []byte("live")
	v.With(unsafe.String(&buf[0], len(buf))).Inc()
	copy(buf, "dead")
	if samples, _ := scrape(t, r, ""); samples[`sluice_hits_total{host="live"}`] != "1" {
		t.Error("a label value changed")
	}
}

// TestConcurrent counts from many goroutines while series come and go and the
// table grows: no increment of a series that stays may be lost.
func TestConcurrent(t *testing.T) {
	r := newRegistry(t, Config{MaxSeries: 300})
	v := r.Counters(Opts{Name: "hits_total", Help: "h", Labels: []string{"n"}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				v.With(fmt.Sprint("stays", i%100)).Inc()
				name := fmt.Sprint("goes", g, i%20)
				v.With(name).Inc()
				v.Delete(name)
			}
		})
	}
	wg.Wait()
	if v.Len() != 100 {
		t.Errorf("%d series are left", v.Len())
	}
	samples, _ := scrape(t, r, "")
	for i := range 100 {
		if name := fmt.Sprintf(`sluice_hits_total{n="stays%d"}`, i); samples[name] != "160" {
			t.Errorf("%s is %s", name, samples[name])
		}
	}
}

func TestAllocations(t *testing.T) {
	r := newRegistry(t, Config{MaxSeries: 2})
	v := r.Counters(Opts{Name: "hits_total", Help: "h", Labels: []string{"a", "b"}})
	v.With("x", "y")
	v.With("z", "y")
	v.With("full", "y")
	long := strings.Repeat("x", 1000)
	for name, values := range map[string][]string{"exists": {"x", "y"}, "beyond": {"q", "y"}, "long": {long, "y"}} {
		if n := testing.AllocsPerRun(100, func() { v.With(values[0], values[1]).Inc() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkWith(b *testing.B) {
	r := newRegistry(b, Config{})
	v := r.Counters(Opts{Name: "hits_total", Help: "h", Labels: []string{"server", "handler", "code", "method"}})
	for i := range 1000 {
		v.With("srv", fmt.Sprint("handler", i), "200", "GET")
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v.With("srv", "handler500", "200", "GET").Inc()
		}
	})
}

func TestGaugesFunc(t *testing.T) {
	r := newRegistry(t, Config{})
	up := map[string]float64{"a:1": 1, "b:1": 0}
	r.GaugesFunc(Opts{Subsystem: "reverse_proxy", Name: "upstreams_healthy", Help: "h", Labels: []string{"upstream"}, MaxSeries: 3}, func(emit func(float64, ...string)) {
		for name, v := range up {
			emit(v, name)
			emit(7, name) // a second one does not count
		}
	})
	samples, _ := scrape(t, r, "")
	if samples[`sluice_reverse_proxy_upstreams_healthy{upstream="a:1"}`] != "1" || samples[`sluice_reverse_proxy_upstreams_healthy{upstream="b:1"}`] != "0" {
		t.Errorf("%v", samples)
	}
	delete(up, "a:1")
	for i := range 10 {
		up[fmt.Sprint(i)] = 1
	}
	samples, _ = scrape(t, r, "")
	n := 0
	for name := range samples {
		if strings.HasPrefix(name, "sluice_reverse_proxy_upstreams_healthy") {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d series, want 3", n)
	}
}
