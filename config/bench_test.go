package config

import (
	"runtime"
	"strconv"
	"testing"
)

func BenchmarkParse10k(b *testing.B) {
	text := large(10_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Parse(text, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewDoc10k(b *testing.B) {
	root := parse(b, string(large(10_000)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewDoc(root); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkPatch(b *testing.B, routes int) {
	d := newDoc(b, string(large(routes)))
	p := largeRoutes.then(strconv.Itoa(routes/2), "handle", "1", "upstreams", "0", "dial")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		next, err := d.Apply(Edit{Verb: Patch, Path: p, Value: NewString(strconv.Itoa(i))})
		if err != nil {
			b.Fatal(err)
		}
		d = next
	}
}

func BenchmarkPatch10k(b *testing.B)  { benchmarkPatch(b, 10_000) }
func BenchmarkPatch100k(b *testing.B) { benchmarkPatch(b, 100_000) }

// BenchmarkInsert100k puts a route with an id before all others and takes it out again.
func BenchmarkInsert100k(b *testing.B) {
	d := newDoc(b, string(large(100_000)))
	b.ReportAllocs()
	for b.Loop() {
		in, err := d.Apply(Edit{Verb: Put, Path: largeRoutes.then("0"), Value: parse(b, `{"@id":"new","handle":[]}`)})
		if err != nil {
			b.Fatal(err)
		}
		if d, err = in.Apply(Edit{Verb: Delete, Path: largeRoutes.then("0")}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReuse10k(b *testing.B) {
	text := large(10_000)
	old := parse(b, string(text))
	fresh, _ := newDoc(b, string(text)).Apply(Edit{Verb: Patch, Path: largeRoutes.then("5000", "terminal"), Value: NewBool(false)})
	new := fresh.Root().Clone()
	b.ReportAllocs()
	for b.Loop() {
		if Reuse(old, new) == old {
			b.Fatal("not changed")
		}
	}
}

func BenchmarkDiffArrays100k(b *testing.B) {
	d := newDoc(b, string(large(100_000)))
	next, err := d.Apply(Edit{Verb: Put, Path: largeRoutes.then("40000"), Value: parse(b, `{"@id":"new"}`)})
	if err != nil {
		b.Fatal(err)
	}
	old, _ := d.Get(largeRoutes)
	new, _ := next.Get(largeRoutes)
	b.ReportAllocs()
	for b.Loop() {
		if s := DiffArrays(old, new); len(s) != 1 {
			b.Fatal(s)
		}
	}
}

func BenchmarkEtag10k(b *testing.B) {
	d := newDoc(b, string(large(10_000)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Etag("/config/", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLiveMemory holds the document with 10,000 routes to its share of memory.
func TestLiveMemory(t *testing.T) {
	text := large(10_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := newDoc(t, string(text))
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	live := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d values, %d bytes of text, %.1f MB live", countNodes(d.Root()), len(text), float64(live)/1e6)
	if live > 22_000_000 {
		t.Errorf("%d bytes live, want less than 22 MB", live)
	}
	runtime.KeepAlive(d)
	runtime.KeepAlive(text)
}
