package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// faultMemory is for how long the server remembers a failure of an upstream.
const faultMemory = 100 * time.Millisecond

// faultConfig is what someone would write who has to live with such an upstream: requests that may be repeated are,
// whatever goes wrong before the response; their bodies are kept for that; nothing may hang; and an upstream that fails is
// left alone for a while. Below /plain only try_duration is set.
const faultConfig = `{"admin":{"listen":%q},"logging":{"logs":{"default":{"level":"PANIC"}}},"apps":{"http":{"servers":{"faults":{
  "listen":["127.0.0.1:%d"],"protocols":["h1","h2c"],"routes":[
    {"match":[{"path":["/plain"]}],"handle":[{"handler":"reverse_proxy","upstreams":%[3]s,
      "load_balancing":{"try_duration":"10s","try_interval":"5ms"},"health_checks":%[4]s,"transport":%[5]s}]},
    {"handle":[{"handler":"reverse_proxy","upstreams":%[3]s,"request_buffers":1048576,
      "load_balancing":{"try_duration":"10s","try_interval":"5ms","retry_match":[{"method":["GET","HEAD","POST"]}]},
      "health_checks":%[4]s,"transport":%[5]s}]}]}}}}}`

const (
	faultHealth    = `{"passive":{"fail_duration":"100ms","max_fails":3}}`
	faultTransport = `{"protocol":"http","dial_timeout":"2s","response_header_timeout":"500ms","read_timeout":"700ms","max_response_header_size":65536}`
)

// faultTime is how long the faults go on: SLUICE_FAULTS, else some seconds.
func faultTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SLUICE_FAULTS")
	if text == "" {
		return 6 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SLUICE_FAULTS: %v", err)
	}
	return d
}

// TestFaults lets one of three upstreams go through all ways to go wrong, while clients ask. Each request has a body of
// its own, and so has each response, so that nothing can be mixed up unseen.
func TestFaults(t *testing.T) {
	ports := freePorts(t, 3)
	h := newHome(t, ports[0])
	launch(t, h, h.command(filepath.Join(tools, "sluice"), "run"))
	bad := newFaultUpstream(t, ports[2])
	var good []*goodUpstream
	var dials []string
	for range 2 {
		g := &goodUpstream{}
		s := httptest.NewServer(g)
		t.Cleanup(s.Close)
		good, dials = append(good, g), append(dials, strings.TrimPrefix(s.URL, "http://"))
	}
	dials = append(dials, bad.addr)
	ups := fmt.Sprintf(`[{"dial":%q},{"dial":%q},{"dial":%q}]`, dials[0], dials[1], dials[2])
	res, err := http.Post("http://"+h.admin+"/load", "application/json",
		strings.NewReader(fmt.Sprintf(faultConfig, h.admin, ports[1], ups, faultHealth, faultTransport)))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	if res.Body.Close(); res.StatusCode != http.StatusOK {
		t.Fatalf("loading: %s\n%s", res.Status, text)
	}
	bad.fails = func() int64 {
		n, _, _ := failsOf(h.admin, bad.addr)
		return n
	}

	run := &faultRun{bad: bad, byFault: map[string]*faultTally{}}
	ctx, cancel := context.WithTimeout(t.Context(), faultTime(t))
	defer cancel()
	go bad.run(t, t.Context().Done())
	site := fmt.Sprintf("127.0.0.1:%d", ports[1])
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() { run.ask(ctx, i, "/all", &faultClient1{site: site}) })
	}
	for i := range 2 {
		clients.Go(func() { run.ask(ctx, 10+i, "/plain", &faultClient1{site: site}) })
	}
	two := newFaultClient2(site)
	defer two.close()
	for i := range 6 {
		clients.Go(func() { run.ask(ctx, 20+i, "/all", two) })
	}
	clients.Wait()
	for _, dial := range dials {
		poll(t, "requests to end", func() error {
			_, running, err := failsOf(h.admin, dial)
			if err == nil && running > 0 {
				err = fmt.Errorf("%d on %s", running, dial)
			}
			return err
		})
	}
	run.report(t, good)
}

