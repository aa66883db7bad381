package rewrite_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirectives(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a lone path is the URI", "rewrite /index.php", `[{"group":"group0","handle":[{"handler":"rewrite","uri":"/index.php"}]}]`},
		{"a lone star is the URI", "rewrite *", `[{"group":"group0","handle":[{"handler":"rewrite","uri":"*"}]}]`},
		{"a query", "rewrite * ?v=2&{query}", `[{"group":"group0","handle":[{"handler":"rewrite","uri":"?v=2&{http.request.uri.query}"}]}]`},
		{"a path", "rewrite /a/* /b{path}", `[{"group":"group0","match":[{"path":["/a/*"]}],"handle":[{"handler":"rewrite","uri":"/b{http.request.uri.path}"}]}]`},
		{"a named matcher", "@g method GET\nrewrite @g /get", `[{"group":"group0","match":[{"method":["GET"]}],"handle":[{"handler":"rewrite","uri":"/get"}]}]`},
		{"rewrites exclude each other", "rewrite * /all\nrewrite /one /1", `[
			{"group":"group0","match":[{"path":["/one"]}],"handle":[{"handler":"rewrite","uri":"/1"}]},
			{"group":"group0","handle":[{"handler":"rewrite","uri":"/all"}]}]`},
		{"method", "method DELETE", `[{"handle":[{"handler":"rewrite","method":"DELETE"}]}]`},
		{"of two arguments without a matcher the second is ignored", "rewrite a /b", `[{"group":"group0","handle":[{"handler":"rewrite","uri":"a"}]}]`},
		{"the method as written", "method /old brew", `[{"match":[{"path":["/old"]}],"handle":[{"handler":"rewrite","method":"brew"}]}]`},
		{"order", "uri strip_suffix .html\nmethod GET\nrewrite * /x", `[
			{"handle":[{"handler":"rewrite","method":"GET"}]},
			{"group":"group0","handle":[{"handler":"rewrite","uri":"/x"}]},
			{"handle":[{"handler":"rewrite","strip_path_suffix":".html"}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Same(t, adapttest.Body(t, c.text), c.want) })
	}
}

func TestURI(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"prefix", "uri strip_prefix /v1", `"strip_path_prefix":"/v1"`},
		{"suffix", "uri strip_suffix .json", `"strip_path_suffix":".json"`},
		{"replace", "uri replace _ -", `"uri_substring":[{"find":"_","replace":"-"}]`},
		{"replace with nothing", `uri replace //  ""`, `"uri_substring":[{"find":"//"}]`},
		{"replace with a limit", "uri replace _ - 3", `"uri_substring":[{"find":"_","replace":"-","limit":3}]`},
		{"replace with a negative limit", "uri replace _ - -1", `"uri_substring":[{"find":"_","replace":"-","limit":-1}]`},
		{"a backslash before a brace stays", `uri replace "\}" )`, `"uri_substring":[{"find":"\\}","replace":")"}]`},
		{"regular expression", `uri path_regexp "^/u(\d+)" /users/$1`, `"path_regexp":[{"find":"^/u(\\d+)","replace":"/users/$1"}]`},
		{"delete", "uri query -utm", `"query":{"delete":["utm"]}`},
		{"delete with more signs", "uri query --utm", `"query":{"delete":["utm"]}`},
		{"add", "uri query +page 1", `"query":{"add":[{"key":"page","val":"1"}]}`},
		{"add with more signs", "uri query ++page 1", `"query":{"add":[{"key":"page","val":"1"}]}`},
		{"rename", "uri query q>search", `"query":{"rename":[{"key":"q","val":"search"}]}`},
		{"replace in a value", "uri query name ^a b", `"query":{"replace":[{"key":"name","search_regexp":"^a","replace":"b"}]}`},
		{"replace in all values", "uri query * a+ a", `"query":{"replace":[{"key":"*","search_regexp":"a+","replace":"a"}]}`},
		{"set", "uri query lang {header.Accept-Language}", `"query":{"set":[{"key":"lang","val":"{http.request.header.Accept-Language}"}]}`},
		{"an equals sign is part of the key", "uri query a=b c", `"query":{"set":[{"key":"a=b","val":"c"}]}`},
		{"a greater-than sign in a value", "uri query a b>c", `"query":{"set":[{"key":"a","val":"b>c"}]}`},
		{"no operation", "uri query", `"query":{}`},
		{"a block", "uri query {\n\t-a\n\t-b\n\t+c 1\n\t+c 2\n\td>e\n\tf g h\n\ti j\n\ti k\n}", `"query":{
			"delete":["a","b"],"add":[{"key":"c","val":"1"},{"key":"c","val":"2"}],"rename":[{"key":"d","val":"e"}],
			"replace":[{"key":"f","search_regexp":"g","replace":"h"}],"set":[{"key":"i","val":"j"},{"key":"i","val":"k"}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			adapttest.Same(t, adapttest.Body(t, c.text), `[{"handle":[{"handler":"rewrite",`+c.want+`}]}]`)
		})
	}
	t.Run("a matcher", func(t *testing.T) {
		adapttest.Same(t, adapttest.Body(t, "uri /v1/* strip_prefix /v1"),
			`[{"match":[{"path":["/v1/*"]}],"handle":[{"handler":"rewrite","strip_path_prefix":"/v1"}]}]`)
	})
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"rewrite without a URI", "rewrite", "parsing caddyfile tokens for 'rewrite': too few arguments; rewrite needs a URI, at Caddyfile:2"},
		{"rewrite with three arguments", "\nrewrite * /a /b", "too many arguments; should only be a matcher and a URI, at Caddyfile:3"},
		{"rewrite with an unknown matcher", "rewrite @a /b", "unrecognized matcher name: @a, at Caddyfile:2"},
		{"rewrite with a block", "rewrite /a {\n\tb\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"method without a method", "method", "parsing caddyfile tokens for 'method': wrong argument count or unexpected line ending after 'method', at Caddyfile:2"},
		{"method with a matcher alone", "method /x", "wrong argument count or unexpected line ending after 'method', at Caddyfile:2"},
		{"two methods", "method GET HEAD", "wrong argument count or unexpected line ending after 'HEAD', at Caddyfile:2"},
		{"method with a block", "method GET {\n\ta\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"uri without a manipulation", "uri", "parsing caddyfile tokens for 'uri': wrong argument count or unexpected line ending after 'uri', at Caddyfile:2"},
		{"uri with a matcher alone", "uri /x", "wrong argument count or unexpected line ending after 'uri', at Caddyfile:2"},
		{"unknown manipulation", "uri strip_perfix /a", "unrecognized URI manipulation 'strip_perfix', at Caddyfile:2 (did you mean 'strip_prefix'?)"},
		{"prefix missing", "uri strip_prefix", "wrong argument count or unexpected line ending after 'strip_prefix', at Caddyfile:2"},
		{"two prefixes", "uri strip_prefix /a /b", "wrong argument count or unexpected line ending after '/b', at Caddyfile:2"},
		{"suffix missing", "uri strip_suffix", "wrong argument count or unexpected line ending after 'strip_suffix', at Caddyfile:2"},
		{"a block", "uri strip_suffix .a {\n\tb\n}", "unexpected token '{', expecting argument, at Caddyfile:2"},
		{"replacement missing", "uri replace a", "wrong argument count or unexpected line ending after 'a', at Caddyfile:2"},
		{"a fourth argument of replace", "uri replace a b 1 2", "wrong argument count or unexpected line ending after '2', at Caddyfile:2"},
		{"a limit that is no number", "uri replace a b often", "limit must be an integer; invalid: often, at Caddyfile:2"},
		{"regular expression without a replacement", "uri path_regexp a", "wrong argument count or unexpected line ending after 'a', at Caddyfile:2"},
		{"regular expression with a third argument", "uri path_regexp a b c", "wrong argument count or unexpected line ending after 'c', at Caddyfile:2"},
		{"line and block", "uri query -a {\n\n\t-b\n}", "Cannot specify uri query rewrites in both argument and block, at Caddyfile:4"},
		{"a lone key", "uri query a", "wrong argument count or unexpected line ending after 'a', at Caddyfile:2"},
		{"a lone key in the block", "uri query {\n\t-a\n\tb\n}", "wrong argument count or unexpected line ending after 'b', at Caddyfile:4"},
		{"delete with a value", "uri query -a b", "wrong argument count or unexpected line ending after 'b', at Caddyfile:2"},
		{"add without a value", "uri query +a", "wrong argument count or unexpected line ending after '+a', at Caddyfile:2"},
		{"rename with a value", "uri query a>b c", "wrong argument count or unexpected line ending after 'c', at Caddyfile:2"},
		{"four words", "uri query a b c d", "wrong argument count or unexpected line ending after 'd', at Caddyfile:2"},
		{"four words in the block", "uri query {\n\ta b c d\n}", "wrong argument count or unexpected line ending after 'd', at Caddyfile:3"},
		{"a block in the block", "uri query {\n\ta b {\n\t\tc\n\t}\n}", "unexpected token '{', expecting argument, at Caddyfile:3"},
	} {
		t.Run(c.name, func(t *testing.T) { adapttest.Fails(t, ":80 {\n"+c.text+"\n}", c.want) })
	}
}
