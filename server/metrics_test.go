package server_test

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
)

// measured is a document with metrics.
func measured(port int, metrics, routes string) string {
	return strings.Replace(site(port, routes), `"http":{`, `"http":{"metrics":`+metrics+`,`, 1)
}

// samples is what the registry serves of requests.
func (w *world) samples() map[string]string {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	out := map[string]string{}
	for line := range strings.Lines(rec.Body.String()) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") && strings.HasPrefix(line, "sluice_") {
			out[line[:i]] = line[i+1:]
		}
	}
	return out
}

// expect compares samples; "" is a series that must not be there. The last ones
// of a request come after its response, so they are waited for.
func (w *world) expect(want map[string]string) {
	w.t.Helper()
	var wrong []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		got := w.samples()
		wrong = nil
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				wrong = append(wrong, fmt.Sprintf("%s is %q, want %q", name, got[name], want[name]))
			}
		}
		if wrong == nil {
			return
		}
	}
	w.t.Error(strings.Join(wrong, "\n"))
}

// raw sends bytes and returns the status line.
func raw(t *testing.T, port int, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestMetricsOfRequests(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(measured(port, `{}`, `
		{"match":[{"path":["/fail"]}],"handle":[{"handler":"fail","status":418}]},
		{"match":[{"path":["/plain"]}],"handle":[{"handler":"fail","plain":true}]},
		{"match":[{"path":["/panic"]}],"handle":[{"handler":"fail","panic":true}]},
		{"match":[{"path":["/held"]}],"handle":[{"handler":"held"}]},
		{"match":[{"path":["/two"]}],"handle":[{"handler":"pass"}]},
		{"match":[{"path":["/two"]}],"handle":[{"handler":"show","text":"two"}]},
		{"match":[{"path":["/empty"]}]},
		{"match":[{"path":["/silent"]}],"handle":[{"handler":"pass"}]},
		{"match":[{"path":["/say"]}],"handle":[{"handler":"say","body":"four"},{"handler":"fail"}]}`))
	do := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
		}
	}
	do("GET", "/say", "")
	do("GET", "/say", "")
	do("POST", "/say", strings.Repeat("x", 2000))
	raw(t, port, "get /say HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	do("PROPFIND", "/say", "")
	do("GET", "/fail", "")
	do("GET", "/plain", "")
	raw(t, port, "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n") // a client that asks again would count again
	do("GET", "/two", "")
	do("GET", "/empty", "")
	do("GET", "/silent", "")
	do("GET", "/none", "")
	say, fail := `handler="say",server="s"`, `handler="fail",server="s"`
	w.expect(map[string]string{
		"sluice_http_requests_total{" + say + "}":                                                                    "5",
		"sluice_http_request_errors_total{" + say + "}":                                                              "0",
		"sluice_http_requests_in_flight{" + say + "}":                                                                "0",
		`sluice_http_request_duration_seconds_count{code="200",handler="say",method="GET",server="s"}`:               "3",
		`sluice_http_response_duration_seconds_count{code="200",handler="say",method="GET",server="s"}`:              "3",
		`sluice_http_request_duration_seconds_count{code="200",handler="say",method="POST",server="s"}`:              "1",
		`sluice_http_request_duration_seconds_count{code="200",handler="say",method="OTHER",server="s"}`:             "1",
		`sluice_http_request_size_bytes_bucket{code="200",handler="say",method="POST",server="s",le="1024"}`:         "0",
		`sluice_http_request_size_bytes_bucket{code="200",handler="say",method="POST",server="s",le="4096"}`:         "1",
		`sluice_http_response_size_bytes_sum{code="200",handler="say",method="GET",server="s"}`:                      "12",
		`sluice_http_response_size_bytes_bucket{code="200",handler="say",method="GET",server="s",le="4.194304e+06"}`: "3",
		`sluice_http_request_duration_seconds_bucket{code="200",handler="say",method="GET",server="s",le="10"}`:      "3",
		"sluice_http_requests_total{" + fail + "}":                                                                   "3",
		"sluice_http_request_errors_total{" + fail + "}":                                                             "3",
		"sluice_http_requests_in_flight{" + fail + "}":                                                               "0",
		`sluice_http_request_duration_seconds_count{code="418",handler="fail",method="GET",server="s"}`:              "1",
		`sluice_http_response_duration_seconds_count{code="418",handler="fail",method="GET",server="s"}`:             "0",
		`sluice_http_response_size_bytes_count{code="418",handler="fail",method="GET",server="s"}`:                   "1",
		`sluice_http_request_duration_seconds_count{code="500",handler="fail",method="GET",server="s"}`:              "",
		`sluice_http_requests_total{handler="show",server="s"}`:                                                      "1",
		`sluice_http_requests_in_flight{handler="pass",server="s"}`:                                                  "0",
		`sluice_http_requests_total{handler="pass",server="s"}`:                                                      "1", // /silent
		`sluice_http_request_duration_seconds_count{code="200",handler="pass",method="GET",server="s"}`:              "1",
		`sluice_http_response_duration_seconds_count{code="200",handler="pass",method="GET",server="s"}`:             "0",
		`sluice_metrics_dropped_observations_total{metric="sluice_http_requests_total"}`:                             "",
	})
	var wg sync.WaitGroup
	wg.Go(func() { do("GET", "/held", "") })
	w.expect(map[string]string{`sluice_http_requests_in_flight{handler="held",server="s"}`: "1", `sluice_http_requests_total{handler="held",server="s"}`: "0"})
	// An edit in between keeps the counts, and what is in flight ends where it began.
	w.mustApply(w.change(config.Patch, "/apps/http/servers/s/routes/8/handle/0/body", `"five!"`))
	do("GET", "/say", "")
	close(w.hold)
	wg.Wait()
	w.expect(map[string]string{
		`sluice_http_requests_in_flight{handler="held",server="s"}`:                             "0",
		`sluice_http_requests_total{handler="held",server="s"}`:                                 "1",
		"sluice_http_requests_total{" + say + "}":                                               "6",
		`sluice_http_response_size_bytes_sum{code="200",handler="say",method="GET",server="s"}`: "17",
	})
	total := 0
	for name := range w.samples() {
		if strings.HasPrefix(name, "sluice_http_requests_total{") {
			total++
		}
	}
	if total != 5 {
		t.Errorf("%d series of requests_total, want 5", total)
	}
}

