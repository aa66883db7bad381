package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			play(t, file)
		})
	}
}

// story is a transcript in progress.
type story struct {
	*home
	vars     map[string]string
	server   *server
	client   *http.Client
	occupied map[string]net.Listener
}

func play(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := parseSteps(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	ports := freePorts(t, 7)
	s := &story{home: newHome(t, ports[0]), occupied: map[string]net.Listener{},
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	s.vars = map[string]string{"DIR": s.dir, "ADMIN": "http://" + s.admin, "ADMINADDR": s.admin,
		"UP1": upstream(t, "one"), "UP2": upstream(t, "two")}
	for i, port := range ports[1:] {
		s.vars[fmt.Sprintf("P%d", i+1)] = strconv.Itoa(port)
	}
	t.Cleanup(func() {
		if t.Failed() && s.server != nil {
			t.Logf("the server's log:\n%s", s.server.log)
		}
		for _, ln := range s.occupied {
			_ = ln.Close()
		}
		s.client.CloseIdleConnections()
	})
	for _, step := range steps {
		s.step(t, step)
		if t.Failed() {
			t.Fatalf("in %s, line %d: %s", file, step.line, strings.Join(step.words, " "))
		}
	}
}

// upstream answers with what it got; ?status= and ?wait= say how.
func upstream(t *testing.T, name string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Upstream", name)
		if status, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
			w.WriteHeader(status)
		}
		fmt.Fprintf(w, "%s %s %s host=%s", name, r.Method, r.URL.RequestURI(), r.Host)
		for _, field := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "X-Tenant", "Connection", "Traceparent", "Baggage"} {
			if v := r.Header.Values(field); len(v) > 0 {
				fmt.Fprintf(w, " %s=%s", field, strings.Join(v, ","))
			}
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, " body=%s\n", body)
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// expand replaces variables, the longest names first.
func (s *story) expand(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var names []string
	for name := range s.vars {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		text = strings.ReplaceAll(text, "$"+name, s.vars[name])
	}
	return text
}

func (s *story) step(t *testing.T, st step) {
	t.Helper()
	verb, rest := st.words[0], s.expand(st.words[1])
	switch verb {
	case "write":
		s.write(t, rest, s.expand(st.body))
	case "copies":
		parts := strings.SplitN(rest, " ", 3)
		n, err := strconv.Atoi(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, parts[0], strings.Repeat(parts[2], n))
	case "env":
		s.env = append(slices.Clip(s.env), rest)
	case "start":
		s.server = launch(t, s.home, s.command(filepath.Join(tools, "sluice"), append([]string{"run"}, strings.Fields(rest)...)...))
	case "stop", "kill":
		s.stop(t, verb == "kill")
	case "ended":
		if err := s.server.end(t); err != nil {
			t.Errorf("the server ended with %v\n%s", err, s.server.log)
		}
	case "signal":
		s.server.signal(map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2}[rest])
	case "log":
		poll(t, "the log to say "+rest, func() error {
			if !strings.Contains(s.server.log.String(), rest) {
				return fmt.Errorf("it does not")
			}
			return nil
		})
	case "nolog":
		if strings.Contains(s.server.log.String(), rest) {
			t.Errorf("the log says %s", rest)
		}
	case "file", "nofile":
		s.file(t, verb == "file", rest)
	case "occupy":
		ln, err := net.Listen("tcp", "127.0.0.1:"+rest)
		if err != nil {
			t.Error(err)
			return
		}
		s.occupied[rest] = ln
	case "release":
		_ = s.occupied[rest].Close()
		delete(s.occupied, rest)
	case "run":
		s.run(t, st, strings.Fields(rest))
	case "raw":
		s.raw(t, st, rest)
	default:
		s.request(t, st, verb, rest)
	}
}

// write makes a file and the folders around it.
func (h *home) write(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// file looks for a text in files.
func (s *story) file(t *testing.T, want bool, rest string) {
	t.Helper()
	name, text, _ := strings.Cut(rest, " ")
	has := func() error {
		var all []byte
		names, err := filepath.Glob(filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			all = append(all, content...)
			if err == nil && strings.Contains(string(content), text) {
				return nil
			}
		}
		return fmt.Errorf("it is not in any of %v, which say\n%s", names, all)
	}
	if want {
		poll(t, name+" to contain "+text, has)
	} else if has() == nil {
		t.Errorf("%s contains %s", name, text)
	}
}

// raw sends a request byte by byte.
func (s *story) raw(t *testing.T, st step, port string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, patience)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, s.expand(st.body)); err != nil {
		t.Error(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return
	}
	s.response(t, st, resp)
}

