package phpfastcgi_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/fastcgi"
	"github.com/sluiceproxy/sluice/schema"
)

const (
	redirect = `{"match":[{"file":{"try_files":["{http.request.uri.path}/index.php"]},"not":[{"path":["*/"]}]}],"handle":[{"handler":"static_response",` +
		`"headers":{"Location":["{http.request.orig_uri.path}/{http.request.orig_uri.prefixed_query}"]},"status_code":308}]}`
	rewrite = `{"match":[{"file":{"try_files":["{http.request.uri.path}","{http.request.uri.path}/index.php","index.php"],"try_policy":"first_exist_fallback",` +
		`"split_path":[".php"]}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}"}]}`
)

// proxied is the last route.
func proxied(paths, transport, rest string) string {
	if rest != "" {
		rest = "," + rest
	}
	return `{"match":[{"path":` + paths + `}],"handle":[{"handler":"reverse_proxy","transport":{"protocol":"fastcgi",` + transport + `},"upstreams":[{"dial":"php:9000"}]` + rest + `}]}`
}

func TestExpansion(t *testing.T) {
	const php = `"split_path":[".php"]`
	plain := proxied(`["*.php"]`, php, "")
	tests := []struct{ name, body, want string }{
		{"plain", "php_fastcgi php:9000", "[" + redirect + "," + rewrite + "," + plain + "]"},
		{"empty block", "php_fastcgi php:9000 {\n}", "[" + redirect + "," + rewrite + "," + plain + "]"},
		{"star", "php_fastcgi * php:9000", "[" + redirect + "," + rewrite + "," + plain + "]"},
		{"by to", "php_fastcgi {\nto php:9000\n}", "[" + redirect + "," + rewrite + "," + plain + "]"},
		{"matcher", "php_fastcgi /p/* php:9000", `[{"match":[{"path":["/p/*"]}],"handle":[{"handler":"subroute","routes":[` + redirect + "," + rewrite + "," + plain + `]}]}]`},
		{"named matcher", "@m method GET\nphp_fastcgi @m php:9000 {\nindex off\n}", `[{"match":[{"method":["GET"]}],"handle":[{"handler":"subroute","routes":[` + plain + `]}]}]`},
		{"index off", "php_fastcgi php:9000 {\nindex off\n}", "[" + plain + "]"},
		{"index", "php_fastcgi php:9000 {\nindex app.php\n}", "[" + strings.ReplaceAll(redirect+","+rewrite, "index.php", "app.php") + "," + plain + "]"},
		{"try files", "php_fastcgi php:9000 {\ntry_files {path} /app.php\n}",
			`[{"match":[{"file":{"try_files":["{http.request.uri.path}","/app.php"],"try_policy":"first_exist_fallback","split_path":[".php"]}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}"}]},` + plain + "]"},
		{"try files that end otherwise", "php_fastcgi php:9000 {\ntry_files {path} {path}/index.php =404\n}",
			"[" + redirect + `,{"match":[{"file":{"try_files":["{http.request.uri.path}","{http.request.uri.path}/index.php","=404"],"split_path":[".php"]}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}"}]},` + plain + "]"},
		{"split", "php_fastcgi php:9000 {\nindex off\nsplit .php .phtml\n}", "[" + proxied(`["*.php","*.phtml"]`, `"split_path":[".php",".phtml"]`, "") + "]"},
		{"transport", "php_fastcgi php:9000 {\nindex off\nenv A b\nroot /srv\nenv C \"d e\"\nresolve_root_symlink\ncapture_stderr\ndial_timeout 1s\nread_timeout 2s\nwrite_timeout 3s\nbody_spool_size 5MB\n}",
			"[" + proxied(`["*.php"]`, php+`,"root":"/srv","env":{"A":"b","C":"d e"},"resolve_root_symlink":true,"capture_stderr":true,"dial_timeout":1000000000,"read_timeout":2000000000,"write_timeout":3000000000,"body_spool_size":5000000`, "") + "]"},
		{"proxy", "php_fastcgi php:9000 {\nheader_up -Cookie\nenv A b\nlb_policy header X {\nfallback first\n}\nindex off\nflush_interval -1\n}",
			"[" + proxied(`["*.php"]`, php+`,"env":{"A":"b"}`, `"headers":{"request":{"delete":["Cookie"]}},"load_balancing":{"selection_policy":{"policy":"header","field":"X","fallback":{"policy":"first"}}},"flush_interval":-1`) + "]"},
		{"several gateways", "php_fastcgi php:9000 unix//run/php.sock {\nindex off\n}",
			strings.Replace("["+plain+"]", `{"dial":"php:9000"}`, `{"dial":"php:9000"},{"dial":"unix//run/php.sock"}`, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := adapttest.Routes(t, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, got, tt.want)
		})
	}
}

