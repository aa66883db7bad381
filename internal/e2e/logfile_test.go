package e2e

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Files of an access log are rolled over by their size while the
// configuration changes a hundred times, the log's own part of it included. Every
// request is in exactly one of them.
func TestLogFilesLoseNothing(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 2)
	h := newHome(t, ports[0])
	h.write(t, "sluice.json", fmt.Sprintf(`{
	  "logging": {"logs": {
	    "default": {"exclude": ["http.log.access"]},
	    "access": {"writer": {"output": "file", "filename": "logs/access.log", "roll_size_mb": 1, "roll_keep": 100}, "include": ["http.log.access"]}}},
	  "apps": {"http": {"servers": {"main": {"listen": ["127.0.0.1:%d"], "logs": {},
	    "routes": [{"@id": "only", "handle": [{"handler": "static_response", "body": "0"}]}]}}}}}`, ports[1]))
	s := launch(t, h, h.command(filepath.Join(tools, "sluice"), "run", "--config", "sluice.json"))
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()

	var sent atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	padding := strings.Repeat("x", 3000)
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := sent.Add(1)
				resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/n%d?%s", ports[1], n, padding))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	for i := range 100 {
		edit := [...][2]string{
			{"/id/only/handle/0/body", fmt.Sprintf("%q", fmt.Sprint(i))},
			{"/config/logging/logs/access/encoder", fmt.Sprintf(`{"format": "json", "time_format": %q}`, []string{"rfc3339", "iso8601"}[i/4%2])},
			{"/config/logging/logs/access/writer/roll_keep", fmt.Sprint(100 + i)},
			{"/config/apps/http/servers/main/logs", fmt.Sprintf(`{"default_logger_name": "n%d"}`, i)},
		}[i%4]
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+h.admin+edit[0], strings.NewReader(edit[1]))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", edit[0], resp.Status, text)
		}
	}
	close(stop)
	wg.Wait()
	s.signal(syscall.SIGTERM)
	if err := s.end(t); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}

	got, files := loggedNumbers(t, filepath.Join(h.dir, "logs"))
	for n := range sent.Load() {
		if got[fmt.Sprint(n+1)] != 1 {
			t.Fatalf("request %d of %d is logged %d times in %d files", n+1, sent.Load(), got[fmt.Sprint(n+1)], files)
		}
	}
	if files < 2 {
		t.Errorf("%d requests in %d files: none was rolled over", sent.Load(), files)
	}
	t.Logf("%d requests in %d files", sent.Load(), files)
}

var numberIn = regexp.MustCompile(`^/n([0-9]+)\?`)

// loggedNumbers reads all files of a log and counts the numbers in the URIs.
func loggedNumbers(t *testing.T, dir string) (numbers map[string]int, files int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	numbers = map[string]int{}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = f
		if strings.HasSuffix(e.Name(), ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatalf("%s: %v", e.Name(), err)
			}
		}
		files++
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var entry struct{ Request struct{ URI string } }
			if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
				t.Fatalf("%s: %v in %s", e.Name(), err, lines.Text())
			}
			if m := numberIn.FindStringSubmatch(entry.Request.URI); m != nil {
				numbers[m[1]]++
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return numbers, files
}
