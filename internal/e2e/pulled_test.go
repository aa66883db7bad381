package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// configServer is where configurations are pulled from.
type configServer struct {
	*httptest.Server
	mu     sync.Mutex
	kind   string
	text   string
	status int
	asked  int
	client string        // who the last client was, by its certificate
	hang   chan struct{} // answers wait for it
}

func newConfigServer(t *testing.T, start func(*httptest.Server)) *configServer {
	c := &configServer{kind: "application/json", status: 200}
	c.Server = httptest.NewUnstartedServer(c)
	start(c.Server)
	t.Cleanup(c.Close)
	return c
}

func (c *configServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked++
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		c.client = strings.Join(r.TLS.PeerCertificates[0].DNSNames, " ")
	}
	kind, text, status, hang := c.kind, c.text, c.status, c.hang
	c.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (c *configServer) set(kind, text string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kind, c.text, c.status = kind, text, status
}

func (c *configServer) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *configServer) lastClient() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

// pulling is a server that gets its configuration from elsewhere.
type pulling struct {
	t      *testing.T
	home   *home
	site   string
	source *configServer
	admin  string
}

func newPulling(t *testing.T) *pulling {
	ports := freePorts(t, 2)
	h := newHome(t, ports[0])
	return &pulling{t: t, home: h, site: fmt.Sprintf("127.0.0.1:%d", ports[1]), admin: "http://" + h.admin, source: newConfigServer(t, (*httptest.Server).Start)}
}

func (p *pulling) run(args ...string) *server {
	p.t.Helper()
	return launch(p.t, p.home, p.home.command(filepath.Join(tools, "sluice"), append([]string{"run"}, args...)...))
}

