package admin

import (
	"net/http"
	"slices"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/sluiceproxy/sluice/admin/admintest"
)

// TestScenarios plays the scenarios of the reference, and checks that each
// answer is one that the route's description lists.
func TestScenarios(t *testing.T) {
	stopped := make(chan struct{})
	f := newFixture(t, "null", func(d *Deps, _ *GuardOptions) { d.Stop = func() { close(stopped) } })
	docs := map[string]RouteDoc{}
	for _, d := range Routes() {
		docs[d.Method+" "+d.Pattern] = d
	}
	admintest.Run(t, admintest.Options{URL: f.url, Features: []string{"caddyfile", "store"},
		Stopped: func(*testing.T) { <-stopped },
		Observe: func(t *testing.T, r *http.Request, resp *http.Response, _ []byte) {
			pattern := f.api.router.Find(chi.NewRouteContext(), r.Method, r.URL.Path)
			d, ok := docs[r.Method+" "+pattern]
			if !ok {
				return
			}
			if resp.StatusCode != 400 && !slices.ContainsFunc(d.Responses, func(a ResponseDoc) bool { return a.Status == resp.StatusCode }) {
				t.Errorf("%s %s answers %d, which its description does not list", r.Method, pattern, resp.StatusCode)
			}
		}})
}

// TestRoutesAreDescribed compares the routes that exist with the described ones.
func TestRoutesAreDescribed(t *testing.T) {
	f := newFixture(t, "null")
	described := map[string]bool{}
	for _, d := range Routes() {
		key := d.Method + " " + d.Pattern
		if described[key] {
			t.Errorf("%s is described twice", key)
		}
		described[key] = true
		if d.Summary == "" || len(d.Responses) == 0 {
			t.Errorf("%s lacks a summary or answers", key)
		}
	}
	seen := map[string]bool{}
	err := chi.Walk(f.api.router, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		key := method + " " + pattern
		if described[AnyMethod+" "+pattern] {
			key = AnyMethod + " " + pattern
		}
		seen[key] = true
		if !described[key] {
			t.Errorf("%s has no description", key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range described {
		if !seen[key] {
			t.Errorf("%s is described and does not exist", key)
		}
	}
}
