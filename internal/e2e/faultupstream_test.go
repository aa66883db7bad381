package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	hosts "github.com/sluiceproxy/sluice/upstream"
)

// faultPhase is where the client stands when a fault strikes.
type faultPhase uint8

const (
	beforeHeader  faultPhase = iota // nothing was passed on: another upstream's turn
	refusedAnswer                   // a whole response that cannot be passed on: 502
	afterHeader                     // the rest of the response is missing: the client's connection is cut
	afterwards                      // the response is complete; what follows it must reach nobody
)

func (p faultPhase) String() string {
	return [...]string{"before the header", "instead of a header", "after the header", "after the response"}[p]
}

// fault is one way in which an upstream can go wrong. say gets a connection on which a request was read, and reports
// whether the connection can serve another.
type fault struct {
	name  string
	phase faultPhase
	say   func(c net.Conn, a faultAnswer) bool
}

// faultAnswer is the right answer to a request.
type faultAnswer struct {
	token string
	head  bool
	body  []byte
}

// fields is the header of the right answer but for how it is framed.
func (a faultAnswer) fields() string {
	return statusOK + "X-From: faulty\r\nX-Token: " + a.token + "\r\n"
}

func (a faultAnswer) length() string { return fmt.Sprintf("Content-Length: %d\r\n", len(a.body)) }

// sized is the right answer with a Content-Length.
func (a faultAnswer) sized() string {
	s := a.fields() + a.length() + "\r\n"
	if a.head {
		return s
	}
	return s + string(a.body)
}

// inChunks is a body in chunks, without the last one.
func inChunks(body []byte) string {
	var b strings.Builder
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 3000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	return b.String()
}

const chunkedField = "Transfer-Encoding: chunked\r\n"

// chunked is the right answer in chunks.
func (a faultAnswer) chunked() string {
	s := a.fields() + chunkedField + "\r\n"
	if a.head {
		return s
	}
	return s + inChunks(a.body) + "0\r\n\r\n"
}

// poison is a whole response that nobody asked for.
const poison = "HTTP/1.1 200 OK\r\nX-Token: poison\r\nContent-Length: 6\r\n\r\npoison"

// lateWait is how long an upstream waits for another request before it sends an answer that nobody asked for.
const lateWait = 10 * time.Millisecond

// raceWindow is how long after it a request may still have been sent before it was there to be seen.
const raceWindow = 50 * time.Millisecond

// says is a fault that sends a text and ends the connection.
func says(text func(a faultAnswer) string) func(net.Conn, faultAnswer) bool {
	return func(c net.Conn, a faultAnswer) bool {
		_, _ = io.WriteString(c, text(a))
		return false
	}
}

// hangs sends a text and then nothing, until the other side gives up.
func hangs(text func(a faultAnswer) string) func(net.Conn, faultAnswer) bool {
	return func(c net.Conn, a faultAnswer) bool {
		_, _ = io.WriteString(c, text(a))
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.Copy(io.Discard, c)
		return false
	}
}

// keeps sends a text and lets the connection live.
func keeps(text func(a faultAnswer) string) func(net.Conn, faultAnswer) bool {
	return func(c net.Conn, a faultAnswer) bool {
		_, err := io.WriteString(c, text(a))
		return err == nil
	}
}

