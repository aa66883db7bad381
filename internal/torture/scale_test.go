package torture

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWholeArrayWithOneChange: the cost follows the change, not what was sent.
func TestWholeArrayWithOneChange(t *testing.T) {
	in := newInstance(t)
	in.start()
	in.must("POST", "/load", routes(freePort(t), 10_000))
	path := "/config/apps/http/servers/s/routes"
	all := in.must("GET", path, "").body
	changed := strings.Replace(all, `"X-App":["5000"]`, `"X-App":["changed"]`, 1)
	a := in.must("PATCH", path, changed)
	var reused, built int
	if _, err := fmt.Sscanf(a.header.Get("Sluice-Cost"), "reused=%d, built=%d", &reused, &built); err != nil {
		t.Fatalf("cost %q: %v", a.header.Get("Sluice-Cost"), err)
	}
	t.Logf("cost of the whole array with one change: %s", a.header.Get("Sluice-Cost"))
	if built > 10 || reused < 30_000 {
		t.Errorf("reused %d, built %d", reused, built)
	}
}

// TestManyPatches: memory, goroutines and the store stay bounded over thousands
// of edits, and a snapshot does not hold an edit up for long.
func TestManyPatches(t *testing.T) {
	in := newInstance(t)
	in.start()
	in.must("POST", "/load", routes(freePort(t), 10_000))
	patches := 2000
	if os.Getenv("SLUICE_SOAK") != "" {
		patches = 10_000
	}
	times := make([]time.Duration, 0, patches)
	patch := func(i int) {
		start := time.Now()
		in.must("PATCH", "/id/r5/handle/0/response/set/X-App", fmt.Sprintf(`["v%d"]`, i))
		times = append(times, time.Since(start))
	}
	for i := range patches / 4 {
		patch(i)
	}
	heap, before := in.heapMB(), in.vitals()
	for i := range patches * 3 / 4 {
		patch(i)
	}
	heapAfter, after := in.heapMB(), in.vitals()
	slices.Sort(times)
	median, slowest := times[len(times)/2], times[len(times)-1]
	size := storeSize(t, in.dir)
	t.Logf("%d patches: median %v, p99 %v, slowest %v (%.1f times); heap %.1f -> %.1f MB, goroutines %d -> %d, store %.1f MB",
		patches, median, times[len(times)*99/100], slowest, float64(slowest)/float64(median), heap, heapAfter, before.Goroutines, after.Goroutines, size)
	if heapAfter > heap*1.1+2 || after.Goroutines > before.Goroutines+2 || size > 64 {
		t.Error("something grows")
	}
}

func storeSize(t *testing.T, dir string) (mb float64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && strings.Contains(path, "sluice.db") {
			mb += float64(info.Size()) / 1e6
		}
		return err
	})
	if err != nil || mb == 0 {
		t.Fatalf("the store: %v MB, %v", mb, err)
	}
	return mb
}

// TestStreamsDoNotKeepGenerations opens a stream after each of many edits: old
// configurations must not stay in memory for their sake.
func TestStreamsDoNotKeepGenerations(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer up.Close()
	in := newInstance(t)
	in.start()
	port := freePort(t)
	doc := strings.Replace(routes(port, 10_000), `{"handler":"static_response","body":"first"}`, fmt.Sprintf(`{"handler":"reverse_proxy","upstreams":[{"dial":%q}]}`, up.Listener.Addr()), 1)
	in.must("POST", "/load", doc)
	streams := 300
	if os.Getenv("SLUICE_SOAK") != "" {
		streams = 1000
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	run := func(edit bool) float64 {
		for i := range streams {
			if edit {
				in.must("PATCH", fmt.Sprintf("/id/r%d/handle/0/response/set/X-App", i), `["x"]`)
			}
			open = append(open, openStream(t, port))
		}
		return in.heapMB()
	}
	base := in.heapMB()
	own := run(false) - base
	for _, c := range open {
		_ = c.Close()
	}
	open = nil
	in.wait(func() bool { return in.heapMB() < base+own/2+2 })
	base = in.heapMB()
	grown := run(true) - base
	t.Logf("%d streams: %.1f MB of their own, %.1f MB when each follows an edit", streams, own, grown)
	if grown-own > 60*float64(streams)/1000 {
		t.Errorf("memory grows by %.1f MB beyond the streams' own", grown-own)
	}
}

func (in *instance) wait(ok func() bool) {
	in.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			in.t.Fatal("waited in vain")
		}
	}
}

func openStream(t *testing.T, port int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET /first HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(line, "200") {
		t.Fatalf("stream: %q %v", line, err)
	}
	return c
}

// TestStoreThatCannotGrow: the file size limit stands in for a full disk. The
// answer is 507, the old configuration serves, and nothing is half there.
func TestStoreThatCannotGrow(t *testing.T) {
	in := newInstance(t)
	in.start("sh", "-c", `ulimit -f 2000; exec "$0" "$@"`) // blocks of 512 bytes
	port := freePort(t)
	in.must("POST", "/load", routes(port, 20))
	full := 0
	for i := range 400 {
		a := in.do("POST", "/load", strings.Replace(routes(port, 20), `"first"}`, fmt.Sprintf(`"%d %s"}`, i, strings.Repeat("x", 20_000)), 1))
		if a.status == 507 {
			full++
			if full > 3 {
				break
			}
		} else if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if full == 0 {
		t.Fatal("the store never was full")
	}
	before := in.must("GET", "/config/", "").body
	resp, err := in.http.Get(fmt.Sprintf("http://127.0.0.1:%d/first", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("the old configuration answers %d", resp.StatusCode)
	}
	in.kill()
	in.start()
	if after := in.must("GET", "/config/", "").body; after != before {
		t.Errorf("after a restart the configuration is another (%d and %d bytes)", len(before), len(after))
	}
	in.must("PATCH", "/id/r1/handle/0/response/set/X-App", `["again"]`)
}
