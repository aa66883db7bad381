package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluiceproxy/sluice/internal/porttest"
)

// upgraded is a server whose program can be replaced.
type upgraded struct {
	*secured
	exe    string // the program's file
	plain  string // address of a server without TLS
	unix   string // its socket
	pid    string // the pid file
	log    *os.File
	source *streamSource
}

// newUpgraded starts a server with all kinds of listeners, and files that only one process can have.
func newUpgraded(t *testing.T, more func(*upgraded, *exec.Cmd)) *upgraded {
	t.Helper()
	ports, port := freePorts(t, 3), porttest.FreeBoth(t, 1)[0]
	u := &upgraded{secured: &secured{t: t, h: newHome(t, ports[0]), https: fmt.Sprintf("127.0.0.1:%d", port), http: fmt.Sprintf("127.0.0.1:%d", ports[1]), port: port}}
	short, err := os.MkdirTemp("", "up") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	u.exe, u.pid, u.unix = filepath.Join(short, "sluice"), filepath.Join(short, "pid"), filepath.Join(short, "s")
	u.plain, u.source = fmt.Sprintf("127.0.0.1:%d", ports[2]), newStreamSource(t)
	u.admin = "http://" + u.h.admin
	u.e = &editor{t, u.admin, &http.Client{Timeout: patience}}
	u.install("")
	file := filepath.Join(u.h.dir, "sluice.json")
	if err := os.WriteFile(file, []byte(toJSON(t, u.document())), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := u.h.command(u.exe, "run", "--config", file, "--pidfile", u.pid)
	if more != nil {
		more(u, cmd)
	}
	u.run(cmd)
	var info struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal([]byte(u.get("/pki/ca/local")), &info); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(info.Root))
	if block == nil {
		t.Fatalf("the root is %q", info.Root)
	}
	if u.root, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	u.visitor("HTTP/2.0", u.trust()).expect(u.secured, "localhost", "hello HTTP/2.0")
	return u
}

// run starts the first process. All of them write to one file: a pipe would keep the test waiting for the last.
func (u *upgraded) run(cmd *exec.Cmd) {
	u.t.Helper()
	var err error
	if u.log, err = os.Create(filepath.Join(u.h.dir, "log")); err != nil {
		u.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = u.log, u.log
	u.t.Cleanup(func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whoever serves is in the group
		}
		if strings.Contains(u.logged(), "DATA RACE") {
			u.t.Error("a data race")
		}
		if u.t.Failed() {
			u.t.Logf("the log:\n%s", u.logged())
		}
		u.log.Close()
	})
	u.s = launch(u.t, u.h, cmd)
}

func (u *upgraded) logged() string {
	text, _ := os.ReadFile(u.log.Name())
	return string(text)
}

