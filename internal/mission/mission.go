// Package mission is the 22 Caddyfiles that the product exists for, and the test that each does what its author meant, on a
// machine of its own.
package mission

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Case is a Caddyfile by its number.
type Case struct {
	// Name is the name of the file.
	Name string
	// Text is the Caddyfile, byte for byte as its author wrote it where the collection lies beside the project, and else in
	// the same words.
	Text string
}

// Cases lists the numbers of all Caddyfiles in order.
func Cases() (numbers []string) {
	for _, c := range own {
		numbers = append(numbers, c.Name[:2])
	}
	return numbers
}

// comments are left out when files are compared.
var comments = regexp.MustCompile(`(?m)^\s*#.*$`)

// Read takes a Caddyfile from the collection, or else from here. It is an error if the two are not the same, comments apart.
func Read(t testing.TB, number string) Case {
	t.Helper()
	for _, c := range own {
		if c.Name[:2] != number {
			continue
		}
		// Packages of tests are two folders below the project's.
		given, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "mission", c.Name))
		if os.IsNotExist(err) {
			return c
		}
		if err != nil {
			t.Fatal(err)
		}
		words := func(text string) []string { return strings.Fields(comments.ReplaceAllString(text, "")) }
		if !slices.Equal(words(string(given)), words(c.Text)) {
			t.Errorf("the words of %s that are kept here are not those of the file", c.Name)
		}
		return Case{c.Name, string(given)}
	}
	t.Fatalf("there is no mission %s", number)
	return Case{}
}

// own is the words of the files.
var own = []Case{
	{"01_basic.caddyfile", "example.com {\nreverse_proxy localhost:3000\n}\n"},
	{"02_unix_socket.caddyfile", "example.com {\nreverse_proxy unix//run/app.sock\n}\n"},
	{"03_multiple_upstreams.caddyfile", "example.com {\nreverse_proxy localhost:3000 localhost:3001 localhost:3002\n}\n"},
	{"04_lb_policy.caddyfile", "example.com {\nreverse_proxy localhost:3000 localhost:3001 localhost:3002 {\nlb_policy round_robin\n}\n}\n"},
	{"05_health_checks.caddyfile", "example.com {\nreverse_proxy localhost:3000 localhost:3001 {\nlb_policy round_robin\nhealth_path /healthz\nhealth_interval 10s\nhealth_timeout 5s\n}\n}\n"},
	{"06_header_up.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nheader_up Host {upstream_hostport}\nheader_up X-Real-IP {remote_host}\nheader_up X-Forwarded-For {remote_host}\nheader_up X-Forwarded-Proto {scheme}\n}\n}\n"},
	{"07_header_down.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nheader_down -Server\nheader_down -X-Powered-By\n}\n}\n"},
	{"08_path_routing.caddyfile", "example.com {\nhandle /api/* {\nreverse_proxy localhost:8080\n}\nhandle {\nroot * /var/www/html\nfile_server\n}\n}\n"},
	{"09_strip_prefix.caddyfile", "example.com {\nhandle /api/* {\nuri strip_prefix /api\nreverse_proxy localhost:3000\n}\n}\n"},
	{"10_websocket.caddyfile", "example.com {\nreverse_proxy localhost:3000\n}\n"},
	{"11_websocket_explicit.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nheader_up Connection {>Connection}\nheader_up Upgrade {>Upgrade}\n}\n}\n"},
	{"12_grpc_h2c.caddyfile", "example.com {\nreverse_proxy localhost:50051 {\ntransport http {\nversions h2c\n}\n}\n}\n"},
	{"13_transport.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\ntransport http {\ndial_timeout 5s\nresponse_header_timeout 30s\nread_buffer_size 8192\nwrite_buffer_size 8192\nmax_idle_conns 100\nidle_conn_timeout 60s\n}\n}\n}\n"},
	{"14_streaming_flush_now.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nflush_interval -1\n}\n}\n"},
	{"15_streaming_flush_periodic.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nflush_interval 1s\n}\n}\n"},
	{"16_dynamic_srv.caddyfile", "example.com {\nreverse_proxy {\nto _api._tcp.example.com\nlb_policy round_robin\n}\n}\n"},
	{"17_upstream_errors.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nfail_duration 10s\nmax_fails 3\nunhealthy_status 5xx\nunhealthy_latency 5s\n}\n}\n"},
	{"18_static_fallback.caddyfile", "example.com {\nreverse_proxy localhost:3000 {\nfail_duration 5s\nmax_fails 1\n}\nhandle_errors {\nroot * /var/www/maintenance\ntry_files /maintenance.html =503\nfile_server\n}\n}\n"},
	{"19_multi_backend.caddyfile", "example.com {\n@api path /api/*\n@static path /static/*\n@ws header Connection *Upgrade*\nhandle @api {\nreverse_proxy api-server:8080\n}\nhandle @ws {\nreverse_proxy ws-server:3000\n}\nhandle @static {\nroot * /var/www/static\nfile_server\n}\nhandle {\nreverse_proxy web-server:3001\n}\n}\n"},
	{"20_redir_vs_file_server_sorted.caddyfile", "example.com {\nfile_server /specific.html\nredir https://anothersite.com{uri}\n}\n"},
	{"21_redir_vs_file_server_route.caddyfile", "example.com {\nroute {\nfile_server /specific.html\nredir https://anothersite.com{uri}\n}\n}\n"},
	{"22_api_proxy_then_spa.caddyfile", "example.com {\nroot * /srv\nroute {\nreverse_proxy /api* localhost:9000\ntry_files {path} /index.html\nfile_server\n}\n}\n"},
}
