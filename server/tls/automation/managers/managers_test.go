package managers

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

func TestWordsAndConfigs(t *testing.T) {
	table, err := module.NewTable(Specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"http http://x/": `{"url":"http://x/"}`, "tailscale": `{}`, "http": "!wrong argument count", "http a b": "!wrong argument count",
		"tailscale x": "!wrong argument count", "tailscale {\n x\n}": "!unrecognized",
	} {
		name, _, _ := strings.Cut(text, " ")
		spec, _ := table.Spec(Namespace + "." + name)
		tokens, err := caddyfile.Lex(text, &caddyfile.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := spec.Words(&module.Use{}, caddyfile.NewDispenser(tokens))
		if sentence, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), sentence) {
				t.Errorf("%s: %v, want %q", text, err, sentence)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		node, err := table.Encode(spec.ID, cfg)
		if err != nil || string(node.AppendJSON(nil)) != want {
			t.Errorf("%s is %s, %v", text, node.AppendJSON(nil), err)
		}
	}
	b := &module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}}}
	for doc, ok := range map[string]bool{`{"url":"https://x/y?z=1"}`: true, `{"url":"x"}`: false, `{}`: false, `{"url":"{env.NONE}"}`: false} {
		node, _, err := config.Parse([]byte(doc), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if res := b.Build(nil, Namespace+".http", node, module.Options{}); (len(res.Problems) == 0) != ok {
			t.Errorf("%s: %v", doc, res.Problems)
		} else if !ok && res.Problems[0].Pointer != "/url" {
			t.Errorf("%s: %v", doc, res.Problems)
		}
	}
}