func TestErrors(t *testing.T) {
	tests := []struct{ name, body, want, line string }{
		{"transport", "php_fastcgi php:9000 {\ntransport http\n}", "transport already specified", ":3"},
		{"unknown", "php_fastcgi php:9000 {\nindex off\nnonsense 1\n}", "unrecognized subdirective nonsense", ":4"},
		{"https", "php_fastcgi https://php:9000", "upstreams are configured for HTTPS or h2c, but FastCGI speaks neither", ":2"},
		{"h2c", "php_fastcgi {\nto h2c://php:9000\n}", "upstreams are configured for HTTPS or h2c, but FastCGI speaks neither", ":3"},
		{"two matchers", "@m method GET\nphp_fastcgi @m /x", "/x is no gateway but a matcher", ":3"},
		{"index", "php_fastcgi php:9000 {\nindex\n}", "wrong argument count", ":3"},
		{"try_files", "php_fastcgi php:9000 {\ntry_files\n}", "wrong argument count", ":3"},
		{"split", "php_fastcgi php:9000 {\nsplit\n}", "wrong argument count", ":3"},
		{"env", "php_fastcgi php:9000 {\nenv A\n}", "wrong argument count", ":3"},
		{"timeout", "php_fastcgi php:9000 {\nread_timeout soon\n}", "bad duration value 'soon'", ":3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := adapttest.Routes(t, tt.body)
			if err == nil {
				t.Fatalf("no error but %s", got)
			}
			if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) || !strings.Contains(err.Error(), tt.line) {
				t.Errorf("error %q lacks %q at %s", err, tt.want, tt.line)
			}
		})
	}
}

// Routes without a matcher stay together, where the order puts the directive.
func TestOrder(t *testing.T) {
	got, err := adapttest.Routes(t, "php_fastcgi php:9000 {\nindex off\n}\nrespond /x hi\nheader A b")
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{`"handler":"headers"`, `"handler":"static_response"`}, {`"handler":"static_response"`, `"handler":"reverse_proxy"`}} {
		if a, b := strings.Index(got, pair[0]), strings.Index(got, pair[1]); a < 0 || b < a {
			t.Errorf("%s comes after %s: %s", pair[0], pair[1], got)
		}
	}
}

// What is made loads, and problems of it are found at the directive.
func TestLoads(t *testing.T) {
	doc, err := adapttest.Site(t, "root * /srv\nphp_fastcgi php:9000 {\nsplit .phé\n}")
	if err != nil {
		t.Fatal(err)
	}
	server := doc.Root.Get("apps").Get("http").Get("servers").Get("srv0")
	n := slices.Collect(elements(server.Get("routes")))
	last := slices.Collect(elements(n[len(n)-1].Get("handle")))[0].Get("transport")
	members := map[string]*config.Node{}
	for k, v := range last.Members() {
		if k != "protocol" {
			members[k] = v
		}
	}
	table, err := module.NewTable([]module.Spec{fastcgi.Spec()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: table}
	ps := b.Build(nil, fastcgi.Spec().ID, config.NewObject(members), module.Options{}).Problems
	if len(ps) != 1 || ps[0].Pointer != "/split_path/0" {
		t.Fatalf("problems %v", ps)
	}
	at := "/apps/http/servers/srv0/routes/" + string(rune('0'+len(n)-1)) + "/handle/0/transport" + ps[0].Pointer
	placed := doc.Place(schema.Problems{{Pointer: at, Message: ps[0].Message}})
	if file, line, ok := doc.Locate(at); !ok || line != 3 {
		t.Errorf("the problem is at %s:%d %v (%v), want line 3", file, line, ok, placed)
	}
}

func elements(n *config.Node) func(func(*config.Node) bool) {
	return func(yield func(*config.Node) bool) {
		for _, e := range n.Elements() {
			if !yield(e) {
				return
			}
		}
	}
}

var fence = regexp.MustCompile("(?s)```caddy-body\n([^`]*php_fastcgi.*?)\n?```\n```json\n(.*?)\n?```")

func TestReferenceVectors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "reference", "caddyfile.md"))
	if err != nil {
		t.Skip("the reference is not beside the project")
	}
	found := 0
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], "```") {
			continue
		}
		got, err := adapttest.Routes(t, m[1])
		if err != nil {
			t.Errorf("%v\nin %s", err, m[1])
			continue
		}
		found++
		adapttest.Same(t, got, m[2])
	}
	if found < 2 {
		t.Errorf("only %d examples", found)
	}
}
