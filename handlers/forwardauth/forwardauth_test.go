package forwardauth_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// table is everything that ships.
func table(t testing.TB) *module.Table {
	t.Helper()
	tb, err := module.NewTable(append(standard.Specs(), endpoint.Spec()), standard.Refused())
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

const preset = `"X-Forwarded-Method":["{http.request.method}"],"X-Forwarded-Uri":["{http.request.uri}"]`

func TestDirective(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"forward_auth /adm/* auth:9000 {\n\turi /check\n\tcopy_headers x-user>remote-user\n}",
			`[{"match":[{"path":["/adm/*"]}],"handle":[{"handler":"reverse_proxy","headers":{"request":{"set":{"X-Forwarded-Method":["{http.request.method}"],"X-Forwarded-Uri":["{http.request.uri}"]}}},"rewrite":{"method":"GET","uri":"/check"},"handle_response":[{"match":{"status_code":[2]},"routes":[{"handle":[{"handler":"vars"}]},{"handle":[{"handler":"headers","request":{"delete":["Remote-User"]}}]},{"match":[{"not":[{"vars":{"{http.reverse_proxy.header.X-User}":[""]}}]}],"handle":[{"handler":"headers","request":{"set":{"Remote-User":["{http.reverse_proxy.header.X-User}"]}}}]}]}],"upstreams":[{"dial":"auth:9000"}]}]}]`},
		{"forward_auth auth:9000 {\n\turi /check\n}",
			`[{"handle":[{"handler":"reverse_proxy","headers":{"request":{"set":{` + preset + `}}},"rewrite":{"method":"GET","uri":"/check"},"handle_response":[{"match":{"status_code":[2]},"routes":[{"handle":[{"handler":"vars"}]}]}],"upstreams":[{"dial":"auth:9000"}]}]}]`},
		// The user's own counts more, and comes after.
		{"forward_auth @m {\n\tto auth:9000\n\tmethod POST\n\turi /check\n\theader_up X-Forwarded-Uri {path}\n\theader_up -X-Gone\n\theader_up +X-More a\n\theader_down X b\n\tlb_retries 2\n" +
			"\thandle_response {\n\t\trespond no\n\t}\n\t@teapot status 418\n\treplace_status @teapot 403\n}\n@m method GET",
			`[{"match":[{"method":["GET"]}],"handle":[{"handler":"reverse_proxy","headers":{"request":{"add":{"X-More":["a"]},"delete":["X-Gone"],"set":{"X-Forwarded-Method":["{http.request.method}"],"X-Forwarded-Uri":["{http.request.uri.path}"]}},"response":{"set":{"X":["b"]}}},"load_balancing":{"retries":2},"rewrite":{"method":"POST","uri":"/check"},` +
				`"handle_response":[{"match":{"status_code":[2]},"routes":[{"handle":[{"handler":"vars"}]}]},{"match":{"status_code":[418]},"status_code":403},{"routes":[{"handle":[{"handler":"static_response","body":"no"}]}]}],"upstreams":[{"dial":"auth:9000"}]}]}]`},
		// Sorted by source as written; the last of two with one source counts.
		{"forward_auth auth:9000 {\n\turi /check\n\tcopy_headers B>X A {\n\t\tb>Y c\n\t\tA>Z\n\t}\n}",
			`[{"handle":[{"handler":"reverse_proxy","headers":{"request":{"set":{` + preset + `}}},"rewrite":{"method":"GET","uri":"/check"},"handle_response":[{"match":{"status_code":[2]},"routes":[{"handle":[{"handler":"vars"}]},` +
				copied("A", "Z") + `,` + copied("B", "X") + `,` + copied("B", "Y") + `,` + copied("C", "C") + `]}],"upstreams":[{"dial":"auth:9000"}]}]}]`},
	} {
		adapttest.Same(t, adapttest.Body(t, tt.text), tt.want)
	}
}

func copied(from, to string) string {
	p := "{http.reverse_proxy.header." + from + "}"
	return `{"handle":[{"handler":"headers","request":{"delete":["` + to + `"]}}]},{"match":[{"not":[{"vars":{"` + p + `":[""]}}]}],"handle":[{"handler":"headers","request":{"set":{"` + to + `":["` + p + `"]}}}]}`
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"forward_auth auth:9000", "parsing caddyfile tokens for 'forward_auth': the 'uri' subdirective is required"},
		{"forward_auth auth:9000 {\n}", "the 'uri' subdirective is required"},
		{"forward_auth auth:9000 {\nuri\n}", "wrong argument count"},
		{"forward_auth auth:9000 {\nuri /a /b\n}", "wrong argument count"},
		{"forward_auth auth:9000 {\nuri /a\nuri /b\n}", "cannot re-declare uri: /b"},
		{"forward_auth auth:9000 {\nuri /a\ncopy_headers\n}", "wrong argument count"},
		{"forward_auth auth:9000 {\nuri /a\ncopy_headers {\n}\n}", "wrong argument count"},
		{"forward_auth auth:9000 {\nuri /a\ncopy_headers >A\n}", "bad field '>A'"},
		{"forward_auth auth:9000 {\nuri /a\ncopy_headers A>B>C\n}", "bad field"},
		{"forward_auth auth:9000 {\nuri /a\ncopy_headers X-*\n}", "bad field"},
		{"forward_auth auth:9000 {\nuri /a\nhealth_inteval 5s\n}", "did you mean 'health_interval'?"},
		{"forward_auth http://a https://b {\nuri /a\n}", "all proxy upstreams must use the same scheme"},
		{"forward_auth auth:9000 {\nuri /a\nhandle_response x {\n}\n}", "must use a named response matcher, starting with '@'"},
		{"forward_auth @nope auth:9000 {\nuri /a\n}", "unrecognized matcher name: @nope"},
	} {
		_, err := adapttest.Site(t, tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\nfails with %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

// An error says the line of what is wrong, also behind the lines that the directive keeps for itself.
func TestPlaces(t *testing.T) {
	_, err := adapttest.Adapt(t, ":80\nforward_auth auth:9000 {\n\turi /a\n\tcopy_headers A\n\tlb_retries x\n}\n")
	var list adapt.Errors
	if !errors.As(err, &list) || len(list) != 1 || list[0].Line != 5 {
		t.Errorf("%#v", err)
	}
	doc, err := adapttest.Adapt(t, ":80\nforward_auth auth:9000 {\n\tcopy_headers A\n\turi /a\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	const handler = "/apps/http/servers/srv0/routes/0/handle/0"
	for pointer, want := range map[string]int{handler: 2, handler + "/rewrite/uri": 4, handler + "/handle_response/0/routes/1/handle/0": 3} {
		if _, line, ok := doc.Locate(pointer); !ok || line != want {
			t.Errorf("%s is said to be on line %d, want %d", pointer, line, want)
		}
	}
}

// The collected cases, where they lie beside the project.
func TestCorpus(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "corpus", "caddyfile_adapt", "forward_auth_*"))
	if len(files) == 0 {
		t.Skip("the corpus is not beside the project")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, ok := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n----------\n")
		if !ok {
			t.Fatalf("%s has no second part", file)
		}
		doc, err := adapttest.Adapt(t, strings.TrimSpace(input)+"\n")
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
			continue
		}
		adapttest.Same(t, string(doc.Root.AppendJSON(nil)), want)
	}
}