// resets sends a text and resets the connection.
func resets(text func(a faultAnswer) string) func(net.Conn, faultAnswer) bool {
	return func(c net.Conn, a faultAnswer) bool {
		_, _ = io.WriteString(c, text(a))
		reset(c)
		return false
	}
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func fixed(text string) func(faultAnswer) string { return func(faultAnswer) string { return text } }

const statusOK = "HTTP/1.1 200 OK\r\n"

// broken is the right header and half of the body with its length given.
func broken(a faultAnswer) string {
	return a.fields() + a.length() + "\r\n" + string(a.body[:len(a.body)/2])
}

// brokenChunks is the right header and half of the body in chunks, or all of it, and what comes then.
func brokenChunks(all bool, end string) func(faultAnswer) string {
	return func(a faultAnswer) string {
		if !all {
			a.body = a.body[:len(a.body)/2]
		}
		return a.fields() + chunkedField + "\r\n" + inChunks(a.body) + end
	}
}

const (
	refusing  = "refuses connections"
	resetting = "accepts and resets"
	lateName  = "a second response later"
)

// faults are all of them, in the order in which they come up. Those without a function concern connections and not
// requests.
var faults = []fault{
	{name: refusing},
	{name: resetting},
	{"resets after the request", beforeHeader, resets(fixed(""))},
	{"hangs before the header", beforeHeader, hangs(fixed(""))},
	{"hangs in the header", beforeHeader, hangs(func(a faultAnswer) string { return a.fields() + "Content-" })},
	{"garbage", beforeHeader, keeps(fixed("\x00\x01\x02 this is no HTTP\r\n\r\n"))},
	{"garbage without an end", beforeHeader, says(fixed(strings.Repeat("\xff", 9000)))},
	{"another protocol", beforeHeader, says(fixed("SSH-2.0-OpenSSH_9.2p1\r\n"))},
	{"bad status line", beforeHeader, keeps(fixed("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"))},
	{"oversized field", beforeHeader, says(func(a faultAnswer) string {
		return a.fields() + "X-Big: " + strings.Repeat("b", 200_000) + "\r\n" + a.length() + "\r\n" + string(a.body)
	})},
	{"too many fields", beforeHeader, says(func(a faultAnswer) string {
		return a.fields() + strings.Repeat("X-Many: again and again\r\n", 9000) + a.length() + "\r\n" + string(a.body)
	})},
	{"conflicting lengths", beforeHeader, keeps(func(a faultAnswer) string {
		return a.fields() + a.length() + "Content-Length: 5\r\n\r\n" + string(a.body)
	})},
	{"list of lengths", beforeHeader, keeps(fixed(statusOK + "Content-Length: 6, 6\r\n\r\npoison"))},
	{"signed length", beforeHeader, keeps(fixed(statusOK + "Content-Length: +6\r\n\r\npoison"))},
	{"unknown coding", beforeHeader, keeps(fixed(statusOK + "Transfer-Encoding: xchunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n"))},
	{"folded coding", beforeHeader, keeps(fixed(statusOK + "Transfer-Encoding:\r\n chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n"))},
	{"endless informational responses", beforeHeader, func(c net.Conn, a faultAnswer) bool {
		for range 200_000 {
			if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"); err != nil {
				break
			}
		}
		return false
	}},
	{"switching protocols unasked", refusedAnswer, keeps(fixed("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + poison))},
	{"closes before the header", beforeHeader, says(fixed(""))},
	{"closes in the status line", beforeHeader, says(fixed("HTTP/1."))},
	{"closes in the header", beforeHeader, says(func(a faultAnswer) string { return a.fields() + "Content-Le" })},

	{"hangs in a body with length", afterHeader, hangs(broken)},
	{"hangs in a chunked body", afterHeader, hangs(brokenChunks(false, ""))},
	{"closes in a body with length", afterHeader, says(broken)},
	{"closes between chunks", afterHeader, says(brokenChunks(false, ""))},
	{"closes before the last chunk", afterHeader, says(brokenChunks(true, ""))},
	{"closes in a chunk", afterHeader, says(brokenChunks(false, "100\r\n"))},
	{"closes before the end of trailers", afterHeader, says(brokenChunks(true, "0\r\nX-A: b\r\n"))},
	{"resets in a body", afterHeader, resets(broken)},
	{"bad chunk size", afterHeader, keeps(brokenChunks(false, "zz\r\npoison\r\n0\r\n\r\n"))},
	{"negative chunk size", afterHeader, keeps(brokenChunks(false, "-6\r\npoison\r\n0\r\n\r\n"))},
	{"huge chunk size", afterHeader, keeps(brokenChunks(false, "fffffffffffffffff6\r\npoison\r\n0\r\n\r\n"))},
	{"chunk longer than its size", afterHeader, keeps(brokenChunks(false, "3\r\npoison\r\n0\r\n\r\n"))},
	{"chunk with bare LF", afterHeader, keeps(brokenChunks(false, "6\npoison\n0\n\n"))},

	{"length and chunks", afterwards, keeps(func(a faultAnswer) string {
		return strings.Replace(a.chunked(), chunkedField, "Content-Length: 3\r\n"+chunkedField, 1) + poison
	})},
	{"surplus bytes", afterwards, keeps(func(a faultAnswer) string { return a.sized() + "surplus" })},
	{"a second response behind a length", afterwards, keeps(func(a faultAnswer) string { return a.sized() + poison })},
	{"a second response behind chunks", afterwards, keeps(func(a faultAnswer) string { return a.chunked() + poison })},
	{"a body for a HEAD", afterwards, keeps(func(a faultAnswer) string { a.head = false; return a.sized() })},
	{lateName, afterwards, func(c net.Conn, a faultAnswer) bool {
		_, err := io.WriteString(c, a.sized())
		return err == nil
	}},
	{"closes without a word", afterwards, says(faultAnswer.sized)},
}

// faultBody is the body that belongs to a token and a seed: no two are alike.
func faultBody(token string, seed uint64) []byte {
	h := fnv.New64a()
	_, _ = io.WriteString(h, token)
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	n := []int{20, 100, 4096, 9000, 70_000}[r.IntN(5)] + r.IntN(50)
	b := make([]byte, 0, n+8)
	b = append(append(b, token...), '\n')
	for len(b) < n {
		b = strconv.AppendUint(b, r.Uint64(), 36)
	}
	return b
}

// faultSeen is what an upstream did with a request.
type faultSeen struct {
	fault *fault
	// raced: the request crossed an answer that nobody had asked for, so that nobody could have told.
	raced bool
}

// faultUpstream is an upstream that goes through the faults, each a few times and then the next.
type faultUpstream struct {
	addr  string
	fails func() int64 // of this upstream, as the server counts them

	mu     sync.Mutex
	conns  map[net.Conn]bool
	ln     net.Listener
	at     int // the present fault
	times  int // how often it came up in this turn
	turn   chan struct{}
	seen   map[string]faultSeen
	hits   map[string]int
	resets bool
	wrong  []string // requests that are not as they were sent
	ended  bool
}

// faultTimes is how often a fault comes up before the next one.
const faultTimes = 3

func newFaultUpstream(t *testing.T, port int) *faultUpstream {
	t.Helper()
	u := &faultUpstream{
		addr: fmt.Sprintf("127.0.0.1:%d", port), conns: map[net.Conn]bool{}, turn: make(chan struct{}, 1), at: 2,
		seen: map[string]faultSeen{}, hits: map[string]int{},
	}
	u.open(t)
	t.Cleanup(func() {
		u.mu.Lock()
		u.ended = true
		u.mu.Unlock()
		u.shut()
	})
	return u
}

func (u *faultUpstream) open(t *testing.T) {
	ln, err := net.Listen("tcp", u.addr)
	if err != nil {
		t.Errorf("opening the faulty upstream: %v", err)
		return
	}
	u.mu.Lock()
	u.ln = ln
	u.mu.Unlock()
	go u.accept(ln)
}

// shut closes the listener and all connections.
func (u *faultUpstream) shut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	_ = u.ln.Close()
	u.drop()
}

// drop closes all connections. mu is held.
func (u *faultUpstream) drop() {
	for c := range u.conns {
		_ = c.Close()
	}
	clear(u.conns)
}

func (u *faultUpstream) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		u.mu.Lock()
		if u.ended || u.resets {
			u.hits[resetting]++
			u.mu.Unlock()
			reset(c)
			continue
		}
		u.conns[c] = true
		u.mu.Unlock()
		go u.serve(c)
	}
}

