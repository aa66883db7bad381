package timeouts_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/timeouts"
)

// adapted adapts the directives of a site :80 and returns its routes.
func adapted(t *testing.T, body string) (string, error) {
	t.Helper()
	specs := standard.Specs()
	if own := timeouts.Spec(); !slices.ContainsFunc(specs, func(s module.Spec) bool { return s.ID == own.ID }) {
		specs = append(specs, own)
	}
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := adapt.New(table, adapt.Words{Order: standard.DirectiveOrder()})
	doc, err := a.Adapt(adapt.Source{Text: []byte(":80 {\n" + body + "\n}\n"), Env: caddyfile.Env{LookupEnv: func(string) (string, bool) { return "", false }}})
	if err != nil {
		return "", err
	}
	return string(doc.Root.Get("apps").Get("http").Get("servers").Get("srv0").Get("routes").AppendJSON(nil)), nil
}

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"timeouts /up/* {\n\tread_timeout 10s 1024\n\tmax_write_chunk 16KiB\n}",
			`[{"match":[{"path":["/up/*"]}],"handle":[{"handler":"timeouts","read_timeout":10000000000,"read_min_rate":1024,"max_write_chunk":16384}]}]`},
		{"timeouts {\n\tread_timeout 1m30s\n\twrite_timeout 500ms 2000\n}",
			`[{"handle":[{"handler":"timeouts","read_timeout":90000000000,"write_timeout":500000000,"write_min_rate":2000}]}]`},
		{"timeouts {\n\twrite_timeout 1h\n\twrite_timeout -1s\n}", `[{"handle":[{"handler":"timeouts","write_timeout":-1000000000}]}]`},
		{"timeouts *", `[{"handle":[{"handler":"timeouts"}]}]`},
	} {
		got, err := adapted(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"timeouts {\n\tread_idle 1s\n}", "unrecognized timeouts subdirective 'read_idle'"},
		{"timeouts {\n\tread_timeout\n}", "wrong argument count"},
		{"timeouts {\n\tread_timeout 1s 2 3\n}", "wrong argument count"},
		{"timeouts {\n\tread_timeout 1d\n}", "bad duration value '1d'"},
		{"timeouts {\n\twrite_timeout 10\n}", "bad duration value '10'"},
		{"timeouts {\n\twrite_timeout 10s fast\n}", "invalid rate 'fast'"},
		{"timeouts {\n\tmax_write_chunk big\n}", "invalid size 'big'"},
		{"timeouts 5s", "wrong argument count"},
	} {
		if got, err := adapted(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
