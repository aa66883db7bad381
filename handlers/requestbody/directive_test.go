package requestbody_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/requestbody"
	"github.com/sluiceproxy/sluice/handlers/standard"
)

// adapted adapts the directives of a site :80 and returns its routes.
func adapted(t *testing.T, body string) (string, []caddyfile.Warning, error) {
	t.Helper()
	specs := standard.Specs()
	if own := requestbody.Spec(); !slices.ContainsFunc(specs, func(s module.Spec) bool { return s.ID == own.ID }) {
		specs = append(specs, own)
	}
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := adapt.New(table, adapt.Words{Order: standard.DirectiveOrder()})
	doc, err := a.Adapt(adapt.Source{Text: []byte(":80 {\n" + body + "\n}\n"), Env: caddyfile.Env{LookupEnv: func(string) (string, bool) { return "", false }}})
	if err != nil {
		return "", nil, err
	}
	return string(doc.Root.Get("apps").Get("http").Get("servers").Get("srv0").Get("routes").AppendJSON(nil)), doc.Warnings, nil
}

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want, warning string }{
		{"request_body {\n\tmax_size 1MB\n}", `[{"handle":[{"handler":"request_body","max_size":1000000}]}]`, ""},
		{"request_body {\n\tmax_size 10MiB\n}", `[{"handle":[{"handler":"request_body","max_size":10485760}]}]`, ""},
		{"request_body * {\n\tmax_size 5\n\tset \"a {host}\"\n}", `[{"handle":[{"handler":"request_body","max_size":5,"set":"a {http.request.host}"}]}]`, ""},
		{"request_body /up/* {\n\tmax_size 1k\n}", `[{"match":[{"path":["/up/*"]}],"handle":[{"handler":"request_body","max_size":1000}]}]`, ""},
		{"request_body more less", `[{"handle":[{"handler":"request_body"}]}]`, "'more' is ignored"},
	} {
		got, warnings, err := adapted(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
		if warned := slices.ContainsFunc(warnings, func(w caddyfile.Warning) bool {
			return strings.Contains(w.Message, "ignored") && strings.Contains(w.Message, c.warning)
		}); warned != (c.warning != "") {
			t.Errorf("%s: warnings %v", c.text, warnings)
		}
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"request_body {\n\tmax_len 5\n}", "unrecognized request_body subdirective 'max_len'"},
		{"request_body {\n\tmax_size\n}", "wrong argument count"},
		{"request_body {\n\tmax_size big\n}", "invalid size 'big'"},
		{"request_body {\n\tmax_size 10EB\n}", "invalid size '10EB'"},
		{"request_body {\n\tset a b\n}", "wrong argument count"},
	} {
		if got, _, err := adapted(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
