package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary builds the server once for all tests. Where it cannot be built there
// is nothing to run, and the error says why.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-bench-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/sluice").CombinedOutput(); err != nil {
		return bin, fmt.Errorf("building the server: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	if status, is := child(os.Args[1:], os.Stderr); is {
		os.Exit(status)
	}
	status := m.Run()
	if bin, _ := binary(); bin != "" {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(status)
}

// program runs the program on the server, without peers and in a folder of its
// own, which must be empty afterwards. It returns status and output.
func program(t *testing.T, ctx context.Context, args ...string) (int, string) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	status := run(ctx, append([]string{"-bin", bin, "-peers", "", "-quick", "-limit", "1m"}, args...), &out, &out)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	for _, pid := range children(t) {
		t.Errorf("process %s still runs", pid)
	}
	return status, out.String()
}

// children lists the processes that this one has started and not waited for.
func children(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, f := range files {
		text, _ := os.ReadFile(f) // a thread may have ended
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// mustPrint checks that output has lines matching each pattern.
func mustPrint(t *testing.T, status int, out string, patterns ...string) {
	t.Helper()
	if status != 0 {
		t.Errorf("status %d", status)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)` + p).MatchString(out) {
			t.Errorf("nothing printed like %s", p)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestReload(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "reload", "-routes", "10,40", "-patches", "3")
	var want []string
	for _, n := range []string{"10", "40"} {
		for _, by := range []string{"hosts", "paths"} {
			want = append(want, `^N=`+n+` +`+by+` +sluice +load +\d+ ms  patch +[\d.]+ ms .*first \d+ us  last \d+ us \(x[\d.]+\)  rss [1-9]\d* -> [1-9]\d* MB  goroutines [1-9]\d* -> [1-9]\d*  restart [1-9]\d* ms$`)
		}
	}
	mustPrint(t, status, out, want...)
}

func TestReloadWithManyPatches(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "reload", "-routes", "10", "-by", "hosts", "-patches", "200")
	mustPrint(t, status, out, `^ +200 patches: 99% within [\d.]+ ms, slowest x[\d.]+ of the median, of 200 in a row typically x[\d.]+; live heap [1-9][\d.]* -> [1-9][\d.]* MB; stored [\d.]*[1-9][\d.]* MB, at most [\d.]*[1-9][\d.]* MB$`)
}

func TestProxy(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir()) // no wrk: the built-in generator
	status, out := program(t, t.Context(), "-case", "proxy", "-requests", "small,static,routes1000,post10k,big", "-period", "200ms")
	want := []string{`load from the built-in load generator$`, `^routes1000/small: sluice x[\d.]+$`}
	for _, kind := range []string{"small", "static", "routes1000", "post10k", "big"} {
		want = append(want, `^`+kind+` +sluice +[\d.]+ us CPU/request +[1-9]\d* requests/s  p99 +[\d.]+ ms$`)
	}
	mustPrint(t, status, out, want...)
}

func TestDrops(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "drops", "-reloads", "6")
	mustPrint(t, status, out, `^sluice +websocket +4 sent +0 lost$`, `^sluice +sse +4 sent +0 lost$`, `^sluice +download +[1-9]\d* sent +0 lost$`,
		`^sluice +keep-alive +[1-9]\d* sent +0 lost$`, `^sluice +fresh +[1-9]\d* sent +0 lost$`, `^sluice +dropped: 0 +6 changes`)
}

func TestStreams(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "streams")
	var want []string
	for _, kind := range []string{"grpc", "websocket", "sse"} {
		want = append(want, `^`+kind+` +direct +median +[1-9][\d.]* us  p99 +[1-9][\d.]* us  of +[1-9]\d*$`,
			`^`+kind+` +sluice +median +[1-9][\d.]* us  p99 +[1-9][\d.]* us  of +[1-9]\d*  added +-?[\d.]+ us$`)
	}
	mustPrint(t, status, out, want...)
}

func TestWebSockets(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "websockets", "-sockets", "60,1000000000")
	mustPrint(t, status, out, `^N=60 +sluice +-?[\d.]+ KB each  resident +[1-9][\d.]* -> +[1-9][\d.]* MB  of it live heap +-?[\d.]+ KB, stacks +-?[\d.]+ KB  limit 32 KB: (kept|MISSED)$`,
		`^N=60 +net/http +-?[\d.]+ KB each  resident .* stacks +-?[\d.]+ KB$`, `^N=1000000000 left out: a proxy would need 2000000500 open files`)
}

func TestSecure(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "tls", "-tls", "full,resumed,full12,resumed12,https1,h2,h3", "-period", "200ms")
	if status != 0 {
		t.Fatalf("status %d, printed %s", status, out)
	}
	for _, want := range []string{"full", "resumed", "full12", "resumed12", "https1", "h2", "h3"} {
		if !regexp.MustCompile(`(?m)^` + want + ` +sluice +[1-9][0-9.]* us CPU/(handshake|request) +[1-9]\d* `).MatchString(out) {
			t.Errorf("no figures of %s in %s", want, out)
		}
	}
}

// An interrupt in the middle ends everything.
func TestNames(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "names")
	if status != 0 || !strings.Contains(out, " 1 touched") || !strings.Contains(out, "PATCH of one route without TLS") {
		t.Errorf("status %d, printed %s", status, out)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
			if files, _ := filepath.Glob(filepath.Join(os.TempDir(), "sluice-bench-*", "sluice-*", "data", "*", "*")); len(files) > 0 {
				break // the server runs and has a store
			}
		}
		cancel(fmt.Errorf("interrupted"))
	}()
	start := time.Now()
	status, out := program(t, ctx, "-case", "reload", "-routes", "10", "-patches", "100000000")
	if status != 1 || !strings.Contains(out, "interrupted") {
		t.Errorf("status %d, printed %s", status, out)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestTimeLimit(t *testing.T) {
	status, out := program(t, t.Context(), "-case", "reload", "-routes", "10", "-patches", "100000000", "-limit", "500ms")
	if status != 1 || !strings.Contains(out, "not done within 500ms") {
		t.Errorf("status %d, printed %s", status, out)
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	bin, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	for name := range cases {
		var out bytes.Buffer
		if status := run(t.Context(), []string{"-bin", bin, "-peers", "", "-quick", "-case", name}, io.Discard, &out); status != 1 || !strings.Contains(out.String(), "ended before it listened") {
			t.Errorf("%s: status %d, printed %s", name, status, &out)
		}
	}
}

func TestCommandLine(t *testing.T) {
	bin, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"-bin /nowhere/sluice", "make build"},
		{"-case nonsense", "not one of reload, proxy, drops, streams, websockets"},
		{"-peers apache", "not one of nginx"},
		{"-routes 9", "at least 10"},
		{"-routes ten", "at least 10"},
		{"-patches 0", "-patches must be at least 1"},
		{"-period 1ms", "-period must be at least 100ms"},
		{"-sockets 9", "at least 10"},
		{"-names 9", "at least 10"},
		{"-tls 1.1", "not one of full"},
		{"-traffic smtp", "not one of grpc, websocket, sse"},
		{"-stream-rounds 0", "-stream-rounds must be at least 1"},
		{"-stream-period 1ms", "-stream-period must be at least 10ms"},
		{"-requests huge", "not one of small"},
		{"extra", "unexpected argument"},
		{"-no-such-flag", "not defined"},
	} {
		var out bytes.Buffer
		if status := run(t.Context(), append([]string{"-bin", bin}, strings.Fields(c.args)...), io.Discard, &out); status != 2 || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: status %d, printed %s; want %q", c.args, status, &out, c.want)
		}
	}
}

func TestQuickKeepsWhatWasAskedFor(t *testing.T) {
	bin, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"-bin", bin, "-quick", "-patches", "77", "-requests", "big"}, io.Discard)
	if err != nil || o.patches != 77 || fmt.Sprint(o.loads) != "[big]" || o.reloads != 12 || fmt.Sprint(o.routes) != "[10 200]" {
		t.Errorf("%+v, %v", o, err)
	}
}
