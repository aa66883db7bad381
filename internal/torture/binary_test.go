package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var binary = filepath.Join(os.TempDir(), "sluice-torture-"+strconv.Itoa(os.Getpid()))

func TestMain(m *testing.M) {
	out, err := exec.Command("go", "build", "-o", binary, "../../cmd/sluice").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.Remove(binary)
	os.Exit(code)
}

// instance is one running sluice with its own directories.
type instance struct {
	t     *testing.T
	dir   string
	admin string
	cmd   *exec.Cmd
	log   *bytes.Buffer
	done  chan error
	http  *http.Client
}

func freePort(t *testing.T) int {
	t.Helper()
	return porttest.Free(t, 1)[0]
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	in := &instance{t: t, dir: t.TempDir(), admin: fmt.Sprintf("127.0.0.1:%d", freePort(t)), http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(func() {
		in.http.CloseIdleConnections()
		in.kill()
	})
	return in
}

// start runs the binary and waits until it answers.
func (in *instance) start(before ...string) {
	in.t.Helper()
	in.launch(before...)
	in.await("/healthz")
}

func (in *instance) launch(before ...string) {
	in.t.Helper()
	args := append(before, binary, "run")
	in.cmd = exec.Command(args[0], args[1:]...)
	in.cmd.Dir = in.dir
	in.cmd.Env = append(os.Environ(), "HOME="+in.dir, "XDG_CONFIG_HOME="+in.dir+"/c", "XDG_DATA_HOME="+in.dir+"/d", "SLUICE_ADMIN="+in.admin, "CADDY_ADMIN=")
	in.log = &bytes.Buffer{}
	in.cmd.Stdout, in.cmd.Stderr = in.log, in.log
	if err := in.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	in.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(in.cmd, in.done)
}

func (in *instance) await(path string) {
	in.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err := in.http.Get("http://" + in.admin + path)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case err := <-in.done:
			in.t.Fatalf("sluice ended: %v\n%s", err, in.log)
		default:
		}
		if time.Now().After(end) {
			in.t.Fatalf("sluice does not answer: %v\n%s", err, in.log)
		}
	}
}

func (in *instance) kill() {
	if in.cmd == nil || in.cmd.Process == nil {
		return
	}
	_ = in.cmd.Process.Signal(syscall.SIGKILL)
	<-in.done
	in.cmd = nil
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (in *instance) try(method, path, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+in.admin+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := in.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

func (in *instance) do(method, path, body string, header ...string) answer {
	in.t.Helper()
	a, err := in.try(method, path, body, header...)
	if err != nil {
		in.t.Fatalf("%s %s: %v\n%s", method, path, err, tail(in.log))
	}
	return a
}

func (in *instance) must(method, path, body string, header ...string) answer {
	in.t.Helper()
	a := in.do(method, path, body, header...)
	if a.status != 200 {
		in.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

func tail(b *bytes.Buffer) string {
	s := b.String()
	return s[max(0, len(s)-3000):]
}

// rss is the resident memory in megabytes.
func (in *instance) rss() float64 {
	in.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.cmd.Process.Pid))
	if err != nil {
		in.t.Skip("needs /proc")
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// vitals are what a change that was not made must leave as it is.
type vitals struct {
	Goroutines, Files int
	Sockets           string
}

func (in *instance) vitals() vitals {
	in.t.Helper()
	in.http.CloseIdleConnections()
	a := in.must("GET", "/debug/pprof/goroutine?debug=1", "")
	var v vitals
	if _, err := fmt.Sscanf(a.body, "goroutine profile: total %d", &v.Goroutines); err != nil {
		in.t.Fatal(err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", in.cmd.Process.Pid))
	if err != nil {
		in.t.Skip("needs /proc")
	}
	v.Files = len(fds)
	v.Sockets = in.must("GET", "/reverse_proxy/upstreams", "").body
	return v
}

// memstats is the process's own account of its memory, after a collection.
func (in *instance) heapMB() float64 {
	in.t.Helper()
	in.must("GET", "/debug/pprof/heap?gc=1", "")
	var vars struct {
		MemStats struct{ HeapAlloc float64 } `json:"memstats"`
	}
	if err := json.Unmarshal([]byte(in.must("GET", "/debug/vars", "").body), &vars); err != nil {
		in.t.Fatal(err)
	}
	return vars.MemStats.HeapAlloc / 1e6
}

// routes is a configuration with n routes, the first of which answers by itself.
func routes(port, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"logging":{"logs":{"default":{"level":"ERROR"}}},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"automatic_https":{"disable":true},"routes":[`, port)
	b.WriteString(`{"@id":"first","match":[{"path":["/first"]}],"handle":[{"handler":"static_response","body":"first"}],"terminal":true}`)
	for i := range n {
		fmt.Fprintf(&b, `,{"@id":"r%d","match":[{"host":["app%d.test"]}],"handle":[{"handler":"headers","response":{"set":{"X-App":["%d"]}}},{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:%d"}]}],"terminal":true}`, i, i, i, 20000+i%40)
	}
	b.WriteString(`]}}}}}`)
	return b.String()
}
