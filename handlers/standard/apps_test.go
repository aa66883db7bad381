package standard

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
)

var apps = []string{"caddy.filesystems", "events", "http", "pki", "tls"}

// TestApps: under apps stand apps, and no other module.
func TestApps(t *testing.T) {
	b := builder(t, table(t))
	build := func(key, value string) schema.Problems {
		t.Helper()
		n, _, err := config.Parse([]byte(`{"apps":{"`+key+`":`+value+`}}`), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		// The admin object is of another package.
		return slices.DeleteFunc(b.Build(nil, server.RootID, n, module.Options{}).Problems, func(p schema.Problem) bool { return p.Pointer == "/admin" })
	}
	for _, key := range apps {
		if ps := build(key, "{}"); len(ps) > 0 {
			t.Errorf("%s: %v", key, ps)
		}
	}
	for key, want := range map[string]string{
		"http.handlers.headers":     "module http.handlers.headers is not an app",
		"sluice.config":             "module sluice.config is not an app",
		"http.route":                "module http.route is not an app",
		"caddy.config_loaders.http": "module caddy.config_loaders.http is not an app",
		"htpp":                      "unknown module: htpp",
		"filesystems":               "unknown module: filesystems",
	} {
		for _, value := range []string{"{}", "null"} {
			ps := build(key, value)
			if len(ps) != 1 || ps[0].Pointer != "/apps/"+key || ps[0].Message != want || ps[0].Found != key {
				t.Errorf("%s: %+v, want %q", key, ps, want)
				continue
			}
			for _, app := range apps {
				if !strings.Contains(ps[0].Expected, app) || ps[0].Nearest == "" && !strings.Contains(ps[0].String(), app) {
					t.Errorf("%s: %q does not name %s", key, ps[0], app)
				}
			}
			if key == "htpp" && ps[0].Nearest != "http" {
				t.Errorf("%+v", ps[0])
			}
		}
	}
}

// TestSchemaHasTheApps: so does the schema of a document.
func TestSchemaHasTheApps(t *testing.T) {
	doc := table(t).Document(server.RootID, "x", nil)
	root := asMap(asMap(doc["$defs"])[server.RootID])
	listed := maps.Clone(asMap(asMap(asMap(root["properties"])["apps"])["properties"]))
	delete(listed, "@id")
	if got := slices.Sorted(maps.Keys(listed)); !slices.Equal(got, apps) {
		t.Errorf("under apps the schema has %q, want %q", got, apps)
	}
}
