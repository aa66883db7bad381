// Package admintest plays the curl scenarios of the admin API reference against
// a running server. They are data, in scenarios.txt:
//
//	== 33 PUT inserts                     number and title
//	needs caddyfile                       left out without those features
//	PUT $S/listen/0                       method and path
//	Content-Type: application/json        header fields
//
//	":29086"                              after an empty line: the body
//	-- 200                                the status, then what must hold:
//	empty                                 no body, no content type
//	body TEXT                             the body, without its final newline
//	body~ TEXT                            a part of the body
//	text QUOTED                           the whole body, quoted as in Go
//	error TEXT                            the value of "error" in a JSON body
//	error~ TEXT                           a part of it
//	problem POINTER                       one of "problems" is there
//	located                               the first of "problems" has a line
//	placed FILE                           the first of "problems" has a line of that file
//	header NAME: TEXT                     a header field
//	etag PATH                             the Etag: this path, and the hash of the body
//	capture NAME HEADER                   $NAME is that header field from now on
//	config PATH JSON                      a GET of the path gives this
//	same-revision                         Sluice-Revision is that of the scenario before
//	stopped                               the server has ended
//
// $S is the path of the server in the base document, $BASE the document itself,
// $ADMIN the host and port of the API, $PORT0 to $PORT8 ports to listen on.
package admintest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

//go:embed scenarios.txt
var scenarios string

const serverPath = "/config/apps/http/servers/s"

// Ports is the number of ports that the scenarios use.
const Ports = 9

// Options say what to run against.
type Options struct {
	// URL is the base of the API, such as "http://localhost:29019". The server
	// must have that address as its default as well, because some scenarios
	// load documents without an admin object.
	URL string
	// Client sends the requests. Default: one that follows no redirects.
	Client *http.Client
	// Ports are free ports for the servers of the documents. Default: 29080 and
	// on.
	Ports [Ports]int
	// Features are what not every server has: "caddyfile" is the language,
	// "store" are revisions.
	Features []string
	// Stopped, if set, is called after POST /stop and fails t unless the server
	// has ended.
	Stopped func(t *testing.T)
	// Observe, if set, sees each exchange; the body of the response has been
	// read and is given apart.
	Observe func(t *testing.T, r *http.Request, resp *http.Response, body []byte)
}

// Run plays all scenarios in order, each as a subtest.
func Run(t *testing.T, o Options) {
	t.Helper()
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		t.Fatalf("admintest: bad URL %q", o.URL)
	}
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	p := &player{Options: o, vars: map[string]string{"S": serverPath, "ADMIN": u.Host}}
	for i, port := range o.Ports {
		if port == 0 {
			port = 29080 + i
		}
		p.vars["PORT"+strconv.Itoa(i)] = strconv.Itoa(port)
	}
	p.vars["BASE"] = p.expand(Base)
	for _, s := range parse(t, scenarios) {
		t.Run(strings.ReplaceAll(s.title, " ", "_"), func(t *testing.T) { p.play(t, s) })
	}
}

// Base is the document that the scenarios begin with, with $ADMIN and $PORT0.
const Base = `{"admin":{"listen":"$ADMIN"},
 "apps":{"http":{"servers":{"s":{"listen":[":$PORT0"],"routes":[
  {"@id":"r1","match":[{"path":["/a"]}],"handle":[{"handler":"static_response","body":"A"}]},
  {"@id":"r2","match":[{"path":["/b"]}],"handle":[{"handler":"static_response","body":"B"}]}]}}}}}`

type scenario struct {
	title        string
	needs        string
	method, path string
	header       []string
	body         string
	status       int
	checks       []string
}

// parse reads scenarios.
func parse(t *testing.T, text string) []scenario {
	t.Helper()
	var list []scenario
	for i, part := range strings.Split("\n"+text, "\n== ")[1:] {
		s, err := parseOne(part)
		if err != nil {
			t.Fatalf("admintest: scenario %d: %v", i+1, err)
		}
		list = append(list, s)
	}
	return list
}

func parseOne(text string) (s scenario, err error) {
	request, expected, ok := strings.Cut(text, "\n-- ")
	if !ok {
		return s, fmt.Errorf("no line that begins with --")
	}
	head, body, _ := strings.Cut(request, "\n\n")
	s.body = body
	lines := strings.Split(head, "\n")
	s.title, lines = lines[0], lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "needs ") {
		s.needs, lines = strings.TrimPrefix(lines[0], "needs "), lines[1:]
	}
	if len(lines) == 0 {
		return s, fmt.Errorf("no request")
	}
	if s.method, s.path, ok = strings.Cut(lines[0], " "); !ok {
		return s, fmt.Errorf("bad request line %q", lines[0])
	}
	s.header = lines[1:]
	status, checks, _ := strings.Cut(expected, "\n")
	if s.status, err = strconv.Atoi(status); err != nil {
		return s, fmt.Errorf("bad status: %w", err)
	}
	for line := range strings.Lines(checks) {
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			s.checks = append(s.checks, line)
		}
	}
	return s, nil
}

// player is a run in progress.
type player struct {
	Options
	vars     map[string]string
	revision string
}

