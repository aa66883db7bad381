package metricshandler_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/metricshandler"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/metrics"
)

// serve runs one handler on a real server.
func serve(t *testing.T, text string) *httptest.Server {
	t.Helper()
	registry, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	registry.Counter(metrics.Opts{Name: "things_total", Help: "Things."}).Inc()
	services := module.Services{}
	module.Provide(services, registry)
	table, err := module.NewTable([]module.Spec{metricshandler.Spec()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}, Services: services}}
	res := b.Build(nil, metricshandler.Spec().ID, node, module.Options{})
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	h := res.Root.Value().(handlers.Handler)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := handlers.NextFunc(func(http.ResponseWriter, *http.Request) error {
			t.Error("next was called")
			return nil
		})
		if err := h.ServeHTTP(w, r, next); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestFormats(t *testing.T) {
	const open = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	for _, c := range []struct{ config, method, accept, contentType, contains string }{
		{`{}`, "GET", "", "text/plain; version=0.0.4", "sluice_things_total 1"},
		{`{}`, "GET", open, "application/openmetrics-text; version=1.0.0", "# EOF"},
		{`{}`, "POST", "text/plain", "text/plain; version=0.0.4", "sluice_things_total 1"},
		{`{"disable_openmetrics":true}`, "GET", open, "text/plain; version=0.0.4", "sluice_things_total 1"},
	} {
		s := serve(t, c.config)
		r, err := http.NewRequest(c.method, s.URL+"/any/path", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), c.contentType) || !strings.Contains(string(body), c.contains) {
			t.Errorf("%+v: %d, %s, %v:\n%.300s", c, res.StatusCode, res.Header.Get("Content-Type"), err, body)
		}
		if eof := strings.HasSuffix(string(body), "# EOF\n"); eof != (c.contains == "# EOF") {
			t.Errorf("%+v: ends with # EOF: %v", c, eof)
		}
	}
}

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"metrics", `[{"handle":[{"handler":"metrics"}]}]`},
		{"metrics /metrics", `[{"match":[{"path":["/metrics"]}],"handle":[{"handler":"metrics"}]}]`},
		{"metrics {\n\tdisable_openmetrics\n}", `[{"handle":[{"handler":"metrics","disable_openmetrics":true}]}]`},
	} {
		got, err := adapttest.Routes(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
	}
	for _, text := range []string{"metrics now", "metrics /a now", "metrics {\n\tdisable_openmetrics now\n}", "metrics {\n\tenable\n}"} {
		if got, err := adapttest.Routes(t, text); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
}
