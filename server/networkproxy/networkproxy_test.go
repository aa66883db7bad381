package networkproxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/networkproxy"
)

type holder struct {
	Proxy module.Ref[networkproxy.Proxy] `json:"proxy" module:"caddy.network_proxy" inline:"from"`
}

func build(t *testing.T, text string) module.Result {
	t.Helper()
	table, err := module.NewTable(append(networkproxy.Specs(), module.New("holder", "Holds a proxy.", nil,
		func(_ *module.Env, c *holder) (networkproxy.Proxy, error) { return c.Proxy.Value(), nil })), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return (&module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}}}).Build(nil, "holder", node, module.Options{})
}

func TestForTransport(t *testing.T) {
	scope := vars.Map{"env.PROXY": "proxy.test:3128", "env.SECRET": "ftp://user:hush@proxy.test"}
	r, err := http.NewRequest(http.MethodGet, "http://a.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"proxy":{"from":"url","url":"http://{env.PROXY}"}}`:   "http://proxy.test:3128",
		`{"proxy":{"from":"url","url":"socks5://p.test:1080"}}`: "socks5://p.test:1080",
		`{"proxy":{"from":"none"}}`:                             "",
		`{"proxy":{"from":"url","url":"{env.SECRET}"}}`:         "error",
		`{"proxy":{"from":"url","url":"{env.NONE}"}}`:           "error",
	} {
		res := build(t, text)
		if len(res.Problems) > 0 {
			t.Fatal(res.Problems)
		}
		u, err := networkproxy.ForTransport(res.Root.Value().(networkproxy.Proxy), scope)(r)
		got := ""
		switch {
		case err != nil:
			got = "error"
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the password is in the error: %v", err)
			}
		case u != nil:
			got = u.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{`{"proxy":{"from":"url"}}`, `{"proxy":{"from":"url","url":"ftp://user:hush@x"}}`, `{"proxy":{"from":"url","url":"http://user:hush@"}}`, `{"proxy":{"from":"none","url":"x"}}`} {
		if res := build(t, text); len(res.Problems) == 0 {
			t.Errorf("%s is taken", text)
		} else if strings.Contains(res.Problems.Error(), "hush") {
			t.Errorf("the password is in the problem: %v", res.Problems)
		}
	}
}
