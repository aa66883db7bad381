package filematch_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestTryFiles(t *testing.T) {
	const rewrite = `"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}"}]`
	const path = "{http.request.uri.path}"
	for _, c := range []struct{ name, text, want string }{
		{"one", "try_files {path}", `[{"match":[{"file":{"try_files":["` + path + `"]}}],` + rewrite + `}]`},
		{"several", "try_files {path} {path}.html =404", `[{"match":[{"file":{"try_files":["` + path + `","` + path + `.html","=404"]}}],` + rewrite + `}]`},
		{"with a query", "try_files {path} {path}/ /index.php?{query}&p={path}", `[
			{"group":"group0","match":[{"file":{"try_files":["` + path + `","` + path + `/"]}}],` + rewrite + `},
			{"group":"group0","match":[{"file":{"try_files":["/index.php"]}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}?{http.request.uri.query}&p=` + path + `"}]}]`},
		{"only a query", "try_files /index.php?", `[{"match":[{"file":{"try_files":["/index.php"]}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}?"}]}]`},
		{"around a query", "try_files /a /b?x?y /c /d {\n\tpolicy smallest_size\n}", `[
			{"group":"group0","match":[{"file":{"try_files":["/a"],"try_policy":"smallest_size"}}],` + rewrite + `},
			{"group":"group0","match":[{"file":{"try_files":["/b"],"try_policy":"smallest_size"}}],"handle":[{"handler":"rewrite","uri":"{http.matchers.file.relative}?x?y"}]},
			{"group":"group0","match":[{"file":{"try_files":["/c","/d"],"try_policy":"smallest_size"}}],` + rewrite + `}]`},
		{"other lines", "try_files /a {\n\troot /x {\n\t\ty\n\t}\n\tpolicy first_exist\n}", `[{"match":[{"file":{"try_files":["/a"],"try_policy":"first_exist"}}],` + rewrite + `}]`},
		{"behind a rewrite", "try_files /b\nrewrite /a", `[{"group":"group0","handle":[{"handler":"rewrite","uri":"/a"}]},{"match":[{"file":{"try_files":["/b"]}}],` + rewrite + `}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
	doc, err := adapttest.Site(t, "try_files /a {\n\troot /x\n}")
	if err != nil || len(doc.Warnings) == 0 || doc.Warnings[0].Line != 3 || !strings.Contains(doc.Warnings[0].Message, "'root' is ignored") {
		t.Errorf("%v, %v", doc.Warnings, err)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"alone", "@m file", `{}`},
		{"files", "@m file /a {path}", `{"try_files":["/a","{http.request.uri.path}"]}`},
		{"a block", "@m file /a {\n\troot /srv\n\ttry_files /b /c\n\ttry_policy largest_size\n\tsplit_path .php .x\n}", `{"root":"/srv","try_files":["/a","/b","/c"],"try_policy":"largest_size","split_path":[".php",".x"]}`},
		{"the last one wins but for files", "@m {\n\tfile /a {\n\t\troot /x\n\t\tsplit_path .a\n\t}\n\tfile /b {\n\t\troot /y\n\t\tsplit_path .b\n\t\ttry_policy first_exist\n\t}\n}", `{"root":"/y","try_files":["/a","/b"],"try_policy":"first_exist","split_path":[".b"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			adapttest.Same(t, adapttest.Body(t, c.text+"\nrespond @m x"), `[{"match":[{"file":`+c.want+`}],"handle":[{"handler":"static_response","body":"x"}]}]`)
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no files", "try_files", "parsing caddyfile tokens for 'try_files': wrong argument count or unexpected line ending after 'try_files', at Caddyfile:2"},
		{"a policy", "try_files /a {\n\tpolicy first_exists\n}", "unrecognized try policy: first_exists, at Caddyfile:3 (did you mean 'first_exist'?)"},
		{"no policy", "try_files /a {\n\tpolicy\n}", "wrong argument count or unexpected line ending after 'policy', at Caddyfile:3"},
		{"a policy of the matcher", "@m file /a {\n\ttry_policy last\n}\nrespond @m x", "unrecognized try policy: last, at Caddyfile:3"},
		{"a line of the matcher", "@m file /a {\n\ttry /b\n}\nrespond @m x", "unrecognized subdirective: try, at Caddyfile:3"},
		{"a line without value", "@m file /a {\n\troot\n}\nrespond @m x", "wrong argument count or unexpected line ending after 'root', at Caddyfile:3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := adapttest.Site(t, c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %s", err, c.want)
			}
		})
	}
}
