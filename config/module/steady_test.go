package module

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// A world like that of servers and routes: sites by name, each a list of routes with leaves.

type siteLeaf struct {
	Text string `json:"text"`
}

type siteRoute struct {
	Match string      `json:"match"`
	Leaf  []Ref[*int] `json:"leaf" module:"=s.leaf"`
	Sub   Ref[*[]int] `json:"sub" module:"=s.routes"`
}

type siteConfig struct {
	Listen string      `json:"listen"`
	Routes Ref[*[]int] `json:"routes" module:"=s.routes"`
}

type sitesConfig struct {
	Other string                          `json:"other"`
	Sites map[string]Ref[*siteConfig]     `json:"sites" module:"=s.site"`
	Apps  map[string]map[string]Ref[*int] `json:"apps" module:"=s.leaf"`
}

// sites builds documents one after another and tells what each text's leaf has kept.
type sites struct {
	*Builder
	t    *testing.T
	root *Built
	kept map[string]*int
}

func newSites(t *testing.T) *sites {
	s := &sites{t: t, kept: map[string]*int{}}
	table, err := NewTable([]Spec{
		New("s.root", "Sites.", nil, func(_ *Env, c *sitesConfig) (*sitesConfig, error) { return c, nil }),
		New("s.site", "A site.", nil, func(_ *Env, c *siteConfig) (*siteConfig, error) { return c, nil }),
		NewList("s.routes", "Routes.", "s.route", func(*[]int, Delta[*siteRoute]) *[]int { return nil }),
		New("s.route", "A route.", nil, func(_ *Env, c *siteRoute) (*siteRoute, error) { return c, nil }),
		New("s.leaf", "A leaf.", nil, func(env *Env, c *siteLeaf) (*int, error) {
			s.kept[c.Text] = env.SteadyState("n", func() any { return new(int) }).(*int)
			return nil, nil
		}),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Builder = &Builder{Table: table, Sources: Sources{Globals: vars.NewGlobal()}}
	return s
}

func (s *sites) build(text string) {
	s.t.Helper()
	node := parse(s.t, text)
	if s.root != nil {
		node = config.Reuse(s.root.node, node)
	}
	res := s.Build(s.root, "s.root", node, Options{})
	if len(res.Problems) > 0 {
		s.t.Fatal(res.Problems)
	}
	s.root = res.Root
}

// site is a document of one site with routes.
func site(listen string, routes ...string) string {
	return fmt.Sprintf(`{"sites":{"a":{"listen":%q,"routes":[%s]}}}`, listen, strings.Join(routes, ","))
}

func routeOf(match string, leaves ...string) string {
	return fmt.Sprintf(`{"match":%q,"leaf":[%s]}`, match, strings.Join(leaves, ","))
}

func leafOf(text string) string { return fmt.Sprintf(`{"text":%q}`, text) }

// What SteadyState keeps is found by what is certainly the same thing, and by nothing else.
func TestSteadyState(t *testing.T) {
	x, y, z := leafOf("x"), leafOf("y"), leafOf("z")
	idx, idy := `{"@id":"i","text":"x"}`, `{"@id":"i","text":"y"}`
	r := routeOf
	for _, tt := range []struct {
		name string
		docs []string // x is in the first one, and y in the last
		want bool
	}{
		{"alone", []string{site(":1", r("m", x)), site(":1", r("m", y))}, true},
		{"without a match", []string{site(":1", r("", x)), site(":1", r("", y))}, true},
		{"another match", []string{site(":1", r("m", x)), site(":1", r("n", y))}, false},
		{"another address", []string{site(":1", r("m", x)), site(":2", r("m", y))}, false},
		{"what stands beside it", []string{site(":1", r("m", z, x)), site(":1", r("m", leafOf("w"), y))}, false},
		{"one more beside it", []string{site(":1", r("m", x)), site(":1", r("m", y, z))}, false},
		{"beside it the same", []string{site(":1", r("m", z, x)), site(":1", r("m", z, y))}, true},
		{"other routes", []string{site(":1", r("l", z), r("m", x), r("n", z)), site(":1", r("l", leafOf("w")), r("m", y), r("n", leafOf("v")))}, false},
		{"routes apart", []string{site(":1", r("l", z), r("k", z), r("m", x)), site(":1", r("l", leafOf("w")), r("k", z), r("m", y))}, true},
		{"a route before it", []string{site(":1", r("m", x)), site(":1", r("l", z), r("m", x)), site(":1", r("l", z), r("m", y))}, true},
		{"a route before it, at once", []string{site(":1", r("m", x)), site(":1", r("l", z), r("m", y))}, false},
		{"removed", []string{site(":1", r("m", x), r("n", z)), site(":1", r("n", z)), site(":1", r("m", y), r("n", z))}, false},
		{"another match first", []string{site(":1", r("m", x)), site(":1", r("n", x)), site(":1", r("n", y))}, false},
		{"there and back", []string{site(":1", r("m", x)), site(":1", r("n", x)), site(":1", r("m", x)), site(":1", r("m", y))}, true},
		{"the address first", []string{site(":1", r("m", x)), site(":2", r("m", x)), site(":2", r("m", y))}, false},
		{"by @id", []string{site(":1", r("m", idx)), site(":2", r("n", z, idy))}, true},
		{"by another @id", []string{site(":1", r("m", idx)), site(":1", r("m", `{"@id":"j","text":"y"}`))}, false},
		{"other sites", []string{
			`{"sites":{"a":{"routes":[` + r("m", x) + `]},"b":{"routes":[` + r("m", z) + `]}}}`,
			`{"sites":{"a":{"routes":[` + r("m", y) + `]},"b":{"routes":[` + r("m", leafOf("w")) + `]},"c":{}}}`,
		}, true},
		{"another site", []string{`{"sites":{"a":{"routes":[` + r("m", x) + `]}}}`, `{"sites":{"b":{"routes":[` + r("m", y) + `]}}}`}, false},
		{"the root", []string{site(":1", r("m", x)), strings.Replace(site(":1", r("m", y)), "{", `{"other":"o",`, 1)}, false},
		{"maps in maps", []string{`{"apps":{"a":{"k":` + x + `}}}`, `{"apps":{"a":{"j":` + z + `,"k":` + y + `},"b":{}}}`}, true},
		{"below", []string{site(":1", `{"match":"m","sub":[`+r("n", x)+`]}`), site(":1", `{"match":"m","sub":[`+r("n", y)+`]}`)}, true},
		{"below another match", []string{site(":1", `{"match":"m","sub":[`+r("n", x)+`]}`), site(":1", `{"match":"o","sub":[`+r("n", y)+`]}`)}, false},
		{"too many beside it", []string{
			site(":1", r("m", append(many(maxBeside), x)...)),
			site(":1", r("m", append(many(maxBeside), y)...)),
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSites(t)
			for _, text := range tt.docs {
				s.build(text)
			}
			if got := s.kept["x"] == s.kept["y"]; got != tt.want || s.kept["y"] == nil {
				t.Errorf("kept: %v, want %v", got, tt.want)
			}
		})
	}
}

func many(n int) (list []string) {
	for range n {
		list = append(list, leafOf("z"))
	}
	return list
}

// Several goroutines find out about the surroundings of one list.
func TestSteadyStateInLongLists(t *testing.T) {
	s := newSites(t)
	s.Workers = 4
	routes := func(text string) (list []string) {
		for i := range 8 * concurrent {
			list = append(list, `{"match":"m","sub":[`+routeOf("n", leafOf(fmt.Sprint(text, i)))+`]}`)
		}
		return list
	}
	a := routes("a")
	s.kept = nil
	// The leaves write nothing here: their texts go into the document only.
	table, err := NewTable([]Spec{
		New("s.root", "Sites.", nil, func(_ *Env, c *sitesConfig) (*sitesConfig, error) { return c, nil }),
		New("s.site", "A site.", nil, func(_ *Env, c *siteConfig) (*siteConfig, error) { return c, nil }),
		NewList("s.routes", "Routes.", "s.route", func(*[]int, Delta[*siteRoute]) *[]int { return nil }),
		New("s.route", "A route.", nil, func(_ *Env, c *siteRoute) (*siteRoute, error) { return c, nil }),
		New("s.leaf", "A leaf.", nil, func(env *Env, _ *siteLeaf) (*int, error) {
			return env.SteadyState("n", func() any { return new(int) }).(*int), nil
		}),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Table = table
	s.build(site(":1", a...))
	before := s.leaf(100)
	a[100] = routes("b")[100]
	s.build(site(":1", a...))
	if s.leaf(100) != before || before == nil {
		t.Error("what one route of a long list has kept is lost")
	}
}

// leaf is what the leaf in the sub-route of the i-th route has kept.
func (s *sites) leaf(i int) *int {
	var site *Built
	for _, k := range s.root.kids {
		if strings.HasPrefix(k.pointer, "/sites") {
			site = k.built
		}
	}
	route := site.kids[0].built.elements().At(i).Value
	for _, k := range route.kids {
		if k.pointer == "/sub" {
			return k.built.elements().At(0).Value.kids[0].built.value.(*int)
		}
	}
	return nil
}
