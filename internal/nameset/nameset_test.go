package nameset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func collect(s Set) []string { return slices.Collect(s.All()) }

// A set says what a map of counts says, whatever was done to it, and what differs between two of them.
func TestSetIsAMapOfCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Set
	model := map[string]int{}
	versions, models := []Set{s}, []map[string]int{{}}
	for range 3000 {
		name, n := fmt.Sprint("n", r.IntN(200)), r.IntN(5)-2
		s = s.Add(name, n)
		if model[name] = max(model[name]+n, 0); model[name] == 0 {
			delete(model, name)
		}
		if s.Len() != len(model) || s.Count(name) != model[name] {
			t.Fatalf("%d names, %q %d times; want %d, %d", s.Len(), name, s.Count(name), len(model), model[name])
		}
		if r.IntN(100) == 0 {
			copied := map[string]int{}
			for k, v := range model {
				copied[k] = v
			}
			versions, models = append(versions, s), append(models, copied)
		}
	}
	for i, a := range versions {
		same := true
		made := Of(models[i])
		Diff(a, made, func(string) { same = false }, func(string) { same = false })
		if !same || made.Len() != a.Len() || !slices.Equal(collect(made), collect(a)) || shape(made.root) != shape(a.root) {
			t.Fatalf("version %d made at once differs", i)
		}
		if got := collect(a); !slices.IsSorted(got) || len(got) != len(models[i]) {
			t.Fatalf("version %d changed: %v", i, got)
		}
		for j, b := range versions {
			var left, came []string
			Diff(a, b, func(n string) { left = append(left, n) }, func(n string) { came = append(came, n) })
			for _, n := range left {
				if models[i][n] == 0 || models[j][n] > 0 {
					t.Fatalf("%s left between %d and %d", n, i, j)
				}
			}
			for _, n := range came {
				if models[i][n] > 0 || models[j][n] == 0 {
					t.Fatalf("%s came between %d and %d", n, i, j)
				}
			}
			if len(models[i])-len(left)+len(came) != len(models[j]) || !slices.IsSorted(left) || !slices.IsSorted(came) {
				t.Fatalf("between %d and %d: left %v, came %v", i, j, left, came)
			}
		}
	}
}

// shape is the structure of a tree, sizes and counts included.
func shape(n *node) string {
	if n == nil {
		return "."
	}
	return fmt.Sprint("(", shape(n.left), n.name, n.size, n.count, shape(n.right), ")")
}

func TestMax(t *testing.T) {
	var s Set
	if s.Max() != "" || s.Has("a") {
		t.Error("an empty set has something")
	}
	for _, n := range strings.Fields("m z a q") {
		s = s.Add(n, 1)
	}
	if s.Max() != "z" || s.Add("z", -1).Max() != "q" {
		t.Errorf("the last of %v", collect(s))
	}
}

// The difference of neighbours costs what differs: ten thousand names, of which one came.
func BenchmarkDiffOfNeighbours(b *testing.B) {
	var s Set
	for i := range 10_000 {
		s = s.Add(fmt.Sprint("host", i, ".example.com"), 1)
	}
	next := s.Add("new.example.com", 1)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		Diff(s, next, func(string) { n-- }, func(string) { n++ })
		if n != 1 {
			b.Fatal(n)
		}
	}
}