func (s *story) stop(t *testing.T, hard bool) {
	t.Helper()
	if hard {
		s.server.signal(syscall.SIGKILL)
		_ = s.server.end(t)
		return
	}
	s.server.signal(syscall.SIGTERM)
	s.step(t, step{words: []string{"ended", ""}})
}

func (s *story) run(t *testing.T, st step, args []string) {
	t.Helper()
	cmd := s.command(filepath.Join(tools, "sluice"), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, check := range st.checks {
		verb, rest, _ := strings.Cut(s.expand(check), " ")
		switch verb {
		case "exit":
			want, _ = strconv.Atoi(rest)
		case "stdout":
			if got := strings.TrimSuffix(stdout.String(), "\n"); got != rest {
				t.Errorf("stdout is %q, want %q", got, rest)
			}
		case "stdout~":
			if !strings.Contains(stdout.String(), rest) {
				t.Errorf("stdout %q does not contain %q", stdout.String(), rest)
			}
		case "stderr~":
			if !strings.Contains(stderr.String(), rest) {
				t.Errorf("stderr %q does not contain %q", stderr.String(), rest)
			}
		default:
			t.Errorf("unknown check %q", verb)
		}
	}
	if code != want {
		t.Errorf("exit code %d, want %d; stderr: %s", code, want, stderr.String())
	}
}

func (s *story) request(t *testing.T, st step, method, url string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(s.expand(st.body)))
	if err != nil {
		t.Error(err)
		return
	}
	for _, line := range st.header {
		name, value, _ := strings.Cut(s.expand(line), ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	resp, err := s.client.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	s.response(t, st, resp)
}

// response holds a response against what a step says.
func (s *story) response(t *testing.T, st step, resp *http.Response) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if body, err = decompress(resp.Header.Get("Content-Encoding"), body); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != st.status {
		t.Errorf("status %d, want %d; body %s", resp.StatusCode, st.status, body)
	}
	for _, check := range st.checks {
		verb, rest, _ := strings.Cut(s.expand(check), " ")
		s.check(t, resp, body, verb, rest)
	}
}

// decompress undoes a content coding.
func decompress(coding string, body []byte) ([]byte, error) {
	if len(body) == 0 {
		return body, nil
	}
	var r io.Reader
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "zstd":
		r, err = zstd.NewReader(bytes.NewReader(body))
	case "br":
		r = brotli.NewReader(bytes.NewReader(body))
	case "":
		return body, nil
	default:
		return nil, fmt.Errorf("unknown coding %q", coding)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (s *story) check(t *testing.T, resp *http.Response, body []byte, verb, rest string) {
	t.Helper()
	text := strings.TrimSuffix(string(body), "\n")
	switch verb {
	case "body":
		if text != rest {
			t.Errorf("body %q, want %q", text, rest)
		}
	case "body~":
		if !strings.Contains(text, rest) {
			t.Errorf("body %q does not contain %q", text, rest)
		}
	case "nobody~":
		if strings.Contains(text, rest) {
			t.Errorf("body %q contains %q", text, rest)
		}
	case "header~":
		name, want, _ := strings.Cut(rest, ":")
		if got := strings.Join(resp.Header.Values(name), ", "); !strings.Contains(got, strings.TrimSpace(want)) {
			t.Errorf("header %s is %q, which does not contain %q", name, got, strings.TrimSpace(want))
		}
	case "header":
		name, want, _ := strings.Cut(rest, ":")
		if got := strings.Join(resp.Header.Values(name), ", "); got != strings.TrimSpace(want) {
			t.Errorf("header %s is %q, want %q", name, got, strings.TrimSpace(want))
		}
	case "json":
		pointer, want, _ := strings.Cut(rest, " ")
		checkJSON(t, body, pointer, want)
	case "closes":
		if !resp.Close {
			t.Errorf("the connection stays open")
		}
	case "save":
		name, header, _ := strings.Cut(rest, " ")
		s.vars[name] = resp.Header.Get(header)
	default:
		t.Errorf("unknown check %q", verb)
	}
}

func checkJSON(t *testing.T, body []byte, pointer, want string) {
	t.Helper()
	var got, wanted any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Errorf("body %q is no JSON: %v", body, err)
		return
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatalf("%q is no JSON: %v", want, err)
	}
	for _, part := range strings.Split(pointer, "/")[1:] {
		switch v := got.(type) {
		case map[string]any:
			got = v[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				t.Errorf("%s: no element %s in %s", pointer, part, body)
				return
			}
			got = v[i]
		default:
			got = nil
		}
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("%s is %v, want %s, in %s", pointer, got, want, body)
	}
}