// expand replaces variables, the longest names first.
func (p *player) expand(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	for _, name := range []string{"BASE", "ADMIN", "TAG", "FIRST", "REV"} {
		text = strings.ReplaceAll(text, "$"+name, p.vars[name])
	}
	for i := range Ports {
		name := "PORT" + strconv.Itoa(i)
		text = strings.ReplaceAll(text, "$"+name, p.vars[name])
	}
	return strings.ReplaceAll(text, "$S/", p.vars["S"]+"/")
}

// has reports whether the server has all of these features.
func (p *player) has(features string) bool {
	for _, f := range strings.Fields(features) {
		if !slices.Contains(p.Features, f) {
			return false
		}
	}
	return true
}

func (p *player) play(t *testing.T, s scenario) {
	if !p.has(s.needs) {
		t.Skipf("this server has no %s", s.needs)
	}
	resp, body := p.do(t, s)
	if resp.StatusCode != s.status {
		t.Fatalf("%s %s: status %d, want %d; body %s", s.method, s.path, resp.StatusCode, s.status, body)
	}
	for _, check := range s.checks {
		verb, rest, _ := strings.Cut(p.expand(check), " ")
		p.check(t, resp, body, verb, rest)
	}
	if r := resp.Header.Get("Sluice-Revision"); r != "" {
		p.revision = r
	}
}

func (p *player) do(t *testing.T, s scenario) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), s.method, p.URL+p.expand(s.path), strings.NewReader(p.expand(s.body)))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range s.header {
		name, value, _ := strings.Cut(p.expand(line), ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	resp, err := p.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if p.Observe != nil {
		p.Observe(t, r, resp, body)
	}
	return resp, body
}

// answer is the part of an error that scenarios look at.
type answer struct {
	Error    *string
	Problems []struct {
		Pointer      string
		File         string
		Line, Column int
		Message      string
	}
}

func (p *player) check(t *testing.T, resp *http.Response, body []byte, verb, rest string) {
	t.Helper()
	text := strings.TrimSuffix(string(body), "\n")
	switch verb {
	case "empty":
		if len(body) > 0 || resp.Header.Get("Content-Type") != "" || resp.ContentLength != 0 {
			t.Errorf("body %q with type %q and length %d, want none", body, resp.Header.Get("Content-Type"), resp.ContentLength)
		}
	case "body":
		if text != rest || string(body) == text {
			t.Errorf("body %q, want %q and a newline", body, rest)
		}
	case "body~":
		if !strings.Contains(text, rest) {
			t.Errorf("body %q does not contain %q", body, rest)
		}
	case "text":
		if want, err := strconv.Unquote(rest); err != nil || string(body) != want {
			t.Errorf("body %q, want %s (%v)", body, rest, err)
		}
	case "error", "error~", "problem", "located", "placed":
		checkError(t, resp, body, verb, rest)
	case "header":
		name, want, _ := strings.Cut(rest, ": ")
		if got := resp.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	case "etag":
		want := fmt.Sprintf(`"%s %016x"`, rest, xxhash.Sum64(body))
		if got := resp.Header.Get("Etag"); got != want {
			t.Errorf("Etag %s, want %s", got, want)
		}
	case "capture":
		name, header, _ := strings.Cut(rest, " ")
		p.vars[name] = resp.Header.Get(header)
	case "config":
		path, want, _ := strings.Cut(rest, " ")
		_, got := p.do(t, scenario{method: "GET", path: path})
		if strings.TrimSuffix(string(got), "\n") != want {
			t.Errorf("%s is now %s, want %s", path, got, want)
		}
	case "same-revision":
		if got := resp.Header.Get("Sluice-Revision"); got == "" || got != p.revision {
			t.Errorf("revision %q, want %q", got, p.revision)
		}
	case "stopped":
		if p.Stopped != nil {
			p.Stopped(t)
		}
	default:
		t.Errorf("admintest: unknown check %q", verb)
	}
}

func checkError(t *testing.T, resp *http.Response, body []byte, verb, rest string) {
	t.Helper()
	var a answer
	if err := json.Unmarshal(body, &a); err != nil || a.Error == nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s body %q is no JSON error: %v", resp.Header.Get("Content-Type"), body, err)
	}
	switch verb {
	case "error":
		if *a.Error != rest {
			t.Errorf("error %q, want %q", *a.Error, rest)
		}
	case "error~":
		if !strings.Contains(*a.Error, rest) {
			t.Errorf("error %q does not contain %q", *a.Error, rest)
		}
	case "located":
		if len(a.Problems) == 0 || a.Problems[0].Line == 0 || a.Problems[0].Column == 0 {
			t.Errorf("no problem has a position: %s", body)
		}
	case "placed":
		if len(a.Problems) == 0 || a.Problems[0].Line == 0 || a.Problems[0].File != rest {
			t.Errorf("the first problem has no line of %s: %s", rest, body)
		}
	case "problem":
		pointer := strings.TrimPrefix(rest, "/config")
		for _, p := range a.Problems {
			if p.Pointer == pointer {
				return
			}
		}
		t.Errorf("no problem at %s: %s", pointer, body)
	}
}
