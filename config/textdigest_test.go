package config

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDigestTextIsThatOfTheTree(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	var value func(depth int) any
	value = func(depth int) any {
		switch k := r.IntN(9); {
		case k < 2 && depth < 5:
			var list = []any{}
			for range r.IntN(4) {
				list = append(list, value(depth+1))
			}
			return list
		case k < 5 && depth < 5:
			m := map[string]any{}
			for range r.IntN(20) {
				m[fmt.Sprintf("k%d<\u00e9", r.IntN(30))] = value(depth + 1)
			}
			return m
		}
		return []any{nil, true, false, 0.0, -1.5, 1e21, 123456789012345678.0, "", "a\"<\u2028\u00e9", "x"}[r.IntN(10)]
	}
	texts := []string{`{}`, `[]`, `null`, `[` + strings.Repeat(`{"a":[1,2]},`, 3000) + `0]`}
	for range 500 {
		n, err := FromGo(value(0))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(n.AppendJSON(nil)))
	}
	for _, text := range texts {
		n, _, err := Parse([]byte(text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d, err := DigestText([]byte(text)); err != nil || d != n.Digest() {
			t.Fatalf("%.200s: %x, %v; the tree has %x", text, d, err, n.Digest())
		}
	}
	for _, text := range []string{``, `{`, `[1,]`, `{"a":1,}`, `{"a"}`, `[1 2]`, `{} x`, `nul`, strings.Repeat("[", 100_000)} {
		if _, err := DigestText([]byte(text)); err == nil {
			t.Errorf("%.20q has a digest", text)
		}
	}
}

func BenchmarkDigestText10k(b *testing.B) {
	text := []byte(`[` + strings.Repeat(`{"@id":"r","handle":[{"handler":"headers","response":{"set":{"X-App":["1"]}}}],"match":[{"host":["app.test"]}],"terminal":true},`, 9999) + `0]`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DigestText(text); err != nil {
			b.Fatal(err)
		}
	}
}
