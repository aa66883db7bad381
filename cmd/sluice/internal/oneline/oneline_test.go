package oneline

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
)

// same compares a document with JSON, or an error with "!" and a part of it.
func same(t *testing.T, what string, n *config.Node, err error, want string) {
	t.Helper()
	if err != nil || strings.HasPrefix(want, "!") {
		if err == nil || want[0] != '!' || !strings.Contains(err.Error(), want[1:]) {
			t.Errorf("%s: error %v, want %s", what, err, want)
		}
		return
	}
	var a, b any
	if err := json.Unmarshal(n.AppendJSON(nil), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s:\n%s\nwant\n%s", what, n.AppendJSON(nil), want)
	}
}

const admin = `"admin":{"disabled":true,"config":{"persist":false}}`

func static(listen, more, handler string) string {
	return fmt.Sprintf(`{"listen":[%q],"read_header_timeout":"10s","idle_timeout":"30s","max_header_bytes":10240,"automatic_https":{"disable":true}%s,
		"routes":[{"handle":[{"handler":"static_response",%s}]}]}`, listen, more, handler)
}

func TestRespond(t *testing.T) {
	for _, c := range []struct {
		r    Respond
		want string
	}{
		{Respond{Listen: ":0", Status: 200}, `{` + admin + `,"apps":{"http":{"servers":{"static0":` + static("tcp/:0", "", `"status_code":"200"`) + `}}}}`},
		{Respond{Listen: "127.0.0.1:7000-7001", Status: 404, Body: "{{.N}} {{.Port}} {{.Address}}", Headers: []string{"X-A: b", "X-C:d:e", "X-A: f"}, AccessLog: true, Debug: true},
			`{` + admin + `,"logging":{"logs":{"default":{"level":"DEBUG"}}},"apps":{"http":{"servers":{
			"static0":` + static("tcp/127.0.0.1:7000", `,"logs":{}`, `"status_code":"404","body":"0 7000 127.0.0.1:7000","headers":{"X-A":["b","f"],"X-C":["d:e"]}`) + `,
			"static1":` + static("tcp/127.0.0.1:7001", `,"logs":{}`, `"status_code":"404","body":"1 7001 127.0.0.1:7001","headers":{"X-A":["b","f"],"X-C":["d:e"]}`) + `}}}}`},
		{Respond{Listen: "unix//run/a", Status: 200, Body: "{{.Address}} {{.Port}}"}, `{` + admin + `,"apps":{"http":{"servers":{"static0":` + static("unix//run/a", "", `"status_code":"200","body":"/run/a 0"`) + `}}}}`},
		{Respond{Listen: ":0", Status: 200, Headers: []string{"X"}}, `!header 0: invalid format "X" (expecting "Field: value")`},
		{Respond{Listen: ":0", Status: 200, Headers: []string{"A: b", ": x"}}, `!header 1: invalid format ": x"`},
		{Respond{Listen: ":0", Status: 200, Headers: []string{"X: "}}, `!header 0: invalid format "X: "`},
		{Respond{Listen: ":0", Status: 200, Body: "{{.Foo}}"}, "!can't evaluate field Foo"},
		{Respond{Listen: ":0", Status: 200, Body: "{{"}, "!unclosed action"},
		{Respond{Listen: ":0", Status: 99}, "!--status is 99"},
		{Respond{Listen: ":0", Status: 1000}, "!--status is 1000; it must be from 100 to 999"},
		{Respond{Listen: ":x"}, "!parsing the listen address"},
		{Respond{Listen: ":1-65535"}, "!at most 1000"},
	} {
		servers, err := c.r.Servers()
		var n *config.Node
		if err == nil {
			n, err = c.r.Document(servers)
		}
		same(t, fmt.Sprintf("%+v", c.r), n, err, c.want)
	}
}

