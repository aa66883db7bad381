package seq

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func values(s Seq[int]) []int {
	var out []int
	for _, it := range s.All() {
		out = append(out, it.Value)
	}
	return out
}

func TestRandomSplicesAgainstASlice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	model := []int{}
	s := Of(model)
	next := 0
	for range 800 {
		start := r.IntN(len(model) + 1)
		end := start + r.IntN(min(len(model)-start, 40)+1)
		ins := make([]int, r.IntN(60))
		for i := range ins {
			ins[i] = next
			next++
		}
		before := map[int]int64{}
		for i, it := range s.All() {
			if i < start || i >= end {
				before[it.Value] = it.Label
			}
		}
		out, relabelled := s.Splice(start, end, ins)
		model = slices.Concat(model[:start:start], ins, model[end:])
		s = out
		if got := values(s); !slices.Equal(got, model) && len(got)+len(model) > 0 {
			t.Fatalf("after splice %d:%d: got %v, want %v", start, end, got, model)
		}
		last := int64(-1 << 63)
		for i, it := range s.All() {
			if it.Label <= last {
				t.Fatalf("label %d at %d does not rise above %d", it.Label, i, last)
			}
			last = it.Label
			if l, ok := before[it.Value]; ok && !relabelled && l != it.Label {
				t.Fatalf("element %d lost its label", it.Value)
			}
			if s.At(i) != it || s.After(it.Label) != i+1 || s.After(it.Label-1) != i {
				t.Fatalf("At or After disagree at %d", i)
			}
		}
	}
}

func TestGapRunsOut(t *testing.T) {
	s := Of([]int{0, 1})
	relabels := 0
	for i := range 200 {
		var again bool
		if s, again = s.Splice(1, 1, []int{i}); again {
			relabels++
		}
	}
	if relabels == 0 || relabels > 20 || s.Len() != 202 {
		t.Fatalf("relabelled %d times, length %d", relabels, s.Len())
	}
}

func BenchmarkReplaceOneOf100k(b *testing.B) {
	s := Of(make([]*int, 100_000))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s, _ = s.Splice(i%100_000, i%100_000+1, []*int{nil})
	}
}
