package torture

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestManyClients: 50 clients with 4,000 reads and writes, half of the writes
// with If-Match. Nothing is reset, nothing hangs, no update is lost.
func TestManyClients(t *testing.T) {
	in := newInstance(t)
	in.start()
	in.must("POST", "/load", routes(freePort(t), 10_000))
	counter := "/config/apps/http/servers/s/routes/1/handle/0/response/set/X-App"
	in.must("PATCH", counter, `["0"]`)
	var wg sync.WaitGroup
	var increments, writes, conflicts atomic.Int64
	var mu sync.Mutex
	var reads []time.Duration
	for c := range 50 {
		wg.Go(func() {
			for i := range 80 {
				switch i % 4 {
				case 0, 2:
					start := time.Now()
					a, err := in.try("GET", fmt.Sprintf("/id/r%d", (c*131+i*17)%10_000), "")
					if err != nil || a.status != 200 {
						t.Errorf("read: %v %d %s", err, a.status, a.body)
						return
					}
					mu.Lock()
					reads = append(reads, time.Since(start))
					mu.Unlock()
				case 1:
					a, err := in.try("PATCH", fmt.Sprintf("/id/r%d/handle/0/response/set/X-App", 100+c), fmt.Sprintf(`["%d"]`, i))
					if err != nil || a.status != 200 {
						t.Errorf("write: %v %d %s", err, a.status, a.body)
						return
					}
					writes.Add(1)
				case 3:
					if !increment(t, in, counter, &conflicts) {
						return
					}
					increments.Add(1)
				}
			}
		})
	}
	wg.Wait()
	var value []string
	if err := json.Unmarshal([]byte(in.must("GET", counter, "").body), &value); err != nil || value[0] != fmt.Sprint(increments.Load()) {
		t.Errorf("the counter says %v after %d increments: updates were lost", value, increments.Load())
	}
	slices.Sort(reads)
	t.Logf("%d reads (median %v under load), %d writes, %d guarded writes after %d conflicts", len(reads), reads[len(reads)/2], writes.Load(), increments.Load(), conflicts.Load())
	quiet := make([]time.Duration, 500)
	for i := range quiet {
		start := time.Now()
		in.must("GET", fmt.Sprintf("/id/r%d", i*19%10_000), "")
		quiet[i] = time.Since(start)
	}
	slices.Sort(quiet)
	t.Logf("one of 10,000 routes by @id: median %v", quiet[250])
	if quiet[250] > 5*time.Millisecond {
		t.Errorf("a read by @id takes %v", quiet[250])
	}
}

// increment adds one by reading, changing and writing back under If-Match.
func increment(t *testing.T, in *instance, path string, conflicts *atomic.Int64) bool {
	for range 5000 {
		a, err := in.try("GET", path, "")
		if err != nil {
			t.Error(err)
			return false
		}
		var value []string
		if err := json.Unmarshal([]byte(a.body), &value); err != nil {
			t.Error(err)
			return false
		}
		var n int
		_, _ = fmt.Sscan(value[0], &n)
		a, err = in.try("PATCH", path, fmt.Sprintf(`["%d"]`, n+1), "If-Match", a.header.Get("Etag"))
		switch {
		case err != nil:
			t.Error(err)
			return false
		case a.status == 200:
			return true
		case a.status != 412:
			t.Errorf("guarded write: %d %s", a.status, a.body)
			return false
		}
		conflicts.Add(1)
	}
	t.Error("a guarded write never got through")
	return false
}

// TestChangesNotMade: rejected loads and dry runs leave nothing behind.
func TestChangesNotMade(t *testing.T) {
	in := newInstance(t)
	in.start()
	port, other := freePort(t), freePort(t)
	var hits atomic.Int64
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer up.Close()
	upstream := up.Listener.Addr().String()
	in.must("POST", "/load", strings.ReplaceAll(routes(port, 20), "127.0.0.1:20000", upstream))
	attempts := func(n int) {
		for i := range n {
			if i%2 == 0 {
				in.must("POST", "/load?dry_run=true", strings.ReplaceAll(routes(other, 20), "127.0.0.1:20001", upstream))
				continue
			}
			bad := strings.Replace(strings.ReplaceAll(routes(other, 20), "127.0.0.1:20001", upstream), `"handler":"static_response"`, `"handler":"static_reponse"`, 1)
			if a := in.do("POST", "/load", bad); a.status != 400 || !strings.Contains(a.body, "static_response") {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	}
	attempts(20)
	// The accepted load is written to autosave.json a moment later.
	in.wait(func() bool { return strings.Contains(listing(t, in.dir), "autosave.json") })
	before, files := in.vitals(), listing(t, in.dir)
	attempts(1000)
	settled := false
	var after vitals
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !settled; time.Sleep(20 * time.Millisecond) {
		after = in.vitals()
		settled = after.Goroutines <= before.Goroutines+1 && after.Files <= before.Files+1 && after.Sockets == before.Sockets
	}
	if !settled {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the upstream got %d requests", n)
	}
	if now := listing(t, in.dir); now != files {
		t.Errorf("files before:\n%s\nafter:\n%s", files, now)
	}
	if a := in.must("GET", "/revisions", ""); strings.Count(a.body, `"number"`) != 1 {
		t.Errorf("revisions: %s", a.body)
	}
}

// listing names every file below dir, with its size.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, ierr := d.Info()
			fmt.Fprintln(&b, path, info.Size())
			return ierr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
