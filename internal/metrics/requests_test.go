package metrics

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRequestsAllocateNothing(t *testing.T) {
	q := newRegistry(t, Config{}).Requests()
	for _, v := range []RequestsView{RequestsPlain, RequestsPerHost} {
		q.Use(v, 0)
		s := q.Server("srv0", v)
		do := func() {
			r := s.Route("reverse_proxy", "a.test")
			r.Enter()
			r.Leave()
			r.Count(true)
			r.Observe(RequestSample{Code: 200, Method: "GET", Duration: time.Second, Header: time.Millisecond, RequestSize: 100, ResponseSize: 1000})
		}
		do()
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("view %d: %v allocations", v, n)
		}
	}
}

// TestRequestsBeyondTheMaximum: whatever the order, every observation is counted
// once, and no metric has more series than it may.
func TestRequestsBeyondTheMaximum(t *testing.T) {
	for _, v := range []RequestsView{RequestsPlain, RequestsPerHost} {
		r := newRegistry(t, Config{})
		q := r.Requests()
		q.Use(v, 20)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 500 {
					route := q.Server(fmt.Sprintf("s%d", (g+i)%3), v).Route(fmt.Sprintf("h%d", i%10), fmt.Sprintf("host%d", i%40))
					route.Count(false)
					route.Observe(RequestSample{Code: 100 + i%300, Method: []string{"GET", "put", "X"}[i%3], Header: -1})
				}
			})
		}
		wg.Wait()
		samples, _ := scrape(t, r, "")
		for _, name := range []string{"sluice_http_requests_total{", "sluice_http_request_duration_seconds_count{"} {
			n, sum := 0, 0
			for sample, value := range samples {
				if strings.HasPrefix(sample, name) {
					var x int
					if _, err := fmt.Sscan(value, &x); err != nil {
						t.Fatal(err)
					}
					n, sum = n+1, sum+x
				}
			}
			if sum != 4000 || n > 21 || n < 10 {
				t.Errorf("view %d: %s: %d series with %d observations", v, name, n, sum)
			}
		}
		if samples[`sluice_metrics_dropped_observations_total{metric="sluice_http_requests_total"}`] == "" {
			t.Errorf("view %d: nothing says that series were dropped", v)
		}
	}
}

// TestMethods is rule 3 of section 2.2.
func TestMethods(t *testing.T) {
	for method, want := range map[string]string{"GET": "GET", "get": "GET", "Get": "OTHER", "PATCH": "PATCH", "trace": "TRACE", "PROPFIND": "OTHER", "": "OTHER",
		"HEAD": "HEAD", "PUT": "PUT", "POST": "POST", "DELETE": "DELETE", "CONNECT": "CONNECT", "OPTIONS": "OPTIONS", "delete": "DELETE"} {
		if got := methods[methodOf(method)]; got != want {
			t.Errorf("%q counts as %s, want %s", method, got, want)
		}
	}
}