// document has a server with TLS and one without, which have a proxy.
func (u *upgraded) document() object {
	streams := object{"match": []any{object{"path": []string{"/streams/*"}}}, "terminal": true,
		"handle": []any{object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": u.source.dial()}}}}}
	doc := u.config(streams,
		object{"match": []any{object{"path": []string{"/acme/*"}}}, "handle": []any{object{"handler": "acme_server"}}, "terminal": true},
		helloRoute("hello", "localhost"))
	doc["logging"] = object{"logs": object{"default": object{"level": "INFO"}}}
	doc["storage"] = object{"module": "bolt", "path": filepath.Join(u.h.dir, "certificates.db")}
	doc["apps"].(object)["http"].(object)["servers"].(object)["plain"] = object{
		"listen": []string{u.plain, "unix/" + u.unix + "|0222"}, "automatic_https": object{"disable": true},
		"routes": []any{streams, object{"handle": []any{object{"@id": "page", "handler": "static_response", "body": "revision 0"}}}},
	}
	return doc
}

// install puts another program in place, as mv does; none is the right one.
func (u *upgraded) install(script string) {
	u.t.Helper()
	next := u.exe + ".next"
	var err error
	if script != "" {
		err = os.WriteFile(next, []byte(script), 0o700)
	} else if err = os.Link(filepath.Join(tools, "sluice"), next); err != nil {
		var text []byte
		if text, err = os.ReadFile(filepath.Join(tools, "sluice")); err == nil {
			err = os.WriteFile(next, text, 0o700)
		}
	}
	if err = errors.Join(err, os.Rename(next, u.exe)); err != nil {
		u.t.Fatal(err)
	}
}

// serving is the process in the pid file.
func (u *upgraded) serving() int {
	u.t.Helper()
	text, err := os.ReadFile(u.pid)
	if err != nil {
		u.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		u.t.Fatal(err)
	}
	return pid
}

// upgrade asks for one.
func (u *upgraded) upgrade(query string) (status int, answer string) {
	u.t.Helper()
	res, err := (&http.Client{Timeout: patience}).Post(u.admin+"/upgrade"+query, "", nil)
	if err != nil {
		u.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// succeeds is an upgrade that must; it returns the processes.
func (u *upgraded) succeeds(query string) (before, after int) {
	u.t.Helper()
	before = u.serving()
	status, text := u.upgrade(query)
	var done struct {
		Old    int     `json:"old_pid"`
		New    int     `json:"new_pid"`
		Paused float64 `json:"paused_ms"`
	}
	if err := json.Unmarshal([]byte(text), &done); err != nil || status != 200 || done.Old != before || done.New == before || u.serving() != done.New {
		u.t.Fatalf("%d %s; process %d served, %d does", status, text, before, u.serving())
	}
	u.t.Logf("process %d took over from %d; no edits for %.1f ms", done.New, before, done.Paused)
	return before, done.New
}

// running reports whether a process is there. One that has ended may be a zombie, if nobody waits for it.
func running(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// gone waits until a process has ended.
func (u *upgraded) gone(pid int) {
	u.t.Helper()
	poll(u.t, fmt.Sprintf("the end of process %d", pid), func() error {
		if running(pid) {
			return errors.New("it runs")
		}
		return nil
	})
}

// descriptors counts what a process has open.
func descriptors(pid int) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list)
}

// blocking lists the sockets of a process that are not in non-blocking mode, as all of a Go program are.
func blocking(pid int) (list []string) {
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, f := range files {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, f.Name()))
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, f.Name()))
		_, rest, found := strings.Cut(string(info), "flags:\t")
		flags, _ := strconv.ParseUint(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 8, 64)
		if err == nil && found && strings.HasPrefix(to, "socket:") && flags&syscall.O_NONBLOCK == 0 {
			list = append(list, f.Name())
		}
	}
	return list
}

// keptAlive is a client that sends requests over one connection, without ever repeating one, until a response says that
// the connection ends.
func keptAlive(dial func() (net.Conn, error)) func(n int) error {
	var conn net.Conn
	var r *bufio.Reader
	return func(n int) (err error) {
		if conn == nil {
			if conn, err = dial(); err != nil {
				return err
			}
			r = bufio.NewReader(conn)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		method, body := "GET", ""
		if n%2 == 1 {
			method, body = "POST", "something"
		}
		if _, err = fmt.Fprintf(conn, "%s /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body); err != nil {
			return err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(text), "revision ") {
			return fmt.Errorf("%s %q %v", res.Status, text, err)
		}
		if res.Close {
			_ = conn.Close()
			conn = nil
		}
		return nil
	}
}

// load is clients that send requests until they are told to stop.
type load struct {
	t     *testing.T
	wg    sync.WaitGroup
	stop  chan struct{}
	kinds []*loadKind
	// finish ends all clients.
	finish func()
}

type loadKind struct {
	name         string
	done, failed atomic.Int64
}

// newLoad makes one without clients, which ends with the test.
func newLoad(t *testing.T) *load {
	l := &load{t: t, stop: make(chan struct{})}
	l.finish = sync.OnceFunc(func() {
		close(l.stop)
		l.wg.Wait()
	})
	t.Cleanup(l.finish)
	return l
}

// add starts clients; each one is made by client.
func (l *load) add(name string, clients int, client func() func(n int) error) {
	k := &loadKind{name: name}
	l.kinds = append(l.kinds, k)
	for range clients {
		ask := client()
		l.wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if err := ask(n); err != nil {
					if k.failed.Add(1) <= 3 {
						l.t.Errorf("%s, request %d: %v", name, n, err)
					}
					continue
				}
				k.done.Add(1)
				<-time.After(2 * time.Millisecond) // so that there is time for all kinds
			}
		})
	}
}