// faultRun counts.
type faultRun struct {
	bad *faultUpstream

	mu                                            sync.Mutex
	asked, asked2, posts, heads                   int
	ok, cut, wrong, failed, plain, raced, refused int
	byFault                                       map[string]*faultTally
	complaints                                    []string
}

// faultTally is what became of requests that met a fault last.
type faultTally struct{ ok, cut, failed int }

// faultResponse is what a client got.
type faultResponse struct {
	status      int
	from, token string
	length      int64
	body        []byte
	err         error // the connection or stream broke off
}

// faultAsker sends a request.
type faultAsker interface {
	ask(method, path, token string, seed uint64) faultResponse
}

// ask sends requests one after the other.
func (run *faultRun) ask(ctx context.Context, worker int, path string, client faultAsker) {
	random := rand.New(rand.NewPCG(uint64(worker), 5))
	pace := time.NewTicker(4 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		method := [...]string{"GET", "GET", "POST", "GET", "POST", "HEAD"}[random.IntN(6)]
		token, seed := fmt.Sprintf("w%d-%d", worker, n), random.Uint64()
		res := client.ask(method, path, token, seed)
		run.judge(method, path, token, seed, res)
		if _, two := client.(*faultClient2); two {
			run.mu.Lock()
			run.asked2++
			run.mu.Unlock()
		}
		<-pace.C
	}
}

// judge decides what a response is.
func (run *faultRun) judge(method, path, token string, seed uint64, res faultResponse) {
	seen := run.bad.sawOf(token)
	for end := time.Now().Add(time.Second); res.token == "poison" && !seen.raced && time.Now().Before(end); {
		wait(time.Millisecond) // the answer may come before the request gets there
		seen = run.bad.sawOf(token)
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	run.asked++
	switch method {
	case http.MethodPost:
		run.posts++
	case http.MethodHead:
		run.heads++
	}
	tally := &faultTally{}
	if seen.fault != nil {
		if run.byFault[seen.fault.name] == nil {
			run.byFault[seen.fault.name] = tally
		}
		tally = run.byFault[seen.fault.name]
	}
	want := faultBody(token, seed)
	unfinished := seen.fault != nil && seen.fault.phase == afterHeader && method != http.MethodHead
	switch {
	case res.status == 0 && res.err != nil && unfinished, res.status == 200 && res.err != nil && res.token == token && res.from == "faulty" && unfinished:
		if !bytes.HasPrefix(want, res.body) {
			run.complain(&run.wrong, "%s %s %s: before it was cut, the body was another's: %.60q", method, path, token, res.body)
			return
		}
		run.cut++
		tally.cut++
	case res.status != 200 && res.err == nil && path == "/plain" && method != http.MethodGet && (res.status == 502 || res.status == 504):
		run.plain++
		tally.failed++
	case res.status == 502 && res.err == nil && seen.fault != nil && seen.fault.phase == refusedAnswer:
		tally.failed++
		run.refused++
	case res.err != nil || res.status != 200:
		run.complain(&run.failed, "%s %s %s (fault %v): %d, %v", method, path, token, seen.name(), res.status, res.err)
		tally.failed++
	case res.token == "poison" && seen.raced:
		run.raced++
	case res.token != token || method != http.MethodHead && !bytes.Equal(res.body, want) || method == http.MethodHead && len(res.body) > 0 ||
		res.length >= 0 && res.length != int64(len(want)) || unfinished && res.from == "faulty":
		run.complain(&run.wrong, "%s %s %s (fault %v, from %s) looks complete, with the body of %q, %d bytes of %d", method, path, token, seen.name(), res.from, res.token, len(res.body), len(want))
	default:
		run.ok++
		tally.ok++
	}
}

func (s faultSeen) name() string {
	if s.fault == nil {
		return "none"
	}
	return s.fault.name
}

func (run *faultRun) complain(count *int, format string, args ...any) {
	if *count++; len(run.complaints) < 20 {
		run.complaints = append(run.complaints, fmt.Sprintf(format, args...))
	}
}

func (u *faultUpstream) sawOf(token string) faultSeen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen[token]
}

