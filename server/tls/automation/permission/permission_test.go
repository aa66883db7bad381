package permission

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func TestAllow(t *testing.T) {
	var last *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r
		switch r.URL.Query().Get("domain") {
		case "no.example":
			w.WriteHeader(http.StatusForbidden)
		case "elsewhere.example":
			http.Redirect(w, r, "/?domain=yes.example", http.StatusFound)
		case "empty.example":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	p, err := New(s.URL + "/x?a=1&domain=replaced")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"yes.example": nil, "empty.example": nil, "no.example": ErrDenied, "elsewhere.example": ErrDenied} {
		if err := p.Allow(context.Background(), name); !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if err := p.Allow(context.Background(), "odd&a=2"); err != nil {
		t.Error(err)
	}
	if q := last.URL.Query(); last.Method != "GET" || len(q["a"]) != 1 || q.Get("domain") != "odd&a=2" || last.URL.Path != "/x" {
		t.Errorf("asked %s %s", last.Method, last.URL)
	}
	s.Close()
	err = p.Allow(context.Background(), "yes.example")
	if err == nil || errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "a=1") {
		t.Errorf("nobody answers: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Allow(ctx, "yes.example"); err == nil {
		t.Error("allowed for a client that is gone")
	}
	for _, bad := range []string{"", "localhost:1", "ftp://x/", "http://"} {
		if _, err := New(bad); err == nil {
			t.Errorf("%q is taken for a URL", bad)
		}
	}
}

func TestWords(t *testing.T) {
	table, err := module.NewTable([]module.Spec{Spec()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"http http://x/":                           `{"endpoint":"http://x/"}`,
		"http {\n endpoint http://x/\n}":           `{"endpoint":"http://x/"}`,
		"http http://x/ {\n endpoint http://y/\n}": "!twice",
		"http":                              "!wrong argument count",
		"http a b":                          "!wrong argument count",
		"http http://x/ {\n interval 1m\n}": "!unrecognized",
		"http {\n endpoint http://x/ http://y/\n }": "!wrong argument count",
	} {
		tokens, err := caddyfile.Lex(text, &caddyfile.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := Spec().Words(&module.Use{}, caddyfile.NewDispenser(tokens))
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
		node, err := table.Encode(Spec().ID, cfg)
		if err != nil || string(node.AppendJSON(nil)) != want {
			t.Errorf("%s is %s, %v", text, node.AppendJSON(nil), err)
		}
	}
}
