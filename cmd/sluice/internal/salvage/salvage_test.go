package salvage

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
)

func TestPlaceOf(t *testing.T) {
	for _, c := range []struct{ pointer, want string }{
		{"", "-"}, {"/apps", "-"}, {"/apps/http", "-"},
		{"/apps/http/servers", "/apps/http/servers"},
		{"/apps/http/http_port", "/apps/http/http_port"},
		{"/apps/http/servers/a~1b", "/apps/http/servers/a~1b"},
		{"/apps/http/servers/a/listen/0", "/apps/http/servers/a"},
		{"/apps/http/servers/a/errors/routes/3", "/apps/http/servers/a"},
		{"/apps/http/servers/a/routes", "/apps/http/servers/a"},
		{"/apps/http/servers/a/routes/12/handle/0/x", "/apps/http/servers/a/routes/12"},
		{"/apps/tls/automation", "/apps/tls"},
		{"/logging/logs/default/level", "/logging"}, {"/admin/listen", "/admin"},
	} {
		got := "-"
		if path, ok := placeOf(c.pointer); ok {
			got = path.Pointer()
		}
		if got != c.want {
			t.Errorf("placeOf(%q) = %s, want %s", c.pointer, got, c.want)
		}
	}
}

func TestRoutesAreLeftOutFromTheEnd(t *testing.T) {
	var cut []Omission
	for _, s := range []string{"/apps/http/servers/a/routes/2", "/apps/http/servers/a", "/apps/http/servers/a/routes/10", "/apps/http/servers/b/routes/9", "/logging"} {
		path, _ := config.SplitPointer(s)
		cut = append(cut, Omission{path, ""})
	}
	slices.SortStableFunc(cut, deepestFirst)
	var got []string
	for _, c := range cut {
		got = append(got, c.Path.Pointer())
	}
	want := "/apps/http/servers/a/routes/10 /apps/http/servers/b/routes/9 /apps/http/servers/a/routes/2 /apps/http/servers/a /logging"
	if strings.Join(got, " ") != want {
		t.Errorf("order: %v", got)
	}
}