// goesOn waits until each kind has sent some more.
func (l *load) goesOn() {
	l.t.Helper()
	for _, k := range l.kinds {
		from := k.done.Load()
		poll(l.t, k.name+" to go on", func() error {
			if got := k.done.Load() - from; got < 20 {
				return fmt.Errorf("%d requests only", got)
			}
			return nil
		})
	}
}

func (l *load) end() {
	l.finish()
	for _, k := range l.kinds {
		l.t.Logf("%s: %d requests, %d failed", k.name, k.done.Load(), k.failed.Load())
	}
}

// over makes a client of a transport.
func (u *upgraded) over(via http.RoundTripper, url, want string) func(int) error {
	client := &http.Client{Transport: via, Timeout: patience}
	return func(int) error {
		res, err := client.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(text), want) {
			return fmt.Errorf("%s %q %v", res.Status, text, err)
		}
		return nil
	}
}

// clients are of all kinds.
func (u *upgraded) clients(l *load) {
	dialing := func(network, address string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return net.DialTimeout(network, address, patience) }
	}
	secure := fmt.Sprintf("https://localhost:%d/", u.port)
	toServer := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", u.https)
	}
	l.add("HTTP/1.1, kept alive, never repeated", 3, func() func(int) error { return keptAlive(dialing("tcp", u.plain)) })
	l.add("HTTP/1.1 over a unix socket, kept alive", 1, func() func(int) error { return keptAlive(dialing("unix", u.unix)) })
	l.add("HTTP/1.1, a connection each", 2, func() func(int) error {
		return u.over(&http.Transport{DisableKeepAlives: true}, "http://"+u.plain+"/", "revision")
	})
	l.add("HTTP/1.1 with TLS, a connection each", 1, func() func(int) error {
		return u.over(&http.Transport{DisableKeepAlives: true, TLSClientConfig: u.trust(), DialContext: toServer}, secure, "hello HTTP/1.1")
	})
	l.add("HTTP/2", 2, func() func(int) error {
		t := &http.Transport{TLSClientConfig: u.trust(), ForceAttemptHTTP2: true, DialContext: toServer}
		u.t.Cleanup(t.CloseIdleConnections)
		return u.over(t, secure, "hello HTTP/2.0")
	})
	h3 := func() *http3.Transport {
		return &http3.Transport{TLSClientConfig: u.trust(), Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, u.https, c, q)
		}}
	}
	l.add("HTTP/3", 2, func() func(int) error {
		t := h3()
		u.t.Cleanup(func() { _ = t.Close() })
		return u.over(t, secure, "hello HTTP/3.0")
	})
	l.add("HTTP/3, a connection each", 1, func() func(int) error {
		return func(n int) error {
			t := h3()
			defer t.Close()
			return u.over(t, secure, "hello HTTP/3.0")(n)
		}
	})
}

