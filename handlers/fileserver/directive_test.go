package fileserver_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

func adapted(t *testing.T, filename, text string, files fstest.MapFS) (*adapt.Document, error) {
	t.Helper()
	return adapttest.Adapter(t).Adapt(adapt.Source{Filename: filename, Text: []byte(text), Env: caddyfile.Env{
		LookupEnv: func(string) (string, bool) { return "", false }, Files: caddyfile.FSFiles(files), Dir: "/",
	}})
}

func routes(t *testing.T, filename, body string, files fstest.MapFS) string {
	t.Helper()
	doc, err := adapted(t, filename, ":80 {\n"+body+"\n}\n", files)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return adapttest.RoutesOf(doc)
}

func TestDirective(t *testing.T) {
	const auto = `"hide":["./Caddyfile"]`
	for _, c := range []struct{ name, text, want string }{
		{"alone", "file_server", auto},
		{"browse", "file_server browse", `"browse":{},` + auto},
		{"empty block", "file_server {\n}", auto},
		{"fs", "file_server {\n\tfs assets\n}", `"fs":"assets",` + auto},
		{"root", "file_server {\n\troot /srv\n\troot {vars.dir}\n}", `"root":"{http.vars.dir}",` + auto},
		{"hide accumulates, the file comes last", "file_server {\n\thide a.txt b.txt\n\thide c.txt\n}", `"hide":["a.txt","b.txt","c.txt","./Caddyfile"]`},
		{"the file is hidden already", "file_server {\n\thide Caddyfile\n}", `"hide":["Caddyfile"]`},
		{"by a glob", "file_server {\n\thide Caddy*\n}", `"hide":["Caddy*"]`},
		{"by its path", "file_server {\n\thide ./Caddyfile\n}", `"hide":["./Caddyfile"]`},
		{"by its directory", "file_server {\n\thide ./\n}", `"hide":["./"]`},
		{"not by another", "file_server {\n\thide caddyfile\n}", `"hide":["caddyfile","./Caddyfile"]`},
		{"index replaces", "file_server {\n\tindex a b\n\tindex c\n}", `"index_names":["c"],` + auto},
		{"browse in the block", "file_server {\n\tbrowse\n}", `"browse":{},` + auto},
		{"a template", "file_server {\n\tbrowse page.html\n}", `"browse":{"template_file":"page.html"},` + auto},
		{"all of browse", "file_server {\n\tbrowse page.html {\n\t\treveal_symlinks\n\t\tsort size desc\n\t\tfile_limit 5\n\t}\n}",
			`"browse":{"template_file":"page.html","reveal_symlinks":true,"sort":["size","desc"],"file_limit":5},` + auto},
		{"a limit that is no number", "file_server {\n\tbrowse {\n\t\tfile_limit many\n\t}\n}", `"browse":{},` + auto},
		{"all formats", "file_server {\n\tprecompressed\n}", `"precompressed":{"br":{},"zstd":{},"gzip":{}},"precompressed_order":["br","zstd","gzip"],` + auto},
		{"formats", "file_server {\n\tprecompressed gzip br\n}", `"precompressed":{"br":{},"gzip":{}},"precompressed_order":["gzip","br"],` + auto},
		{"status", "file_server {\n\tstatus 404\n}", `"status_code":404,` + auto},
		{"a placeholder as status", "file_server {\n\tstatus {err.status_code}\n}", `"status_code":"{http.error.status_code}",` + auto},
		{"canonical URIs", "file_server {\n\tdisable_canonical_uris\n}", `"canonical_uris":false,` + auto},
		{"pass thru", "file_server {\n\tpass_thru\n}", `"pass_thru":true,` + auto},
		{"tags", "file_server {\n\tetag_file_extensions .a .b\n\tetag_file_extensions .c\n}", `"etag_file_extensions":[".a",".b",".c"],` + auto},
	} {
		t.Run(c.name, func(t *testing.T) {
			adapttest.Same(t, routes(t, "Caddyfile", c.text, nil), `[{"handle":[{"handler":"file_server",`+c.want+`}]}]`)
		})
	}
	adapttest.Same(t, routes(t, "Caddyfile", "file_server /d/* browse {\n\troot /srv\n\thide .git\n\thide *.key\n\tindex a.html\n\tprecompressed gzip\n\tstatus 404\n\tdisable_canonical_uris\n}", nil),
		`[{"match":[{"path":["/d/*"]}],"handle":[{"handler":"file_server","root":"/srv","hide":[".git","*.key","./Caddyfile"],"index_names":["a.html"],"browse":{},"precompressed":{"gzip":{}},"precompressed_order":["gzip"],"status_code":404,"canonical_uris":false}]}]`)
}

