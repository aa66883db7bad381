package adapt_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/schema"
)

// TestLocate looks for the line of each value that a line of the text asks for
// in a comment: "# <- /pointer", several with spaces between.
func TestLocate(t *testing.T) {
	const r = "/apps/http/servers/srv0/routes"
	for name, text := range map[string]string{
		"options": `{
	http_port 8080 # <- /apps/http/http_port
	grace_period 3s # <- /apps/http/grace_period
	shutdown_delay 2s
	shutdown_delay 4s # <- /apps/http/shutdown_delay
	metrics { # <- /apps/http/metrics
		per_host # <- /apps/http/metrics/per_host
	}
	admin 127.0.0.1:9 { # <- /admin /admin/listen
		enforce_origin # <- /admin/enforce_origin
		origins one.example \
			two.example # in one line with the above
	}
	log audit {
		include a.b # <- /logging/logs/audit/include/0
		output stdout # <- /logging/logs/audit/writer
		level WARN # <- /logging/logs/audit/level
	}
	servers :8080 {
		timeouts {
			idle 7m # <- /apps/http/servers/srv0/idle_timeout
			write 7m # <- /apps/http/servers/srv0/write_timeout
		}
		max_header_size 3KB # <- /apps/http/servers/srv0/max_header_bytes
		trusted_proxies static 10.9.0.0/16 # <- /apps/http/servers/srv0/trusted_proxies
		client_ip_headers X-A X-B # <- /apps/http/servers/srv0/client_ip_headers /apps/http/servers/srv0/client_ip_headers/1
		protocols h1 # <- /apps/http/servers/srv0/protocols/0
	}
}

http://a.example { # <- /apps/http/servers/srv0/listen /apps/http/servers/srv0 ` + r + `/0 ` + r + `/0/match/0/host
}`,
		"TLS": `{
	email me@a.example
	ocsp_interval 2h # <- /apps/tls/automation/ocsp_interval
	tls_resolvers 192.0.2.1 # <- /apps/tls/resolvers/0
	pki {
		ca own { # <- /apps/pki/certificate_authorities/own
			name Own # <- /apps/pki/certificate_authorities/own/name
		}
	}
}

a.example { # <- /apps/tls/automation/policies/0/subjects/0
	tls { # <- /apps/http/servers/srv0/tls_connection_policies/0 /apps/tls/automation/policies/0
		protocols tls1.3 # <- /apps/http/servers/srv0/tls_connection_policies/0/protocol_min
		load /certs # <- /apps/tls/certificates/load_folders/0
		key_type p384 # <- /apps/tls/automation/policies/0/key_type
		issuer internal { # <- /apps/tls/automation/policies/0/issuers/0
			lifetime 3h # <- /apps/tls/automation/policies/0/issuers/0/lifetime
		}
	}
}

b.example { # <- /apps/tls/automation/policies/1/issuers/0/email
}`,
		"admin alone": `{
	persist_config off # <- /admin /admin/config/persist
}
:80`,
		"directives": `:80 { # <- /apps/http/servers/srv0/listen/0

	respond /a "hi" 200 # <- ` + r + `/3 ` + r + `/3/handle/0/body ` + r + `/3/match/0/path/0
	rewrite /b /c # <- ` + r + `/1/handle/0/uri ` + r + `/1/group
	header /c { # <- ` + r + `/0/handle/0
		X-A a # <- ` + r + `/0/handle/0/response/set/X-A/0
		+X-B b # <- ` + r + `/0/handle/0/response/add/X-B
		-X-C # <- ` + r + `/0/handle/0/response/delete/0
		X-D d e # <- ` + r + `/0/handle/0/response/replace/X-D/0/search_regexp
	}
	handle /d { # <- ` + r + `/2 ` + r + `/2/handle/0
		vars {
			one 1 # <- ` + r + `/2/handle/0/routes/0/handle/0/one
			two 2 # <- ` + r + `/2/handle/0/routes/0/handle/0/two
		}
	}
}`,
		"matchers": `:80 {
	@one path_regexp [a # <- ` + r + `/0/match/0/path_regexp ` + r + `/0/match/0/path_regexp/pattern
	@two { # <- ` + r + `/1/match/0
		method GET # <- ` + r + `/1/match/0/method
		path /x # <- ` + r + `/1/match/0/path
		header A b # <- ` + r + `/1/match/0/header/A
		path /y # <- ` + r + `/1/match/0/path/1
		header !C # <- ` + r + `/1/match/0/header/C
		not {
			remote_ip 10.0.0.300 # <- ` + r + `/1/match/0/not/0/remote_ip/ranges/0
			host h.example # <- ` + r + `/1/match/0/not/0/host/0
		}
	}
	handle @one { # <- ` + r + `/0 ` + r + `/0/handle/0
		respond @two 1
	}
	handle @two { # <- ` + r + `/1/handle/0
		@three query a=b # <- ` + r + `/1/handle/0/routes/0/match/0/query
		respond @three 1 # <- ` + r + `/1/handle/0/routes/0
	}
}`,
		"reverse_proxy": `:80 {
	reverse_proxy a:1 { # <- ` + r + `/0/handle/0/upstreams/0/dial
		to b:2 c:3 # <- ` + r + `/0/handle/0/upstreams/2
		lb_policy random_choose 3 # <- ` + r + `/0/handle/0/load_balancing/selection_policy ` + r + `/0/handle/0/load_balancing/selection_policy/choose
		lb_retries 4 # <- ` + r + `/0/handle/0/load_balancing/retries
		lb_try_duration 5s # <- ` + r + `/0/handle/0/load_balancing/try_duration
		request_buffers 6KiB # <- ` + r + `/0/handle/0/request_buffers
		header_up X-A b # <- ` + r + `/0/handle/0/headers/request/set/X-A
		transport http { # <- ` + r + `/0/handle/0/transport
			dial_timeout 5s # <- ` + r + `/0/handle/0/transport/dial_timeout
			keepalive 8s # <- ` + r + `/0/handle/0/transport/keep_alive/idle_timeout
			versions 1.1 2 # <- ` + r + `/0/handle/0/transport/versions/1
		}
	}
}`,
		"named routes and errors": `&(one) { # <- /apps/http/servers/srv0/named_routes/one
	respond 1 # <- /apps/http/servers/srv0/named_routes/one/handle/0
}

:80 {
	invoke one # <- ` + r + `/0/handle/0/name
	handle_errors 404 { # <- /apps/http/servers/srv0/errors/routes/0 /apps/http/servers/srv0/errors/routes/0/match/0/expression
		error "again" 500 # <- /apps/http/servers/srv0/errors/routes/0/handle/0/routes/0/handle/0/error
	}
	log { # <- /logging/logs/log0 /apps/http/servers/srv0/logs /apps/http/servers/srv0/logs/default_logger_name
		output stderr # <- /logging/logs/log0/writer
		format json # <- /logging/logs/log0/encoder
	}
}`,
		"a site in two servers": `:80, :81 {
	@m path /m # <- ` + r + `/0/match/0 /apps/http/servers/srv1/routes/0/match/0/path
	respond @m 1 # <- ` + r + `/0/handle/0 /apps/http/servers/srv1/routes/0/handle/0
}`,
		"snippets": `(s) {
	@{args[0]} path /{args[0]} # <- ` + r + `/0/match/0 ` + r + `/0/match/0/path/0
	header @{args[0]} X {args[1]} # <- ` + r + `/0/handle/0
	{block}
}
:80 {
	import s m v {
		respond last # <- ` + r + `/1/handle/0
	}
}`,
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := adapttest.Adapt(t, text+"\n")
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			for i, line := range strings.Split(text, "\n") {
				_, pointers, ok := strings.Cut(line, "# <- ")
				if !ok {
					continue
				}
				for _, p := range strings.Fields(pointers) {
					asked++
					if file, at, ok := doc.Locate(p); !ok || file != "Caddyfile" || at != i+1 {
						t.Errorf("%s is at %s:%d (%t), not at line %d\n%s", p, file, at, ok, i+1, doc.Root.AppendJSON(nil))
					}
				}
			}
			if asked == 0 {
				t.Error("nothing was asked for")
			}
		})
	}
}

