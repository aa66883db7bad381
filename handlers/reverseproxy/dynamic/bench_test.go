package dynamic

import (
	"context"
	"testing"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// BenchmarkKnownUpstreams is what an attempt costs while the answer is good.
func BenchmarkKnownUpstreams(b *testing.B) {
	w := newWorld(b, false)
	w.dns.set("ip app", "10.0.0.1 10.0.0.2")
	w.dns.set("_api._tcp.example.com", "one.:1 two.:2")
	for name, config := range map[string]string{
		"srv":         plainSRV,
		"a":           `{"source":"a","name":"app"}`,
		"multi":       `{"source":"multi","sources":[` + plainSRV + `,{"source":"a","name":"app"}]}`,
		"placeholder": `{"source":"a","name":"{x}"}`,
	} {
		b.Run(name, func(b *testing.B) {
			s, end := w.source(config)
			defer end()
			sets := NewSets(func(dial string) string { return dial }, func(string) {}, func(us []string) []string { return us })
			q := Query{Context: context.Background(), Scope: vars.Map{"x": "app"}, Log: w.log}
			b.ReportAllocs()
			for b.Loop() {
				list, err := s.Upstreams(q)
				if err != nil || len(sets.Of(list)) < 2 {
					b.Fatal(list, err)
				}
			}
		})
	}
}
