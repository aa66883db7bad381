package requestbody_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want, warning string }{
		{"request_body {\n\tmax_size 1MB\n}", `[{"handle":[{"handler":"request_body","max_size":1000000}]}]`, ""},
		{"request_body {\n\tmax_size 10MiB\n}", `[{"handle":[{"handler":"request_body","max_size":10485760}]}]`, ""},
		{"request_body * {\n\tmax_size 5\n\tset \"a {host}\"\n}", `[{"handle":[{"handler":"request_body","max_size":5,"set":"a {http.request.host}"}]}]`, ""},
		{"request_body /up/* {\n\tmax_size 1k\n}", `[{"match":[{"path":["/up/*"]}],"handle":[{"handler":"request_body","max_size":1000}]}]`, ""},
		{"request_body more less", `[{"handle":[{"handler":"request_body"}]}]`, "'more' is ignored"},
	} {
		doc, err := adapttest.Site(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, adapttest.RoutesOf(doc), c.want)
		if warned := slices.ContainsFunc(doc.Warnings, func(w caddyfile.Warning) bool {
			return strings.Contains(w.Message, "ignored") && strings.Contains(w.Message, c.warning)
		}); warned != (c.warning != "") {
			t.Errorf("%s: warnings %v", c.text, doc.Warnings)
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
		if got, err := adapttest.Routes(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