// edit keeps editing, and repeats what is refused for the moment. The result tells the last edit that was accepted.
func (u *upgraded) edit(l *load) (accepted, refused *atomic.Int64) {
	accepted, refused = new(atomic.Int64), new(atomic.Int64)
	l.add("edits", 1, func() func(int) error {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
		return func(n int) error {
			for {
				req, _ := http.NewRequest("PATCH", u.admin+"/id/page/body", strings.NewReader(fmt.Sprintf("%q", fmt.Sprint("revision ", n+1))))
				req.Header.Set("Content-Type", "application/json")
				res, err := client.Do(req)
				if err != nil {
					return err
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				switch {
				case res.StatusCode == 503 && res.Header.Get("Retry-After") != "":
					refused.Add(1)
					<-time.After(time.Millisecond)
					continue
				case res.StatusCode != 200:
					return fmt.Errorf("%s %s", res.Status, text)
				}
				accepted.Store(int64(n + 1))
				return nil
			}
		}
	})
	return accepted, refused
}

// longLived is streams that were opened before any upgrade.
type longLived struct {
	ws, sse []*stream
	h3      *http3.RequestStream
	source  *streamSource
}

func (u *upgraded) longLived() *longLived {
	u.t.Helper()
	l := &longLived{source: u.source}
	open := func(request string, status int) *stream {
		s, err := openStream(u.plain, request, status)
		if err != nil {
			u.t.Fatal(err)
		}
		u.t.Cleanup(func() { s.Close() })
		return s
	}
	for range 5 {
		l.ws = append(l.ws, open("GET /streams/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 101))
		l.sse = append(l.sse, open("GET /streams/sse HTTP/1.1\r\nHost: x\r\n\r\n", 200))
	}
	s, err := u.secureStream("localhost")
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { s.Close() })
	l.ws = append(l.ws, s)
	for _, s := range l.sse {
		if err := s.event("welcome"); err != nil {
			u.t.Fatal(err)
		}
	}
	ctx := u.t.Context()
	config := u.trust()
	config.ServerName, config.NextProtos = "localhost", []string{"h3"}
	conn, err := quic.DialAddr(ctx, u.https, config, &quic.Config{MaxIdleTimeout: patience})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	r, _ := http.NewRequestWithContext(ctx, http.MethodConnect, fmt.Sprintf("https://localhost:%d/streams/ws", u.port), nil)
	r.Proto = "websocket"
	r.Header["Sec-Websocket-Version"] = []string{"13"}
	if l.h3, err = (&http3.Transport{}).NewClientConn(conn).OpenRequestStream(ctx); err == nil {
		err = l.h3.SendRequestHeader(r)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	if res, err := l.h3.ReadResponse(); err != nil || res.StatusCode != 200 {
		u.t.Fatal(res, err)
	}
	return l
}

// alive wants an echo and an event of each.
func (l *longLived) alive(t *testing.T, when string) {
	t.Helper()
	for i, s := range l.ws {
		if err := s.echo(when); err != nil {
			t.Errorf("WebSocket %d %s: %v", i, when, err)
		}
	}
	l.source.publish(when)
	for i, s := range l.sse {
		if err := s.event(when); err != nil {
			t.Errorf("events %d %s: %v", i, when, err)
		}
	}
	frame := append([]byte{0x81, 0x80 | byte(len(when)), 0, 0, 0, 0}, when...)
	_ = l.h3.SetDeadline(time.Now().Add(patience))
	got := make([]byte, len(frame))
	if _, err := l.h3.Write(frame); err != nil {
		t.Errorf("WebSocket over HTTP/3 %s: %v", when, err)
	} else if _, err := io.ReadFull(l.h3, got); err != nil || !bytes.Equal(got, frame) {
		t.Errorf("WebSocket over HTTP/3 %s: %q %v", when, got, err)
	}
}

func (l *longLived) close() {
	for _, s := range append(l.ws, l.sse...) {
		_ = s.Close()
	}
	_ = l.h3.Close()
	l.h3.CancelRead(0x10c)
}

// TestUpgradeUnderLoad: three upgrades in a row lose no request, no edit and no stream; the processes before end when
// their streams do.
func TestUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	u := newUpgraded(t, nil)
	streams := u.longLived()
	streams.alive(t, "before")
	sessions := tls.NewLRUClientSessionCache(4)
	resumed := func() bool {
		config := u.trust()
		config.ServerName, config.ClientSessionCache, config.NextProtos = "localhost", sessions, []string{"http/1.1"}
		conn, err := tls.Dial("tcp", u.https, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		_, _ = io.ReadAll(conn) // the ticket comes behind the handshake
		return conn.ConnectionState().DidResume
	}
	resumed()
	u.e.do("POST", "/reverse_proxy/upstreams/"+u.source.dial()+"/drain", nil)
	first := u.serving()
	baseline := descriptors(first)

	l := newLoad(t)
	u.clients(l)
	accepted, refused := u.edit(l)
	l.goesOn()
	var old []int
	for i := range 3 {
		before, _ := u.succeeds("")
		old = append(old, before)
		l.goesOn()
		streams.alive(t, fmt.Sprint("after upgrade ", i+1))
		if !resumed() {
			t.Errorf("upgrade %d: sessions are not resumed", i+1)
		}
		for _, pid := range old {
			if !running(pid) {
				t.Errorf("upgrade %d: process %d has ended, with its streams", i+1, pid)
			}
		}
	}
	l.end()
	t.Logf("%d edits accepted, %d refused for a moment", accepted.Load(), refused.Load())
	if page := u.get("/id/page/body"); strings.TrimSpace(page) != fmt.Sprintf("%q", fmt.Sprint("revision ", accepted.Load())) {
		t.Errorf("the document says %s after edit %d", page, accepted.Load())
	}
	var upstreams []upstreamLine
	if err := json.Unmarshal([]byte(u.get("/reverse_proxy/upstreams")), &upstreams); err != nil || len(upstreams) != 1 || !upstreams[0].Draining {
		t.Errorf("the drain is gone: %+v %v", upstreams, err)
	}
	streams.close()
	for _, pid := range old {
		u.gone(pid)
	}
	if err := u.s.end(t); err != nil {
		t.Errorf("the first process: %v", err)
	}
	last := u.serving()
	poll(t, "descriptors to be closed", func() error {
		if n := descriptors(last); n > baseline {
			return fmt.Errorf("%d are open; there were %d at the start", n, baseline)
		}
		return nil
	})
	if info, err := os.Stat(u.unix); err != nil || info.Mode().Perm() != 0o222 {
		t.Errorf("the unix socket: %v %v", info, err)
	}
	// It stops as any other does.
	_ = syscall.Kill(last, syscall.SIGTERM)
	u.gone(last)
	for _, file := range []string{u.pid, u.unix} {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s is left behind", file)
		}
	}
}

// heirEnv makes the test be a program that takes over, up to a point.
const heirEnv = "SLUICE_E2E_HEIR"

// heir is a program that begins to take over and fails.
func heir(how string) int {
	fd, err := strconv.Atoi(os.Getenv("SLUICE_HANDOVER"))
	if err != nil {
		return 10
	}
	conn, err := net.FileConn(os.NewFile(uintptr(fd), ""))
	if err != nil {
		return 11
	}
	link := conn.(*net.UnixConn)
	say := func(text string) { _, _ = link.Write([]byte(text)) }
	heard := func(kind string) {
		buf, oob := make([]byte, 1<<17), make([]byte, 1<<12)
		for {
			n, _, _, _, err := link.ReadMsgUnix(buf, oob)
			if err != nil {
				os.Exit(12)
			}
			if strings.Contains(string(buf[:n]), `"kind":"`+kind+`"`) {
				return
			}
		}
	}
	say(`{"kind":"hello","version":"broken"}`)
	heard("go")
	switch how {
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "refuses":
		say(`{"kind":"failed","error":"the moon is wrong"}`)
	case "babbles":
		say(`{"kind":"nonsense"}`)
	case "killed late":
		say(`{"kind":"ready"}`)
		heard("take")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	<-time.After(patience) // hangs
	return 0
}

// TestUpgradeThatFails: whatever the new program does, the old one goes on, and says why.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	u := newUpgraded(t, nil)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	asHeir := func(how string) string {
		return fmt.Sprintf("#!/bin/sh\n%s='%s' exec '%s'\n", heirEnv, how, self)
	}
	streams := u.longLived()
	l := newLoad(t)
	u.clients(l)
	pid := u.serving()
	for _, c := range []struct{ name, script, query, says string }{
		{"exits", "#!/bin/sh\nexit 3\n", "", "exit status 3"},
		{"no program", "nonsense", "", "exec format error"},
		{"hangs at once", "#!/bin/sh\nexec sleep 60\n", "?timeout=300ms", "not ready within 300ms"},
		{"killed", asHeir("killed"), "", "signal: killed"},
		{"refuses", asHeir("refuses"), "", "the moon is wrong"},
		{"babbles", asHeir("babbles"), "", "nonsense"},
		{"killed late", asHeir("killed late"), "", "signal: killed"},
		{"hangs late", asHeir("hangs"), "?timeout=1500ms", "not ready within 1.5s"},
		{"other options", "#!/bin/sh\nexec " + filepath.Join(tools, "sluice") + " run --nope\n", "", "exit status 1"},
	} {
		u.install(c.script)
		status, text := u.upgrade(c.query)
		if status != 500 || !strings.Contains(text, c.says) || !strings.Contains(text, "this process goes on") {
			t.Errorf("%s: %d %s, want %q", c.name, status, text, c.says)
		}
		if u.serving() != pid {
			t.Errorf("%s: process %d serves", c.name, u.serving())
		}
		u.e.do("PATCH", "/id/page/body", "revision "+c.name) // the store is open
		u.e.do("GET", "/revisions?limit=1", nil)
		if fds := blocking(pid); len(fds) > 0 {
			t.Errorf("%s: sockets %v of the old process block", c.name, fds)
		}
		l.goesOn()
		streams.alive(t, c.name)
	}
	if status, text := u.upgrade("?drain=soon"); status != 400 || !strings.Contains(text, "drain") {
		t.Errorf("a malformed limit: %d %s", status, text)
	}
	// A dry run changes nothing, and says what it would.
	u.install("")
	status, text := u.upgrade("?dry_run=true")
	if status != 200 || !strings.Contains(text, u.exe) || u.serving() != pid {
		t.Errorf("dry run: %d %s", status, text)
	}
	if out, err := u.h.command(u.exe, "restart", "--dry-run").CombinedOutput(); err != nil || !strings.Contains(string(out), "can take over from process "+strconv.Itoa(pid)) {
		t.Errorf("dry run: %v %s", err, out)
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if len(bytes.TrimSpace(children)) > 0 {
		t.Errorf("processes %s are left", children)
	}
	// And then it works.
	out, err := u.h.command(u.exe, "restart", "--drain", "1h").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "has taken over from process "+strconv.Itoa(pid)) {
		t.Errorf("%v: %s", err, out)
	}
	if u.serving() == pid {
		t.Error("the same process serves")
	}
	l.goesOn()
	streams.alive(t, "in the end")
	l.end()
}

// TestUpgradeLimits: streams are cut when the limit of the old process is over, or when it is told to stop.
func TestUpgradeLimits(t *testing.T) {
	t.Parallel()
	u := newUpgraded(t, func(_ *upgraded, cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SLUICE_UPGRADE_DRAIN=bad") })
	if status, text := u.upgrade(""); status != 500 || !strings.Contains(text, "SLUICE_UPGRADE_DRAIN") {
		t.Errorf("a malformed variable: %d %s", status, text)
	}
	ws := u.longLived().ws
	old, second := u.succeeds("?drain=400ms")
	for i, s := range ws {
		if rest := s.ended(t); rest != "" {
			t.Errorf("WebSocket %d: %q", i, rest)
		}
	}
	u.gone(old)
	if err := u.s.end(t); err != nil {
		t.Errorf("the end after the limit: %v", err)
	}
	last := u.longLived()
	u.succeeds("?drain=0")
	for _, s := range last.ws {
		if err := s.echo("still"); err != nil {
			t.Error(err)
		}
	}
	// Told to stop, it waits for requests only.
	_ = syscall.Kill(second, syscall.SIGTERM)
	for _, s := range last.sse {
		_ = s.Close()
	}
	for _, s := range last.ws {
		s.ended(t)
	}
	_ = last.h3.Close()
	last.h3.CancelRead(0x10c)
	u.gone(second)
	if !strings.Contains(u.logged(), "connections that handlers had taken over") {
		t.Error("the log does not say what was cut")
	}
}

// TestUpgradeUnderAServiceManager: it is told of the new process, which is no child of the old one; sockets that it has
// opened keep their numbers; nothing is stored, so the document is handed over.
func TestUpgradeUnderAServiceManager(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 2)
	h := newHome(t, ports[0])
	var files []*os.File
	for _, address := range []string{fmt.Sprintf("127.0.0.1:%d", ports[1]), h.admin} {
		ln, err := net.Listen("tcp", strings.Replace(address, "localhost", "127.0.0.1", 1))
		if err != nil {
			t.Fatal(err)
		}
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		files = append(files, f)
	}
	dir, err := os.MkdirTemp("", "sn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	hears := func(want string) (rest string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			_ = sock.SetReadDeadline(time.Now().Add(patience))
			n, err := sock.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			rest, ok := strings.CutPrefix(string(buf[:n]), want)
			if ok {
				return rest
			}
			if strings.HasPrefix(string(buf[:n]), "STOPPING") {
				t.Fatalf("heard %s", buf[:n])
			}
		}
	}
	h.env = append(h.env, "NOTIFY_SOCKET="+filepath.Join(dir, "n"))
	file := filepath.Join(dir, "c.json")
	doc := object{"admin": object{"listen": "fd/4", "origins": []string{h.admin}},
		"apps": object{"http": object{"servers": object{"s": object{"listen": []string{"fd/3"}, "routes": []any{
			object{"handle": []any{object{"@id": "page", "handler": "static_response", "body": "revision 0"}}}}}}}}}
	if err := os.WriteFile(file, []byte(toJSON(t, doc)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := h.command(filepath.Join(tools, "sluice"), "run", "--config", file, "--store", "none")
	cmd.ExtraFiles = files
	u := &upgraded{secured: &secured{t: t, h: h, admin: "http://" + h.admin}}
	u.run(cmd)
	for _, f := range files {
		f.Close()
	}
	hears("RELOADING=1")
	hears("READY=1")
	e := &editor{t, u.admin, &http.Client{Timeout: patience}}
	l := newLoad(t)
	l.add("HTTP/1.1, kept alive, never repeated", 2, func() func(int) error {
		return keptAlive(func() (net.Conn, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1])) })
	})
	last := cmd.Process.Pid
	for i := range 2 {
		want := fmt.Sprint("revision ", i+1)
		e.do("PATCH", "/id/page/body", want)
		if status, text := u.upgrade(""); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		pid, err := strconv.Atoi(hears("MAINPID="))
		if err != nil || pid == last || !running(pid) {
			t.Fatalf("process %d: %v", pid, err)
		}
		hears("READY=1")
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) < 2 || f[1] != strconv.Itoa(os.Getpid()) {
			t.Errorf("the parent of the new process is not that of the old one: %s", stat)
		}
		t.Cleanup(func() { _, _ = syscall.Wait4(pid, nil, 0, nil) })
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		if text := u.ask("/id/page/body"); strings.TrimSpace(text) != fmt.Sprintf("%q", want) {
			t.Errorf("the document says %s, want %s", text, want)
		}
		l.goesOn()
		u.gone(last)
		last = pid
	}
	l.end()
}

// ask is a GET of the API over a new connection.
func (u *upgraded) ask(path string) string {
	u.t.Helper()
	res, err := (&http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}).Get(u.admin + path)
	if err != nil {
		u.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}
