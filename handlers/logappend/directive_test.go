package logappend_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ name, text, want, warning string }{
		{"late", "log_append k v", `{"handler":"log_append","key":"k","value":"v"}`, ""},
		{"early", "log_append <trace {header.X-Trace}", `{"handler":"log_append","early":true,"key":"trace","value":"{http.request.header.X-Trace}"}`, ""},
		{"a lone sign is a key", "log_append < v", `{"handler":"log_append","key":"<","value":"v"}`, ""},
		{"two signs", "log_append <<k v", `{"handler":"log_append","early":true,"key":"<k","value":"v"}`, ""},
		{"an empty value", `log_append k ""`, `{"handler":"log_append","key":"k"}`, ""},
		{"arguments that are ignored", "log_append k v more and more", `{"handler":"log_append","key":"k","value":"v"}`, "'more' is ignored: log_append takes a key and a value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := adapttest.Site(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, adapttest.RoutesOf(doc), `[{"handle":[`+c.want+`]}]`)
			if got := len(doc.Warnings) > 0; got != (c.warning != "") || (got && doc.Warnings[0].Message != c.warning) {
				t.Errorf("warnings %v, want %q", doc.Warnings, c.warning)
			}
		})
	}
}

func TestReferenceExample(t *testing.T) {
	doc, err := adapttest.Site(t, "log_append <trace {header.X-Trace}\nlog_name /a audit extra\nlog_skip /health")
	if err != nil {
		t.Fatal(err)
	}
	adapttest.Same(t, adapttest.RoutesOf(doc),
		`[{"handle":[{"handler":"log_append","early":true,"key":"trace","value":"{http.request.header.X-Trace}"}]},{"match":[{"path":["/health"]}],"handle":[{"handler":"vars","log_skip":true}]},{"match":[{"path":["/a"]}],"handle":[{"handler":"vars","access_logger_names":["audit","extra"]}]}]`)
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"log_append", "wrong argument count or unexpected line ending after 'log_append'"},
		{"log_append k", "wrong argument count or unexpected line ending after 'k'"},
		{"log_append /x k", "wrong argument count or unexpected line ending after 'k'"},
		{"log_append k v {\n\tx\n}", "unexpected token '{'"},
	} {
		if _, err := adapttest.Site(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.text, err, c.want)
		}
	}
}
