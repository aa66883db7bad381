package clientip

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// assembly is as much of an assembly as an IP source asks for.
type assembly struct {
	module.Assembly
	table *module.Table
}

func (a *assembly) Table() *module.Table                 { return a.table }
func (a *assembly) Placed(*config.Node, caddyfile.Token) {}

func source(t *testing.T, text string) (string, error) {
	t.Helper()
	tokens, err := caddyfile.Lex(text, &caddyfile.Origin{File: "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	table, err := module.NewTable(Specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	n, err := (&module.Use{Assembly: &assembly{table: table}}).Module(d, "http.ip_sources", "source")
	if err != nil {
		return "", err
	}
	b := module.Builder{Table: table}
	if res := b.Build(nil, "http.ip_sources.static", without(n, "source"), module.Options{}); len(res.Problems) > 0 {
		t.Errorf("%s makes %s, and that is wrong: %v", text, n.AppendJSON(nil), res.Problems)
	}
	return string(n.AppendJSON(nil)), nil
}

func without(n *config.Node, key string) *config.Node {
	m := map[string]*config.Node{}
	for k, v := range n.Members() {
		if k != key {
			m[k] = v.Clone()
		}
	}
	return config.NewObject(m)
}

func TestStaticWords(t *testing.T) {
	const private = `"192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1"`
	for text, want := range map[string]string{
		`static 203.0.113.5`:                          `{"ranges":["203.0.113.5"],"source":"static"}`,
		`static 203.0.113.0/28 2001:db8::/32`:         `{"ranges":["203.0.113.0/28","2001:db8::/32"],"source":"static"}`,
		`static private_ranges`:                       `{"ranges":[` + private + `],"source":"static"}`,
		`static 192.0.2.1 private_ranges 2001:db8::1`: `{"ranges":["192.0.2.1",` + private + `,"2001:db8::1"],"source":"static"}`,
	} {
		if got, err := source(t, text); got != want || err != nil {
			t.Errorf("%s\n got %s, %v\nwant %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"static":                    "wrong argument count or unexpected line ending after 'static', at Caddyfile:1",
		"static 10.0.0.1 {\nx y\n}": "malformed static IP source: blocks are not supported, at Caddyfile:1",
		"static {\n10.0.0.1\n}":     "malformed static IP source: blocks are not supported, at Caddyfile:1",
	} {
		if got, err := source(t, text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n got %s, %v\nwant %s", text, got, err, want)
		}
	}
}

func TestExpandRanges(t *testing.T) {
	words := []string{"private_ranges", "192.0.2.1", "private_ranges"}
	got := ExpandRanges(words)
	if n := len(PrivateRanges()); len(got) != 2*n+1 || got[0] != "192.168.0.0/16" || got[n] != "192.0.2.1" || got[2*n] != "::1" {
		t.Errorf("%v became %v", words, got)
	}
	if words[0] != "private_ranges" || words[1] != "192.0.2.1" {
		t.Errorf("the argument was changed: %v", words)
	}
	if got := ExpandRanges(nil); len(got) != 0 {
		t.Errorf("nothing became %v", got)
	}
	for _, r := range PrivateRanges() {
		if _, err := ParsePrefix(r); err != nil {
			t.Error(err)
		}
	}
}