// TestMetricsOnAndOff: what is served follows the document, what was counted
// stays.
func TestMetricsOnAndOff(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	ask := func() { get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)) }
	plain, hosted := `sluice_http_requests_total{handler="say",server="s"}`, `sluice_http_requests_total{handler="say",host="_other",server="s"}`
	w.mustLoad(site(port, `{"handle":[{"handler":"say"}]}`))
	ask()
	w.expect(map[string]string{plain: "", hosted: ""})
	w.mustApply(w.change(config.Put, "/apps/http/metrics", `{}`))
	ask()
	w.expect(map[string]string{plain: "1", hosted: ""})
	w.mustApply(w.change(config.Put, "/apps/http/metrics/per_host", `true`))
	ask()
	ask()
	w.expect(map[string]string{plain: "", hosted: "2"})
	w.mustApply(w.change(config.Delete, "/apps/http/metrics", ""))
	ask()
	w.expect(map[string]string{plain: "", hosted: ""})
	w.mustApply(w.change(config.Put, "/apps/http/metrics", `{}`))
	ask()
	w.expect(map[string]string{plain: "2", hosted: ""})
	w.mustApply(w.change(config.Delete, "/apps", ""))
	w.expect(map[string]string{plain: ""})
}

// TestMetricsOlderPlace: metrics of a server are those of the app.
func TestMetricsOlderPlace(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	text := strings.Replace(site(port, `{"handle":[{"handler":"say"}]}`), `"listen"`, `"metrics":{"per_host":true,"observe_catchall_hosts":true},"listen"`, 1)
	if r := w.mustLoad(text); len(r.Warnings) != 1 || !strings.HasSuffix(r.Warnings[0].Pointer, "/servers/s/metrics") {
		t.Errorf("warnings %v", r.Warnings)
	}
	get(t, fmt.Sprintf("http://127.0.0.1:%d/", port))
	w.expect(map[string]string{`sluice_http_requests_total{handler="say",host="_other",server="s"}`: "1"})
	if _, err := w.load(measured(port, `{"per_hosts":true}`, "")); err == nil || !strings.Contains(err.Error(), "per_hosts") {
		t.Errorf("an unknown field: %v", err)
	}
	if _, err := w.load(measured(port, `{"max_series":-1}`, "")); err == nil || !strings.Contains(err.Error(), "/apps/http/metrics/max_series") {
		t.Errorf("a negative maximum: %v", err)
	}
}