func (p *pulling) file(name string, doc any) string {
	p.t.Helper()
	file := filepath.Join(p.home.dir, name)
	if err := os.WriteFile(file, []byte(toJSON(p.t, doc)), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bootstrap is a document that only says where the real one is.
func (p *pulling) bootstrap(path, delay string) object {
	management := object{"load": object{"module": "http", "url": p.source.URL + path}}
	if delay != "" {
		management["load_delay"] = delay
	}
	return object{"admin": object{"listen": p.home.admin, "config": management}}
}

// serving is a document with a site, and a loader if there is a delay.
func (p *pulling) serving(text, delay string) object {
	doc := object{"admin": object{"listen": p.home.admin}}
	if delay != "" {
		doc = p.bootstrap("/doc", delay)
	}
	doc["apps"] = object{"http": object{"servers": object{"s": object{"listen": []string{p.site}, "automatic_https": object{"disable": true},
		"routes": []any{object{"handle": []any{object{"@id": "answer", "handler": "static_response", "body": text}}}}}}}}
	return doc
}

// gives makes the source give a document.
func (p *pulling) gives(doc any) { p.source.set("application/json", toJSON(p.t, doc), 200) }

// says waits until the site answers with the text.
func (p *pulling) says(text string) {
	p.t.Helper()
	poll(p.t, "the site to say "+text, func() error {
		if got := p.siteText(); got != text {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
}

func (p *pulling) siteText() string {
	res, err := http.Get("http://" + p.site + "/")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// call calls the API.
func (p *pulling) call(ctx context.Context, method, path, body string) (int, http.Header, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.admin+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(text), err
}

func (p *pulling) must(method, path, body string) (http.Header, string) {
	p.t.Helper()
	status, header, text, err := p.call(p.t.Context(), method, path, body)
	if err != nil || status != 200 {
		p.t.Fatalf("%s %s: %d %s %v", method, path, status, text, err)
	}
	return header, text
}

type revisionLine struct {
	Number uint64
	Origin string
}

func (p *pulling) last() revisionLine {
	p.t.Helper()
	_, text := p.must("GET", "/revisions", "")
	var list []revisionLine
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
		p.t.Fatal(err, text)
	}
	return list[0]
}

// again waits until the source was asked some times more.
func (p *pulling) again(times int) {
	p.t.Helper()
	from := p.source.times()
	poll(p.t, "the source to be asked", func() error {
		if n := p.source.times(); n < from+times {
			return fmt.Errorf("it was asked %d times, want %d", n, from+times)
		}
		return nil
	})
}

// TestPulledConfig starts from a file that only says where the configuration is,
// and follows what is there.
func TestPulledConfig(t *testing.T) {
	p := newPulling(t)
	p.gives(p.serving("one", "150ms"))
	s := p.run("--config", p.file("boot.json", p.bootstrap("/start?token=secret", "")))
	p.says("one") // at once: the start is over when it is there
	if got, want := p.last(), "pulled from "+p.source.URL+"/start for file "+p.home.dir; got.Number != 1 || !strings.HasPrefix(got.Origin, want) {
		t.Errorf("revision %+v, want 1 of %s", got, want)
	}
	p.again(3)
	if n := p.last().Number; n != 1 {
		t.Errorf("an unchanged document made revision %d", n)
	}
	p.gives(p.serving("two", "150ms"))
	p.says("two")
	if got, want := p.last(), (revisionLine{2, "pulled from " + p.source.URL + "/doc"}); got != want {
		t.Errorf("revision %+v, want %+v", got, want)
	}
	for _, bad := range []struct {
		kind, text string
		status     int
	}{
		{"application/json", `{"admin":`, 200},
		{"application/json", `{"apps":{"nope":{}}}`, 200},
		{"application/json", toJSON(t, p.bootstrap("/doc", "")), 200}, // would pull for ever
		{"text/html", "<html>", 200},
		{"application/json", "", 200},
		{"application/json", "gone", 404},
	} {
		p.source.set(bad.kind, bad.text, bad.status)
		p.again(2) // it goes on
		if got := p.siteText(); got != "two" {
			t.Fatalf("after %q the site says %q", bad.text, got)
		}
	}
	p.gives(p.serving("three", "150ms"))
	p.says("three")

	// An edit elsewhere neither ends it nor outlives it.
	p.must("PATCH", "/id/answer/body", `"edited"`)
	p.says("three")
	number := p.last().Number

	s.signal(syscall.SIGKILL)
	_ = s.end(t)
	s = p.run("--resume")
	p.says("three")
	p.gives(p.serving("four", "150ms")) // the loop is part of the document
	p.says("four")
	if got := p.last().Number; got != number+1 {
		t.Errorf("revision %d after %d", got, number)
	}
	caddyfile := "{\n\tadmin " + p.home.admin + "\n\tauto_https off\n}\nhttp://" + p.site + " {\n\trespond five\n}\n"
	p.source.set("text/caddyfile", caddyfile, 200)
	p.says("five")
	if _, text := p.must("GET", "/config/?format=caddyfile", ""); text != caddyfile {
		t.Errorf("the text of the document is %q", text)
	}
	n := p.source.times()
	p.must("POST", "/load", toJSON(t, p.serving("six", ""))) // the pulled one has no loader, so this stays
	p.says("six")
	if more := p.source.times() - n; more != 0 {
		t.Errorf("pulled %d times after the loader was gone", more)
	}
	s.signal(syscall.SIGTERM)
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	if log := s.log.String(); strings.Contains(log, "secret") {
		t.Error("the log shows the query of the URL")
	}
}

// TestPulledInALoad is about loads of documents that pull another at once.
func TestPulledInALoad(t *testing.T) {
	p := newPulling(t)
	p.run("--config", p.file("serve.json", p.serving("first", "")))
	p.says("first")
	refused := func(path, body, pointer, words string) {
		t.Helper()
		status, _, text, err := p.call(t.Context(), "POST", path, body)
		var answer struct {
			Error    string
			Problems []struct {
				Pointer string
				Line    int
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(text), &answer)
		}
		if err != nil || status != 400 || len(answer.Problems) != 1 || answer.Problems[0].Pointer != pointer || answer.Problems[0].Line != 1 || !strings.Contains(answer.Error, words) {
			t.Errorf("%s: %d %s %v, want %s: %s", path, status, text, err, pointer, words)
		}
	}
	const at = "/admin/config/load"
	boot := toJSON(t, p.bootstrap("/doc", ""))
	from := " loading dynamic config from " + p.source.URL + "/doc: "
	p.source.set("text/plain", "no", 404)
	refused("/load", boot, at, from+"server responded with HTTP 404")
	refused("/load?dry_run=true", boot, at, from+"server responded with HTTP 404")
	p.source.set("text/caddyfile", "http://x {\n\tbogus\n}\n", 200)
	refused("/load", boot, at, from+"adapting config using caddyfile adapter: Caddyfile:2: unrecognized directive: bogus")
	p.source.set("application/json", boot, 200)
	refused("/load", boot, at, "again pulls one with no load_delay")
	n := p.source.times()
	wrong := p.bootstrap("/doc", "")
	wrong["apps"] = object{"nope": object{}}
	refused("/load", toJSON(t, wrong), "/apps/nope", "unknown module: nope")
	if p.source.times() != n {
		t.Error("pulled for a document that does not load")
	}
	p.gives(p.serving("second", ""))
	p.must("POST", "/load?dry_run=true", boot)
	if number := p.last().Number; number != 1 || p.siteText() != "first" {
		t.Errorf("revision %d, %s", number, p.siteText())
	}

	// The pulled document takes the place of the one that asks for it.
	header, _ := p.must("POST", "/load", boot)
	if got := p.siteText(); got != "second" || header.Get("Sluice-Revision") != "2" {
		t.Errorf("%q, revision %s", got, header.Get("Sluice-Revision"))
	}
	if origin := p.last().Origin; !strings.HasPrefix(origin, "pulled from "+p.source.URL+"/doc for 127.0.0.1:") {
		t.Errorf("origin %q", origin)
	}
	// The same again does nothing: no server was closed in between.
	if header, _ = p.must("POST", "/load", boot); header.Get("Sluice-Revision") != "2" {
		t.Errorf("revision %s", header.Get("Sluice-Revision"))
	}
	// By an edit, too.
	p.gives(p.serving("third", ""))
	p.must("PUT", "/config"+"/admin/config", toJSON(t, p.bootstrap("/doc", "")["admin"].(object)["config"]))
	if got := p.siteText(); got != "third" {
		t.Errorf("%q", got)
	}

	// While a pull hangs nobody else waits.
	hang := make(chan struct{})
	defer close(hang)
	p.source.mu.Lock()
	p.source.hang = hang
	p.source.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	n, ended := p.source.times(), make(chan error, 1)
	go func() {
		_, _, _, err := p.call(ctx, "POST", "/load", boot)
		ended <- err
	}()
	poll(t, "the pull", func() error {
		if p.source.times() == n {
			return errors.New("the source was not asked")
		}
		return nil
	})
	p.must("PATCH", "/id/answer/body", `"meanwhile"`)
	p.says("meanwhile")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	p.source.mu.Lock()
	p.source.hang = nil
	p.source.mu.Unlock()

	// A pulled document that does not load leaves the one that asks for it.
	p.gives(object{"apps": object{"nope": object{}}})
	header, _ = p.must("POST", "/load", boot)
	if _, text := p.must("GET", "/config/", ""); header.Get("Sluice-Warnings") != "1" || !strings.Contains(text, p.source.URL) {
		t.Errorf("warnings %s, document %s", header.Get("Sluice-Warnings"), text)
	}
	// An edit elsewhere of it is no reason to pull again, a load by force is.
	n = p.source.times()
	p.must("PUT", "/config/logging", `{}`)
	if p.source.times() != n {
		t.Error("an edit elsewhere pulls")
	}
	p.gives(p.serving("last", ""))
	p.must("POST", "/load", boot)
	p.says("last")
}

// TestStopWhilePulling ends a process whose start waits for its configuration.
func TestStopWhilePulling(t *testing.T) {
	p := newPulling(t)
	hang := make(chan struct{})
	defer close(hang)
	p.source.hang = hang
	cmd := p.home.command(filepath.Join(tools, "sluice"), "run", "--config", p.file("boot.json", p.bootstrap("/doc", "")))
	s := &server{cmd: cmd, log: &buffer{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() { s.signal(syscall.SIGKILL); <-s.done })
	p.again(1)
	begin := time.Now()
	s.signal(syscall.SIGTERM)
	if err := s.end(t); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
	if took := time.Since(begin); took > 10*time.Second { // a try takes 30
		t.Errorf("it took %v to stop", took)
	}
}

// TestPulledAtStartFails: a start whose configuration is not there fails.
func TestPulledAtStartFails(t *testing.T) {
	p := newPulling(t)
	p.source.set("", "", 403)
	out, err := p.home.command(filepath.Join(tools, "sluice"), "run", "--config", p.file("boot.json", p.bootstrap("/doc", ""))).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/admin/config/load (line 1,") || !strings.Contains(string(out), "server responded with HTTP 403") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPulledWithIdentity shows the certificate of the instance to the source,
// also where the document that asks for it has to come into force first.
func TestPulledWithIdentity(t *testing.T) {
	p := newPulling(t)
	secure := newConfigServer(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	})
	root := filepath.Join(p.home.dir, "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	asking := func(delay string) object {
		doc := p.bootstrap("/doc", delay)
		admin := doc["admin"].(object)
		admin["identity"] = object{"identifiers": []string{"edge.localhost"}, "issuers": []any{object{"module": "internal"}}}
		admin["config"].(object)["load"] = object{"module": "http", "url": secure.URL + "/doc",
			"tls": object{"use_server_identity": true, "root_ca_pem_files": []string{root}}}
		return doc
	}
	p.run("--config", p.file("serve.json", p.serving("first", "")))
	p.says("first")

	secure.set("", "", 404)
	status, _, text, err := p.call(t.Context(), "POST", "/load", toJSON(t, asking("")))
	if err != nil || status != 400 || !strings.Contains(text, "server responded with HTTP 404") {
		t.Errorf("%d %s %v", status, text, err)
	}
	if got := p.siteText(); got != "first" { // taken back
		t.Errorf("the site says %q", got)
	}
	if got := secure.lastClient(); got != "edge.localhost" {
		t.Errorf("the source sees %q", got)
	}
	secure.set("application/json", toJSON(t, p.serving("second", "")), 200)
	p.must("POST", "/load", toJSON(t, asking("")))
	p.says("second")

	polling := asking("150ms")
	polling["apps"] = p.serving("third", "")["apps"]
	secure.set("application/json", toJSON(t, polling), 200)
	p.must("POST", "/load", toJSON(t, asking("150ms")))
	p.says("third")
}