// present returns the fault for the next request, and moves on after some.
func (u *faultUpstream) present(token string) *fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := &faults[u.at]
	if f.say == nil { // a request that came just before the connections were dropped
		f = &fault{"dropped", beforeHeader, says(fixed(""))}
	} else if u.times++; u.times >= faultTimes {
		u.next()
	}
	u.hits[f.name]++
	u.seen[token] = faultSeen{fault: f}
	return f
}

// next goes on to the next fault. mu is held.
func (u *faultUpstream) next() {
	u.at, u.times = (u.at+1)%len(faults), 0
	if faults[u.at].say == nil {
		u.turn <- struct{}{}
	}
}

// run takes the turns of the faults that concern connections, until done is closed.
func (u *faultUpstream) run(t *testing.T, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-u.turn:
		}
		u.mu.Lock()
		name := faults[u.at].name
		u.resets = name == resetting
		u.drop()
		u.mu.Unlock()
		if name == refusing {
			u.shut()
		}
		// What is counted at the end is from this turn: failures are forgotten sooner than it ends.
		wait(3 * faultMemory / 2)
		if name == refusing {
			n := u.fails()
			u.mu.Lock()
			u.hits[refusing] += int(n)
			u.mu.Unlock()
			u.open(t)
		}
		u.mu.Lock()
		u.resets = false
		u.next()
		u.mu.Unlock()
	}
}

