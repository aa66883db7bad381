package match

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// assembly is as much of an assembly as matchers ask for.
type assembly struct {
	module.Assembly
	table  *module.Table
	placed map[*config.Node]caddyfile.Token
}

func (a *assembly) Table() *module.Table                       { return a.table }
func (a *assembly) Placed(n *config.Node, tok caddyfile.Token) { a.placed[n] = tok }

type anyMatcher struct{}

// withExpression is the table of Specs and of an expression that shows what it
// was given.
func withExpression(t *testing.T) *module.Table {
	t.Helper()
	words := func(u *module.Use, d *caddyfile.Dispenser) (any, error) {
		var raw []string
		for d.Next() {
			raw = append(raw, d.Token().Raw())
		}
		return config.FromGo(map[string]any{"raw": strings.Join(raw, " "), "name": u.Definition})
	}
	none := func(*module.Env, *anyMatcher) (handlers.Matcher, error) { return method(nil), nil }
	mute := func(*module.Env, *anyMatcher) (handlers.Matcher, error) { return method(nil), nil }
	table, err := module.NewTable(append(Specs(),
		module.New("http.matchers.expression", "Shows its words.", nil, none, module.Words(words)),
		module.New("http.matchers.mute", "Has no words.", nil, mute),
	), map[string]string{"http.matchers.later": "it comes later"})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// define reads the definition "@m ..." that text begins with.
func define(t *testing.T, table *module.Table, text string) (*config.Node, *assembly, error) {
	t.Helper()
	blocks, err := caddyfile.Parse("Caddyfile", []byte(":80 {\n"+text+"\n}\n"), caddyfile.Env{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	d := caddyfile.NewDispenser(blocks[len(blocks)-1].Segments[0])
	d.Next()
	a := &assembly{table: table, placed: map[*config.Node]caddyfile.Token{}}
	n, err := Set(&module.Use{Assembly: a}, d, strings.TrimPrefix(d.Val(), "@"))
	if d.Next() {
		t.Errorf("%s: the dispenser has more than the set: %s", text, d.Val())
	}
	return n, a, err
}

func TestWords(t *testing.T) {
	table := withExpression(t)
	tests := []struct{ text, want string }{
		{`@m`, `{}`},
		{"@m {\n}", `{}`},
		{`@m path /one /two*`, `{"path":["/one","/two*"]}`},
		{"@m {\npath /b\nmethod put\npath *.md /a\n}", `{"path":["/b","*.md","/a"],"method":["put"]}`},
		{`@m host Shop.Example *.shop.example`, `{"host":["Shop.Example","*.shop.example"]}`},
		{"@m {\nhost a.example\nhost b.example\n}", `{"host":["a.example","b.example"]}`},
		{"@m {\nmethod HEAD\nmethod GET OPTIONS\n}", `{"method":["HEAD","GET","OPTIONS"]}`},
		{`@m "path" /quoted`, `{"expression":{"name":"m","raw":"expression \"path\""}}`},
		{"@m {\n\"path\" /quoted\n}", `{"path":["/quoted"]}`},

		{`@m path_regexp ^/v(\d+)/`, `{"path_regexp":{"name":"m","pattern":"^/v(\\d+)/"}}`},
		{`@m path_regexp version ^/v(\d+)/`, `{"path_regexp":{"name":"version","pattern":"^/v(\\d+)/"}}`},
		{`@m not path_regexp \.bak$`, `{"not":[{"path_regexp":{"pattern":"\\.bak$"}}]}`},
		{`@m not path_regexp old \.bak$`, `{"not":[{"path_regexp":{"name":"old","pattern":"\\.bak$"}}]}`},

		{`@m header x-tier gold*`, `{"header":{"X-Tier":["gold*"]}}`},
		{"@m {\nheader x-tier gold\nheader X-Tier silver\nheader accept *json*\n}", `{"header":{"X-Tier":["gold","silver"],"Accept":["*json*"]}}`},
		{"@m {\nheader !x-debug\nheader etag \"\"\n}", `{"header":{"x-debug":null,"Etag":[""]}}`},
		{"@m {\nheader X-A 1\nheader !X-A\n}", `{"header":{"X-A":null}}`},

		{`@m header_regexp cookie sid=(\w+)`, `{"header_regexp":{"cookie":{"name":"m","pattern":"sid=(\\w+)"}}}`},
		{"@m {\nheader_regexp agent User-Agent ^curl\nheader_regexp x-id .\n}",
			`{"header_regexp":{"User-Agent":{"name":"agent","pattern":"^curl"},"x-id":{"name":"m","pattern":"."}}}`},
		{`@m not header_regexp A b`, `{"not":[{"header_regexp":{"A":{"pattern":"b"}}}]}`},

		{`@m protocol http/2+`, `{"protocol":"http/2+"}`},
		{"@m {\nprotocol https\nprotocol grpc\n}", `{"protocol":"grpc"}`},

		{`@m query page=2 page=3 q=*`, `{"query":{"page":["2","3"],"q":["*"]}}`},
		{"@m {\nquery sort=asc\nquery sort=desc empty= expr=a=b\n}", `{"query":{"sort":["asc","desc"],"empty":[""],"expr":["a=b"]}}`},
		{`@m query ""`, `{"query":{}}`},

		{`@m remote_ip 203.0.113.0/24 ::1`, `{"remote_ip":{"ranges":["203.0.113.0/24","::1"]}}`},
		{"@m {\nremote_ip 192.0.2.1\nremote_ip private_ranges 192.0.2.2\n}",
			`{"remote_ip":{"ranges":["192.0.2.1","192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1","192.0.2.2"]}}`},
		{"@m {\nclient_ip 198.51.100.7\nclient_ip 198.51.100.8/31\n}", `{"client_ip":{"ranges":["198.51.100.7","198.51.100.8/31"]}}`},
		{`@m client_ip private_ranges`,
			`{"client_ip":{"ranges":["192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1"]}}`},

		{`@m vars {http.request.scheme} https`, `{"vars":{"{http.request.scheme}":["https"]}}`},
		{"@m {\nvars tenant red blue\nvars shard 3\nvars tenant green\n}", `{"vars":{"tenant":["red","blue","green"],"shard":["3"]}}`},
		{`@m vars_regexp tenant ^r`, `{"vars_regexp":{"tenant":{"name":"m","pattern":"^r"}}}`},
		{"@m {\nvars_regexp first tenant ^r\nvars_regexp last tenant d$\nvars_regexp shard 3\n}",
			`{"vars_regexp":{"tenant":{"name":"last","pattern":"d$"},"shard":{"name":"m","pattern":"3"}}}`},
		{`@m not vars_regexp shard 3`, `{"not":[{"vars_regexp":{"shard":{"pattern":"3"}}}]}`},

		{`@m not method DELETE`, `{"not":[{"method":["DELETE"]}]}`},
		{"@m not {\nmethod DELETE\npath /admin/*\n}", `{"not":[{"method":["DELETE"],"path":["/admin/*"]}]}`},
		{"@m {\nnot host a.example\nnot {\nheader A 1\nheader A 2\nhost b.example\n}\npath /x\nnot path /y /z\n}",
			`{"not":[{"host":["a.example"]},{"header":{"A":["1","2"]},"host":["b.example"]},{"path":["/y","/z"]}],"path":["/x"]}`},
		{`@m not not path /twice`, `{"not":[{"not":[{"path":["/twice"]}]}]}`},
		{"@m not {\nnot {\nnot protocol grpc\n}\n}", `{"not":[{"not":[{"not":[{"protocol":"grpc"}]}]}]}`},
		{"@m not {\n}", `{"not":[{}]}`},

		{"@m `path('/q*')`", "{\"expression\":{\"name\":\"m\",\"raw\":\"expression `path('/q*')`\"}}"},
		{`@m "1 == 2" and all else`, `{"expression":{"name":"m","raw":"expression \"1 == 2\""}}`},
		{"@m <<CEL\n\t{x} == 1\n\tCEL", `{"expression":{"name":"m","raw":"expression {x} == 1"}}`},
		{`@m expression {x} == "y"`, `{"expression":{"name":"m","raw":"expression {x} == \"y\""}}`},
		{`@m not "1 == 2"`, `{"not":[{"expression":{"name":"","raw":"expression \"1 == 2\""}}]}`},
		{"@m {\nexpression `one`\npath /and\n}", "{\"expression\":{\"name\":\"m\",\"raw\":\"expression `one`\"},\"path\":[\"/and\"]}"},
		{`@m not ` + strings.Repeat("not ", maxNots-1) + `path /a`, strings.Repeat(`{"not":[`, maxNots) + `{"path":["/a"]}` + strings.Repeat(`]}`, maxNots)},
	}
	for _, tt := range tests {
		n, a, err := define(t, table, tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		want, _, err := config.Parse([]byte(tt.want), config.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", tt.want, err)
		}
		if !config.Equal(n, want) {
			t.Errorf("%s\n got %s\nwant %s", tt.text, n.AppendJSON(nil), want.AppendJSON(nil))
		}
		if tok := a.placed[n]; tok.Text != "@m" || tok.Line != 2 {
			t.Errorf("%s: the set is remembered at %q on line %d", tt.text, tok.Text, tok.Line)
		}
		for name, m := range n.Members() {
			if tok := a.placed[m]; m.Kind() != config.String && tok.Text != name {
				t.Errorf("%s: %s is remembered at %q", tt.text, name, tok.Text)
			}
			if name != "expression" && !strings.Contains(tt.want, "expression") {
				build(t, name, string(m.AppendJSON(nil)))
			}
		}
	}
}

// TestWordsOfSnippets: lines that imports bring together stay lines.
func TestWordsOfSnippets(t *testing.T) {
	text := "(s) {\n@m {\npath /0\n{block}\n{block}\nimport one /2\nimport one /3 /4\n}\n}\n(one) {\npath {args[:]}\n}\n:80 {\nimport s {\npath /1\n}\n}\n"
	blocks, err := caddyfile.Parse("Caddyfile", []byte(text), caddyfile.Env{})
	if err != nil {
		t.Fatal(err)
	}
	d := caddyfile.NewDispenser(blocks[len(blocks)-1].Segments[0])
	d.Next()
	n, err := Set(&module.Use{Assembly: &assembly{table: withExpression(t), placed: map[*config.Node]caddyfile.Token{}}}, d, "m")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(n.AppendJSON(nil)), `{"path":["/0","/1","/1","/2","/3","/4"]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestSetInside: what follows a set in the same block is not part of it.
func TestSetInside(t *testing.T) {
	tokens, err := caddyfile.Lex("retry path /a\nretry {\nmethod GET\n}\nretry \"x\" y {\nz\n}\nretry\nend", &caddyfile.Origin{File: "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	u := &module.Use{Assembly: &assembly{table: withExpression(t), placed: map[*config.Node]caddyfile.Token{}}, Definition: "not this"}
	var got []string
	d := caddyfile.NewDispenser(tokens)
	for d.Next() && d.Val() == "retry" {
		n, err := Set(u, d, "")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(n.AppendJSON(nil)))
	}
	want := `{"path":["/a"]} {"method":["GET"]} {"expression":{"name":"","raw":"expression \"x\""}} {}`
	if s := strings.Join(got, " "); s != want || d.Val() != "end" {
		t.Errorf("got %s and then %q, want %s", s, d.Val(), want)
	}
}

func TestWordErrors(t *testing.T) {
	table := withExpression(t)
	const args = "wrong argument count or unexpected line ending after "
	tests := []struct{ text, want string }{
		{`@m path`, args + `'path', at Caddyfile:2`},
		{"@m {\npath /a\nhost\n}", args + `'host', at Caddyfile:4`},
		{`@m method`, args + `'method'`},
		{`@m remote_ip`, args + `'remote_ip'`},
		{`@m client_ip`, args + `'client_ip'`},
		{`@m query`, args + `'query'`},
		{`@m vars`, args + `'vars'`},
		{`@m vars tenant`, "malformed vars matcher: expected a variable and the values that it may have, at Caddyfile:2"},
		{`@m path_regexp`, args + `'path_regexp'`},
		{`@m path_regexp a b c`, args + `'c'`},
		{`@m header_regexp Cookie`, args + `'Cookie'`},
		{`@m header_regexp a b c d`, args + `'d'`},
		{`@m vars_regexp x`, args + `'x'`},
		{`@m vars_regexp a b c d`, args + `'d'`},
		{"@m {\npath_regexp a\npath_regexp b c\n}", "regular expression can only be used once per named matcher, at Caddyfile:4"},
		{"@m not {\npath_regexp a\npath_regexp b\n}", "regular expression can only be used once per named matcher"},
		{"@m {\nheader_regexp X-Id 1\nheader_regexp n X-Id 2\n}", "header_regexp matcher can only be used once per named matcher, per header field: X-Id, at Caddyfile:4"},
		{`@m protocol`, "expected exactly one protocol, at Caddyfile:2"},
		{`@m protocol http https`, "expected exactly one protocol"},
		{`@m query page`, "malformed query matcher token: page; must be in param=val format"},
		{`@m query a=1 "" b`, "malformed query matcher token: b; must be in param=val format"},
		{`@m remote_ip forwarded 10.0.0.1`, "the 'forwarded' option is no longer supported; use the 'client_ip' matcher instead"},
		{`@m header`, "malformed header matcher: expected both field and value"},
		{`@m header X-A`, "malformed header matcher: expected both field and value"},
		{`@m header X-A 1 2`, "malformed header matcher: expected both field and value"},
		{`@m header X-A 1 X-B 2`, "malformed header matcher: expected both field and value"},
		{`@m header !`, "malformed header matcher: must have field name following ! character"},
		{`@m header !X-A 1`, "malformed header matcher: null matching headers cannot have a field value"},
		{`@m headr A b`, "getting matcher module 'headr': module not registered: http.matchers.headr, at Caddyfile:2 (did you mean 'header'?)"},
		{`@m not nope`, "getting matcher module 'nope': module not registered: http.matchers.nope"},
		{"@m {\npath /a\nnope {\nx y\n}\n}", "getting matcher module 'nope': module not registered: http.matchers.nope, at Caddyfile:4"},
		{`@m ` + strings.Repeat("n", 5000), "getting matcher module 'nnnn"},
		{`@m later x`, "module http.matchers.later is not supported yet: it comes later"},
		{`@m mute x`, "module http.matchers.mute has no form in a Caddyfile"},
		{`@m ` + strings.Repeat("not ", maxNots+1) + `path /a`, "more than 16 'not' in a row"},
		{`@m ` + strings.Repeat("not ", 100_000) + `path /a`, "more than 16 'not' in a row"},
	}
	for _, name := range []string{"client_ip", "header", "header_regexp", "host", "method", "path", "path_regexp", "protocol", "query", "remote_ip", "vars", "vars_regexp"} {
		for _, args := range []string{"", " a=1", " a=1 b"} {
			if args == " a=1 b" && name == "protocol" {
				continue
			}
			tests = append(tests, struct{ text, want string }{"@m " + name + args + " {\nx y\n}", "malformed " + name + " matcher: blocks are not supported"})
		}
	}
	for _, tt := range tests {
		n, _, err := define(t, table, tt.text)
		if err == nil {
			t.Errorf("%.200s: no error, but %s", tt.text, n.AppendJSON(nil))
			continue
		}
		if !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.200s\n got %v\nwant %s", tt.text, err, tt.want)
		}
		if len(err.Error()) > 700 {
			t.Errorf("%.200s: the error has %d bytes", tt.text, len(err.Error()))
		}
	}
}