// TestPlaceInFiles: what was imported has the place where it was written.
func TestPlaceInFiles(t *testing.T) {
	doc, err := adapttest.Adapter(t).Adapt(adapt.Source{Filename: "main.caddy", Text: []byte("import sites/*\n:82 {\n\timport part x\n}\n"), Env: caddyfile.Env{
		Dir: "/etc",
		Files: caddyfile.FSFiles(fstest.MapFS{
			"etc/sites/a": {Data: []byte(":81 {\n\n\trespond a\n}\n")},
			"etc/part":    {Data: []byte("# a part\nheader X {args[0]}\n")},
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := doc.Place(schema.Problems{
		{Pointer: "/apps/http/servers/srv0/routes/0/handle/0/body"},
		{Pointer: "/apps/http/servers/srv1/routes/0/handle/0/response"},
		{Pointer: "/apps/http/servers/srv1/listen"},
		{Pointer: "/apps/http/servers/srv1/nothing/there"},
		{Pointer: "/nothing"},
		{Pointer: "/apps", File: "given", Line: 9, Column: 2},
	})
	for i, want := range []schema.Problem{
		{File: "/etc/sites/a", Line: 3}, {File: "/etc/part", Line: 2}, {File: "main.caddy", Line: 2}, {File: "main.caddy", Line: 2}, {}, {File: "given", Line: 9, Column: 2},
	} {
		if got[i].File != want.File || got[i].Line != want.Line || got[i].Column != want.Column {
			t.Errorf("%s is at %s:%d:%d, want %s:%d:%d", got[i].Pointer, got[i].File, got[i].Line, got[i].Column, want.File, want.Line, want.Column)
		}
	}
}