func TestDirectiveHidesConfig(t *testing.T) {
	files := fstest.MapFS{"etc/more.conf": {Data: []byte("root * /srv\n")}}
	for _, c := range []struct{ name, file, text, want string }{
		{"another name", "site.conf", "file_server", `["./site.conf"]`},
		{"a path", "/etc/caddy/Caddyfile", "file_server", `["/etc/caddy/Caddyfile"]`},
		{"a path that is not clean", "conf/../etc/x", "file_server", `["etc/x"]`},
		{"an imported file", "Caddyfile", "import /etc/more.conf\nfile_server", `["/etc/more.conf","./Caddyfile"]`},
		{"one that is hidden", "Caddyfile", "import /etc/more.conf\nfile_server {\n\thide *.conf\n}", `["*.conf","./Caddyfile"]`},
		{"a directory of it", "Caddyfile", "import /etc/more.conf\nfile_server {\n\thide /etc\n}", `["/etc","./Caddyfile"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := routes(t, c.file, c.text, files)
			if i := strings.Index(got, `"hide":`); i < 0 || !strings.HasPrefix(got[i+7:], c.want) {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"another argument", "file_server list", "parsing caddyfile tokens for 'file_server': wrong argument count or unexpected line ending after 'list', at Caddyfile:2"},
		{"two arguments", "file_server browse x", "wrong argument count or unexpected line ending after 'x', at Caddyfile:2"},
		{"browse twice", "file_server browse {\n\tbrowse\n}", "browsing is already configured, at Caddyfile:3"},
		{"browse twice in the block", "file_server {\n\tbrowse\n\tbrowse\n}", "browsing is already configured, at Caddyfile:4"},
		{"two templates", "file_server {\n\tbrowse a b\n}", "wrong argument count or unexpected line ending after 'b', at Caddyfile:3"},
		{"a way to sort", "file_server {\n\tbrowse {\n\t\tsort siez\n\t}\n}", "unknown sort option 'siez', at Caddyfile:4 (did you mean 'size'?)"},
		{"a limit without number", "file_server {\n\tbrowse {\n\t\tfile_limit\n\t}\n}", "file_limit should have an integer value, at Caddyfile:4"},
		{"a limit with two", "file_server {\n\tbrowse {\n\t\tfile_limit 1 2\n\t}\n}", "file_limit should have an integer value, at Caddyfile:4"},
		{"an unknown line of browse", "file_server {\n\tbrowse {\n\t\tcolour\n\t}\n}", "unknown subdirective 'colour', at Caddyfile:4"},
		{"fs twice", "file_server {\n\tfs a\n\tfs b\n}", "file system already specified, at Caddyfile:4"},
		{"fs without name", "file_server {\n\tfs\n}", "wrong argument count or unexpected line ending after 'fs', at Caddyfile:3"},
		{"hide without pattern", "file_server {\n\thide\n}", "wrong argument count or unexpected line ending after 'hide', at Caddyfile:3"},
		{"a format", "file_server {\n\tprecompressed gzpi\n}", "getting module named 'http.precompressed.gzpi': module not registered: http.precompressed.gzpi, at Caddyfile:3 (did you mean 'gzip'?)"},
		{"a format twice", "file_server {\n\tprecompressed gzip gzip\n}", "precompressed format 'gzip' is already specified, at Caddyfile:3"},
		{"an unknown line", "file_server {\n\thidden x\n}", "unknown subdirective 'hidden', at Caddyfile:3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := adapted(t, "Caddyfile", ":80 {\n"+c.text+"\n}\n", nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %s", err, c.want)
			}
		})
	}
}