func wait(d time.Duration) { <-time.After(d) }

// serve answers the requests of a connection.
func (u *faultUpstream) serve(c net.Conn) {
	defer func() {
		u.mu.Lock()
		delete(u.conns, c)
		u.mu.Unlock()
		_ = c.Close()
	}()
	r := bufio.NewReader(c)
	var poisoned time.Time
	for {
		a, ok := u.read(r)
		if !ok {
			return
		}
		if !poisoned.IsZero() && time.Since(poisoned) < raceWindow {
			u.mu.Lock()
			u.seen[a.token] = faultSeen{raced: true}
			u.mu.Unlock()
			return // else every answer would be that to the request before
		}
		f := u.present(a.token)
		if !f.say(c, a) {
			return
		}
		if f.name == lateName {
			_ = c.SetReadDeadline(time.Now().Add(lateWait))
			if _, err := r.Peek(1); err == nil {
				continue
			}
			_ = c.SetReadDeadline(time.Time{})
			// What is sent now may cross a request that was sent already.
			poisoned = time.Now()
			if _, err := io.WriteString(c, poison); err != nil {
				return
			}
		}
	}
}

// read reads a request, and checks that it is as it was sent.
func (u *faultUpstream) read(r *bufio.Reader) (faultAnswer, bool) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return faultAnswer{}, false
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return faultAnswer{}, false
	}
	a, complaint := faultAnswerTo(req, body)
	if complaint != "" {
		u.mu.Lock()
		u.wrong = append(u.wrong, complaint)
		u.mu.Unlock()
	}
	return a, true
}

// faultAnswerTo is the right answer to a request, and what is wrong with the request.
func faultAnswerTo(r *http.Request, body []byte) (faultAnswer, string) {
	token := r.Header.Get("X-Token")
	seed, err := strconv.ParseUint(r.Header.Get("X-Seed"), 10, 64)
	if err != nil || token == "" || len(r.Header["X-Token"]) != 1 {
		return faultAnswer{}, fmt.Sprintf("a request that nobody sent: %s %s %v", r.Method, r.RequestURI, r.Header)
	}
	if want := faultUpload(r.Method, token, seed); !bytes.Equal(body, want) {
		return faultAnswer{}, fmt.Sprintf("%s %s with a body of %d bytes, want %d: %.60q", r.Method, token, len(body), len(want), body)
	}
	return faultAnswer{token, r.Method == http.MethodHead, faultBody(token, seed)}, ""
}

// faultUpload is the body that a request has.
func faultUpload(method, token string, seed uint64) []byte {
	if method != http.MethodPost {
		return nil
	}
	return faultBody("up "+token, seed)
}

// goodUpstream answers as it should.
type goodUpstream struct {
	mu    sync.Mutex
	wrong []string
	asked int
}

// ServeHTTP implements http.Handler.
func (g *goodUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the proxy has given up
	}
	a, complaint := faultAnswerTo(r, body)
	g.mu.Lock()
	g.asked++
	if complaint != "" {
		g.wrong = append(g.wrong, complaint)
	}
	g.mu.Unlock()
	w.Header().Set("X-Token", a.token)
	if len(a.body)%2 == 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	_, _ = w.Write(a.body)
}

// failsOf asks the server for the failures that it remembers of an upstream, and the requests that run on it.
func failsOf(admin, dial string) (fails, running int64, err error) {
	res, err := http.Get("http://" + admin + "/reverse_proxy/upstreams")
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	var list []hosts.Status
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return 0, 0, err
	}
	for _, e := range list {
		if e.Address == dial {
			return e.Fails, e.NumRequests, nil
		}
	}
	return 0, 0, fmt.Errorf("%s is not among %v", dial, list)
}