func TestMetricsPerHost(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(measured(port, `{"per_host":true}`, `
		{"match":[{"host":["A.test","*.wild.test"]},{"host":["{env.NO_SUCH}","b.test"]}],"handle":[{"handler":"say"}]},
		{"handle":[{"handler":"say"}]}`))
	ask := func(host string) {
		t.Helper()
		if line := raw(t, port, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); line != "HTTP/1.1 200 OK" {
			t.Errorf("host %s: %s", host, line)
		}
	}
	of := func(host string) string {
		return `sluice_http_requests_total{handler="say",host="` + host + `",server="s"}`
	}
	for _, h := range []string{"a.test", "a.TEST", "b.test", "a.test:8080", "x.wild.test", "*.wild.test", "y.test", "new.test", "stranger"} {
		ask(h)
	}
	w.expect(map[string]string{of("a.test"): "2", of("b.test"): "1", of("_other"): "6", of("x.wild.test"): "", of("new.test"): "", of("*.wild.test"): ""})
	// A host that an edit brings is known from then on.
	w.mustApply(w.change(config.Put, "/apps/http/servers/s/routes/0", `{"match":[{"host":["new.test"]}],"handle":[{"handler":"say"}]}`))
	ask("new.test")
	w.expect(map[string]string{of("new.test"): "1", of("a.test"): "2", of("_other"): "6",
		`sluice_http_request_duration_seconds_count{code="200",handler="say",host="new.test",method="GET",server="s"}`: "1"})
	w.mustApply(w.change(config.Put, "/apps/http/metrics/observe_catchall_hosts", `true`))
	ask("STRANGER:80")
	w.expect(map[string]string{of("stranger:80"): "1", of("_other"): "6"})
}

// TestMetricsMaximum: what strangers send can't make series without end.
func TestMetricsMaximum(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(measured(port, `{"per_host":true,"observe_catchall_hosts":true,"max_series":16}`, `{"handle":[{"handler":"say"}]}`))
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for i := range 100 {
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: h%d\r\n\r\n", i); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	w.expect(map[string]string{
		`sluice_http_requests_total{handler="say",host="h13",server="s"}`:                                            "1",
		`sluice_http_requests_total{handler="say",host="h14",server="s"}`:                                            "",
		`sluice_http_requests_total{handler="say",host="_other",server="s"}`:                                         "86",
		`sluice_http_request_duration_seconds_count{code="200",handler="say",host="_other",method="GET",server="s"}`: "86",
		`sluice_metrics_dropped_observations_total{metric="sluice_http_requests_total"}`:                             "86",
		`sluice_metrics_dropped_observations_total{metric="sluice_http_request_duration_seconds"}`:                   "",
	})
	for name := range w.samples() {
		if strings.Contains(name, `server="_other"`) {
			t.Errorf("%s: there is room for the server's own", name)
		}
	}
	// More room is taken at once.
	w.mustApply(w.change(config.Patch, "/apps/http/metrics/max_series", `1000`))
	raw(t, port, "GET / HTTP/1.1\r\nHost: late\r\nConnection: close\r\n\r\n")
	w.expect(map[string]string{`sluice_http_requests_total{handler="say",host="late",server="s"}`: "1"})
}
