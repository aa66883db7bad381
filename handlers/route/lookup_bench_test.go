package route

import (
	"fmt"
	"testing"
)

// BenchmarkLookup is the index alone: which routes may be meant by a host and a
// path.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		for _, by := range []string{"hosts", "paths"} {
			b.Run(fmt.Sprintf("%d-%s", n, by), func(b *testing.B) {
				routes := make([]*Route, n)
				for i := range routes {
					set := matcherSet{under{fmt.Sprintf("/svc%d/*", i)}}
					if by == "hosts" {
						set = matcherSet{names{fmt.Sprintf("app%d.test", i)}, under{"/api/*", "/v1/*"}}
					}
					routes[i] = &Route{sets: []matcherSet{set}, keys: keysOf([]matcherSet{set})}
				}
				l := NewList(routes...)
				host, path := fmt.Sprintf("app%d.test", n-1), "/api/x"
				if by == "paths" {
					path = fmt.Sprintf("/svc%d/x", n-1)
				}
				var space [6]bucket
				b.ReportAllocs()
				for b.Loop() {
					if got := l.candidates(host, path, space[:0]); len(got) != 1 {
						b.Fatalf("%d buckets", len(got))
					}
				}
			})
		}
	}
}