// report prints the figures, and fails the test where they are not as they should be.
func (run *faultRun) report(t *testing.T, good []*goodUpstream) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.bad.mu.Lock()
	defer run.bad.mu.Unlock()
	t.Logf("%d requests (%d over HTTP/2, %d POST, %d HEAD): %d answered, %d cut, %d errors although retried, %d errors where no retry was allowed, %d for a 101 nobody asked for, %d wrong, %d not to be told apart",
		run.asked, run.asked2, run.posts, run.heads, run.ok, run.cut, run.failed, run.plain, run.refused, run.wrong, run.raced)
	t.Logf("%-36s %-18s %6s %9s %5s %6s", "fault", "phase", "times", "answered", "cut", "errors")
	for _, f := range faults {
		r := run.byFault[f.name]
		if r == nil {
			r = &faultTally{}
		}
		t.Logf("%-36s %-18s %6d %9d %5d %6d", f.name, f.phase, run.bad.hits[f.name], r.ok, r.cut, r.failed)
		if run.bad.hits[f.name] < 2 {
			t.Errorf("%s: came up only %d times", f.name, run.bad.hits[f.name])
		}
	}
	wrong := run.bad.wrong
	for _, g := range good {
		g.mu.Lock()
		if g.asked == 0 {
			t.Error("a good upstream was never asked")
		}
		wrong = append(wrong, g.wrong...)
		g.mu.Unlock()
	}
	if run.failed > 0 || run.wrong > 0 || len(wrong) > 0 {
		t.Errorf("%d errors, %d wrong responses, %d wrong requests:\n%s\n%s", run.failed, run.wrong, len(wrong),
			strings.Join(run.complaints, "\n"), strings.Join(wrong[:min(len(wrong), 20)], "\n"))
	}
	if run.cut == 0 || run.ok == 0 {
		t.Error("nothing was cut, or nothing answered")
	}
}

// faultClient1 speaks HTTP/1.1 and keeps its connection, and does nothing behind one's back, as net/http's would: it sends
// each request once.
type faultClient1 struct {
	site string
	conn net.Conn
	r    *bufio.Reader
}

func (c *faultClient1) ask(method, path, token string, seed uint64) faultResponse {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.site)
		if err != nil {
			return faultResponse{err: err}
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	req, err := http.NewRequest(method, "http://faults.test"+path, nil)
	if err != nil {
		return faultResponse{err: err}
	}
	req.Header = http.Header{"X-Token": {token}, "X-Seed": {fmt.Sprint(seed)}}
	if body := faultUpload(method, token, seed); body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if seed%2 == 0 {
			req.ContentLength = -1
		}
	}
	// An error shows again when the response is read, unless there is one.
	_ = req.Write(c.conn)
	var res *http.Response
	for {
		res, err = http.ReadResponse(c.r, req)
		if err != nil {
			c.end()
			return faultResponse{err: err}
		}
		if res.StatusCode != http.StatusEarlyHints {
			break
		}
	}
	out := faultRead(res)
	if res.Close || out.err != nil {
		c.end()
	} else if c.r.Buffered() > 0 {
		c.end()
		out.err = errors.New("there is something after the response")
	}
	return out
}

func (c *faultClient1) end() {
	_ = c.conn.Close()
	c.conn = nil
}

// faultRead reads a response to its end.
func faultRead(res *http.Response) faultResponse {
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return faultResponse{res.StatusCode, res.Header.Get("X-From"), res.Header.Get("X-Token"), res.ContentLength, body, err}
}

// faultClient2 speaks HTTP/2.
type faultClient2 struct {
	site      string
	transport *http.Transport
}

func newFaultClient2(site string) *faultClient2 {
	c := &faultClient2{site, &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}}
	c.transport.Protocols.SetUnencryptedHTTP2(true)
	return c
}

func (c *faultClient2) close() { c.transport.CloseIdleConnections() }

func (c *faultClient2) ask(method, path, token string, seed uint64) faultResponse {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var body io.Reader
	if upload := faultUpload(method, token, seed); upload != nil {
		body = io.NopCloser(bytes.NewReader(upload))
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.site+path, body)
	if err != nil {
		return faultResponse{err: err}
	}
	req.Header = http.Header{"X-Token": {token}, "X-Seed": {fmt.Sprint(seed)}}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return faultResponse{err: err}
	}
	return faultRead(res)
}