func TestRespondArgument(t *testing.T) {
	for _, c := range []struct {
		args        string
		body        string
		statusGiven bool
		want        string
	}{
		{"", "", false, "200 "},
		{"404", "", false, "404 "},
		{"404", "x", false, "404 x"},
		{"404", "", true, "200 404"},
		{"hi", "", false, "200 hi"},
		{"hi", "", true, "200 hi"},
		{"99", "", false, "200 "},
		{"1000", "", false, "200 "},
		{"99", "", true, "200 99"},
		{"hi", "x", false, `!unflagged argument "hi" is overridden by flags`},
		{"404", "x", true, `!unflagged argument "404" is overridden by flags`},
		{"a b", "", false, "!too many unflagged arguments"},
	} {
		r := Respond{Status: 200, Body: c.body}
		got := ""
		if err := r.Argument(strings.Fields(c.args), c.statusGiven); err != nil {
			got = "!" + err.Error()
		} else {
			got = fmt.Sprint(r.Status, " ", r.Body)
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if !(&Respond{Body: "a{{.N}}"}).Templated() || (&Respond{Body: "a {"}).Templated() {
		t.Error("what is a template is not told from what is none")
	}
}

func TestProxy(t *testing.T) {
	proxy := func(listen, more, match string, handler ...string) string {
		return fmt.Sprintf(`{%s,"apps":{"http":{"servers":{"proxy":{"listen":[%q],"automatic_https":{"disable":true}%s,"routes":[{%s"handle":[{"handler":"reverse_proxy",%s}]}]}}}}}`,
			admin, listen, more, match, strings.Join(handler, ","))
	}
	https := func(listen, more, host, handler, apps string) string {
		return fmt.Sprintf(`{%s,"apps":{"http":{"servers":{"proxy":{"listen":[%q]%s,"routes":[{"match":[{"host":[%q]}],"terminal":true,"handle":[{"handler":"reverse_proxy",%s}]}]}}}%s}}`,
			admin, listen, more, host, handler, apps)
	}
	tls := func(settings string) string { return `"transport":{"protocol":"http","tls":{` + settings + `}}` }
	host := func(h string) string { return fmt.Sprintf(`"match":[{"host":[%q]}],"terminal":true,`, h) }
	to := func(dials ...string) string {
		for i := range dials {
			dials[i] = fmt.Sprintf(`{"dial":%q}`, dials[i])
		}
		return `"upstreams":[` + strings.Join(dials, ",") + `]`
	}
	for _, c := range []struct {
		p              Proxy
		want, from, to string
	}{
		{Proxy{From: ":8080", To: []string{":9000"}}, proxy(":8080", "", "", to(":9000")), "http://:8080", ":9000"},
		{Proxy{From: "http://", To: []string{"a"}}, proxy(":80", "", "", to("a:80")), "http://:80", "a:80"},
		{Proxy{From: "A.com:80", To: []string{"a:1-3", "unix//run/a"}}, proxy(":80", "", host("a.com"), to("a:1", "a:2", "a:3", "unix//run/a")), "http://a.com:80", "a:1 a:2 a:3 unix//run/a"},
		{Proxy{From: "HTTP://[::1]:81", To: []string{"http://a", "b:2"}, AccessLog: true}, proxy(":81", `,"logs":{}`, host("::1"), to("a:80", "b:2")), "http://[::1]:81", "a:80 b:2"},
		{Proxy{From: "http://a.com", To: []string{"h2c://a"}, DisableRedirects: true}, proxy(":80", "", host("a.com"), `"transport":{"protocol":"http","versions":["h2c","2"]},`+to("a:80")), "http://a.com:80", "a:80"},
		{Proxy{From: ":1", To: []string{"a"}, ChangeHostHeader: true, HeaderUp: []string{"X-A: b"}, HeaderDown: []string{"X-C: d"}},
			proxy(":1", "", "", `"headers":{"request":{"set":{"Host":["{http.reverse_proxy.upstream.hostport}"],"X-A":["b"]}},"response":{"set":{"X-C":["d"]}}},`+to("a:80")), "http://:1", "a:80"},
		{Proxy{From: "localhost"}, "!--to is required", "", ""},
		{Proxy{From: "localhost", To: []string{"a"}}, https(":443", "", "localhost", to("a:80"), ""), "https://localhost:443", "a:80"},
		{Proxy{From: "https://A.com:1", To: []string{"a"}, AccessLog: true}, https(":1", `,"logs":{}`, "a.com", to("a:80"), ""), "https://a.com:1", "a:80"},
		{Proxy{From: "a.com:8080", To: []string{"a"}, DisableRedirects: true}, https(":8080", `,"automatic_https":{"disable_redirects":true}`, "a.com", to("a:80"), ""), "https://a.com:8080", "a:80"},
		{Proxy{From: "a.com", To: []string{"a"}, InternalCerts: true}, https(":443", "", "a.com", to("a:80"),
			`,"tls":{"automation":{"policies":[{"subjects":["a.com"],"issuers":[{"module":"internal"}]}]}}`), "https://a.com:443", "a:80"},
		{Proxy{From: "https://", To: []string{"a"}}, "!--from https:// is HTTPS for no name, and a certificate needs one; write --from https://localhost:443, or --from http://:443 for HTTP", "", ""},
		{Proxy{From: "https://:8443", To: []string{"a"}, InternalCerts: true}, "!write --from https://localhost:8443", "", ""},
		{Proxy{From: ":443", To: []string{"a"}}, proxy(":443", "", "", to("a:80")), "http://:443", "a:80"},
		{Proxy{From: "http://a/b", To: []string{"a"}}, "!paths are not allowed: http://a/b", "", ""},
		{Proxy{From: "ftp://a", To: []string{"a"}}, "!unsupported URL scheme ftp://", "", ""},
		{Proxy{From: "http://a:99999", To: []string{"a"}}, "!--from http://a:99999: invalid port '99999'", "", ""},
		{Proxy{From: ":1", To: []string{"https://a"}}, proxy(":1", "", "", tls(""), to("a:443")), "http://:1", "a:443"},
		{Proxy{From: ":1", To: []string{"b:2", "https://a:1-2"}, Insecure: true}, proxy(":1", "", "", tls(`"insecure_skip_verify":true`), to("b:2", "a:1", "a:2")), "http://:1", "b:2 a:1 a:2"},
		{Proxy{From: ":1", To: []string{"https://a", "http://b"}}, proxy(":1", "", "", tls(""), to("a:443", "b:80")), "http://:1", "a:443 b:80 # --to http://b is reached over https, too, since all upstreams are reached in the same way"},
		{Proxy{From: ":1", To: []string{"http://a/b"}}, "!--to http://a/b: for now, URLs for proxy upstreams only support", "", ""},
		{Proxy{From: ":1", To: []string{"a"}, Insecure: true}, proxy(":1", "", "", to("a:80")), "http://:1", "a:80 # --insecure has no effect, since no upstream is reached over https://"},
		{Proxy{From: ":1", To: []string{"a"}, InternalCerts: true}, proxy(":1", "", "", to("a:80")), "http://:1", "a:80 # --internal-certs has no effect, since http://:1 is served without TLS"},
		{Proxy{From: ":1", To: []string{"a"}, HeaderUp: []string{"x"}}, `!header-up 0: invalid format "x"`, "", ""},
		{Proxy{From: ":1", To: []string{"a"}, HeaderDown: []string{"x: y", "z"}}, `!header-down 1: invalid format "z"`, "", ""},
		{Proxy{From: ":1", To: []string{"a"}, HeaderUp: []string{"host: x"}, ChangeHostHeader: true}, "!both set the Host header", "", ""},
	} {
		n, a, err := c.p.Document()
		same(t, fmt.Sprintf("%+v", c.p), n, err, c.want)
		said := strings.Join(append([]string{strings.Join(a.To, " ")}, a.Notes...), " # ")
		if err == nil && (a.From != c.from || said != c.to) {
			t.Errorf("%+v: %+v", c.p, a)
		}
	}
}

func TestFiles(t *testing.T) {
	ids := []string{"http.handlers.encode", "http.precompressed.br", "http.precompressed.gzip", "http.precompressed.zstd"}
	const (
		plain  = `"automatic_https":{"disable":true},`
		encode = `{"handler":"encode","encodings":{"zstd":{},"gzip":{}},"prefer":["zstd","gzip"]}`
		named  = `"match":[{"host":["a.com"]}],"terminal":true,`
	)
	files := func(listen, server, route string, handlers ...string) string {
		return fmt.Sprintf(`{%s,"apps":{"http":{"servers":{"static":{"listen":[%q],%s"read_header_timeout":"10s","idle_timeout":"30s","max_header_bytes":10240,"routes":[{%s"handle":[%s]}]}}}}}`,
			admin, listen, server, route, strings.Join(handlers, ","))
	}
	for _, c := range []struct {
		f            Files
		want, listen string
		note         string
	}{
		{Files{FileLimit: 10000}, files("tcp/:80", plain, "", encode, `{"handler":"file_server"}`), ":80", ""},
		{Files{Domain: "a.com"}, files("tcp/:443", "", named, encode, `{"handler":"file_server"}`), ":443", ""},
		{Files{Domain: "a.com", Listen: "127.0.0.1:8443", NoCompress: true}, files("tcp/127.0.0.1:8443", "", named, `{"handler":"file_server"}`), "127.0.0.1:8443", ""},
		{Files{Domain: "::1", NoCompress: true}, files("tcp/:443", "", `"match":[{"host":["::1"]}],"terminal":true,`, `{"handler":"file_server"}`), ":443", ""},
		{Files{Listen: "unix//run/a", NoCompress: true, AccessLog: true}, files("unix//run/a", plain+`"logs":{},`, "", `{"handler":"file_server"}`), "unix//run/a", ""},
		{Files{Root: "/srv", Templates: true, Browse: true, RevealSymlinks: true, FileLimit: -1}, files("tcp/:80", plain, "", encode,
			`{"handler":"templates","file_root":"/srv"}`, `{"handler":"file_server","root":"/srv","browse":{"file_limit":-1,"reveal_symlinks":true}}`), ":80", ""},
		{Files{Templates: true, Browse: true, FileLimit: 10000, NoCompress: true}, files("tcp/:80", plain, "",
			`{"handler":"templates"}`, `{"handler":"file_server","browse":{"file_limit":10000}}`), ":80", ""},
		{Files{RevealSymlinks: true, NoCompress: true}, files("tcp/:80", plain, "", `{"handler":"file_server"}`), ":80", "--reveal-symlinks has no effect without --browse"},
		{Files{Precompressed: []string{"zstd", "br", "zstd"}, NoCompress: true}, files("tcp/:80", plain, "",
			`{"handler":"file_server","precompressed":{"zstd":{},"br":{}},"precompressed_order":["zstd","br"]}`), ":80", ""},
		{Files{Precompressed: []string{"br", "foo"}}, "!getting module named 'http.precompressed.foo': module not registered: http.precompressed.foo; --precompressed takes br, gzip, zstd", "", ""},
		{Files{Domain: "https://a.com"}, "!--domain https://a.com is no name: leave out scheme and path, and give the port with --listen", "", ""},
		{Files{Domain: "a.com:8443"}, "!--domain a.com:8443 is no name", "", ""},
		{Files{Domain: "a.com,b.com"}, "!--domain a.com,b.com is no name", "", ""},
		{Files{Listen: ":x"}, "!parsing the listen address", "", ""},
	} {
		n, listen, err := c.f.Document(ids)
		same(t, fmt.Sprintf("%+v", c.f), n, err, c.want)
		if note := strings.Join(c.f.Notes(), ""); err == nil && (listen != c.listen || note != c.note) {
			t.Errorf("%+v: %s, %q", c.f, listen, note)
		}
	}
	debug := Files{Debug: true, NoCompress: true}
	n, _, err := debug.Document(nil)
	if err != nil || n.Get("logging").Get("logs").Get("default").Get("level").Str() != "DEBUG" {
		t.Errorf("%s, %v", n.AppendJSON(nil), err)
	}
}
