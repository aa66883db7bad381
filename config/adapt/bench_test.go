package adapt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// manySites is a Caddyfile of n sites with one route each.
func manySites(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "http://site%d.example.com {\n\theader X-Site %d\n\treverse_proxy 127.0.0.1:%d\n}\n\n", i, i, 9000+i%100)
	}
	return b.String()
}

// BenchmarkAdapt10000 is a Caddyfile of 10,000 sites.
func BenchmarkAdapt10000(b *testing.B) {
	a := adapttest.Adapter(b)
	text := []byte(manySites(10_000))
	for b.Loop() {
		if _, err := a.Adapt(adapt.Source{Text: text}); err != nil {
			b.Fatal(err)
		}
	}
}
