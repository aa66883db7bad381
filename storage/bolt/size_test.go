package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

// TestManyCommits makes small edits to a document of 1.7 MB: the file stays
// bounded, and a commit doesn't wait long while a snapshot is written.
// SLUICE_COMMITS says how many; 2,000 if unset.
func TestManyCommits(t *testing.T) {
	commits := 2000
	if v := os.Getenv("SLUICE_COMMITS"); v != "" {
		var err error
		if commits, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "sluice.db")
	document := []byte(`{"a":"` + strings.Repeat("x", 1_700_000) + `"}`)
	var writing, snapshots int // between document and the next commit that isn't in its way
	s := mustOpen(t, path, Options{Limits: storage.Limits{MaxRevisions: 300}, OnError: func(err error) { t.Error(err) }})
	revs, err := s.Commit(bg, 0, []storage.Change{{Edit: storage.Edit{Verb: storage.VerbLoad, Body: document}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := revs[0].Number
	var all, during []time.Duration
	for i := range commits {
		s.mu.Lock()
		busy := s.book.stray
		s.mu.Unlock()
		began := time.Now()
		change := storage.Change{Edit: storagetest.Put("route/"+fmt.Sprint(i), strings.Repeat("r", 150)), Origin: "127.0.0.1:12345"}
		if _, err := s.Commit(bg, last, []storage.Change{change}, func() []byte { return document }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		last++
		all = append(all, took)
		if busy && i > 0 {
			during = append(during, took)
			writing++
		} else if writing > 0 {
			writing, snapshots = 0, snapshots+1
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	slices.Sort(during)
	median, p99 := all[len(all)/2], all[len(all)*99/100]
	t.Logf("%d commits: median %v, p99 %v, slowest %v; %d of them during %d snapshots: median %v, slowest %v (%.1f times); file %d KB",
		commits, median, p99, all[len(all)-1], len(during), snapshots, during[len(during)/2], during[len(during)-1],
		float64(during[len(during)-1])/float64(median), info.Size()>>10)
	// Documents of 1.7 MB for 300 revisions and what is being replaced.
	if info.Size() > 48<<20 {
		t.Errorf("the file has %d bytes", info.Size())
	}
	// Loose, because tests share the disk: a commit that waits for a whole
	// snapshot would show at the 90th percentile.
	if p90 := during[len(during)*9/10]; p90 > 20*median+20*time.Millisecond {
		t.Errorf("during a snapshot a tenth of the commits takes %v and more, the median is %v", p90, median)
	}
}

// TestManyLoads: whole documents of varying size replace each other.
func TestManyLoads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	s := mustOpen(t, path, Options{Limits: storage.Limits{MaxBytes: 4 << 20}, OnError: func(err error) { t.Error(err) }})
	for i := range 400 {
		body := []byte(`"` + strings.Repeat("x", 10_000+i*7919%300_000) + `"`)
		if _, err := s.Commit(bg, uint64(i), []storage.Change{{Edit: storage.Edit{Verb: storage.VerbLoad, Body: body}}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("400 loads of 64 MB in all, 4 MB kept: file %d KB", info.Size()>>10)
	if info.Size() > 24<<20 {
		t.Errorf("the file has %d bytes", info.Size())
	}
}

func benchmarkCommit(b *testing.B, sync bool, group int) {
	s, err := Open(filepath.Join(b.TempDir(), "sluice.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	s.db.NoSync = !sync
	document := []byte(`{"a":"` + strings.Repeat("x", 1_700_000) + `"}`)
	changes := make([]storage.Change, group)
	for i := range changes {
		changes[i] = storage.Change{Edit: storagetest.Put("apps/http/servers/srv0/routes/5000", strings.Repeat("r", 150)), Origin: "127.0.0.1:12345"}
	}
	b.ReportAllocs()
	last := uint64(0)
	for b.Loop() {
		revs, err := s.Commit(bg, last, changes, func() []byte { return document })
		if err != nil {
			b.Fatal(err)
		}
		last = revs[group-1].Number
	}
}

// BenchmarkCommit is one edit, durable, snapshots and pruning included.
func BenchmarkCommit(b *testing.B) { benchmarkCommit(b, true, 1) }

// BenchmarkCommitGroup is 16 edits in one commit.
func BenchmarkCommitGroup(b *testing.B) { benchmarkCommit(b, true, 16) }

// BenchmarkCommitWithoutSync is what a commit costs beside the two syncs.
func BenchmarkCommitWithoutSync(b *testing.B) { benchmarkCommit(b, false, 1) }
