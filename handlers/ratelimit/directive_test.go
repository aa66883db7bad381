package ratelimit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a zone", "rate_limit {\n\tzone z {\n\t\tkey {remote_host}\n\t\twindow 1m\n\t\tevents 100\n\t}\n}",
			`[{"handle":[{"handler":"rate_limit","rate_limits":{"z":{"key":"{http.request.remote.host}","window":60000000000,"max_events":100}}}]}]`},
		{"everything", "rate_limit /api/* {\n\tzone a {\n\t\tmatch {\n\t\t\tmethod GET POST\n\t\t\tpath /api/x*\n\t\t}\n\t\tmatch path /y\n\t\tkey static\n\t\twindow 1d\n\t\tevents 0\n\t\tmax_keys 10\n\t}\n\tzone b {\n\t\twindow 1s\n\t\tevents 1\n\t}\n\tjitter 0.2\n\theaders draft-06\n\tlog_key\n}",
			`[{"match":[{"path":["/api/*"]}],"handle":[{"handler":"rate_limit","jitter":0.2,"headers":"draft-06","log_key":true,"rate_limits":{
				"a":{"match":[{"method":["GET","POST"],"path":["/api/x*"]},{"path":["/y"]}],"key":"static","window":86400000000000,"max_keys":10},
				"b":{"window":1000000000,"max_events":1}}}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := adapttest.Site(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, adapttest.RoutesOf(doc), c.want)
		})
	}
}

func TestDirectiveErrors(t *testing.T) {
	zone := func(lines string) string { return "rate_limit {\n\tzone z {\n\t\t" + lines + "\n\t}\n}" }
	for _, c := range []struct{ name, text, want string }{
		{"an argument", "rate_limit 100", "wrong argument count or unexpected line ending after '100'"},
		{"an unknown line", "rate_limit {\n\tjittr 1\n}", "unrecognized subdirective 'jittr'"},
		{"a zone without a name", "rate_limit {\n\tzone {\n\t}\n}", "wrong argument count"},
		{"a zone twice", "rate_limit {\n\tzone a {\n\t\twindow 1s\n\t}\n\tzone a {\n\t\twindow 1s\n\t}\n}", "zone 'a' is there already"},
		{"no window", zone("events 5"), "zone 'z' needs a window of more than 0"},
		{"a window without a unit", zone("window 5"), "bad duration value '5'"},
		{"a window twice", zone("window 5s\n\t\twindow 5s"), "zone window already specified"},
		{"events", zone("window 5s\n\t\tevents many"), "invalid max events integer 'many'"},
		{"negative events", zone("window 5s\n\t\tevents -1"), "invalid max events integer '-1'"},
		{"a line of a zone", zone("windows 5s"), "did you mean 'window'?"},
		{"a matcher", zone("window 5s\n\t\tmatch {\n\t\t\tnope\n\t\t}"), "nope"},
		{"jitter", "rate_limit {\n\tjitter some\n}", "invalid jitter percentage 'some'"},
		{"headers", "rate_limit {\n\theaders draft-6\n}", "did you mean 'draft-06'?"},
		{"distributed", "rate_limit {\n\tdistributed {\n\t\tread_interval 1s\n\t}\n}", "'distributed' is not supported yet"},
		{"storage", "rate_limit {\n\tstorage file_system /x\n}", "'storage' is not supported yet"},
		{"sweep_interval", "rate_limit {\n\tsweep_interval 1m\n}", "'sweep_interval' is not supported yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := adapttest.Site(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestWarning(t *testing.T) {
	doc, err := adapttest.Site(t, "rate_limit {\n}")
	if err != nil || !slices.ContainsFunc(doc.Warnings, func(w caddyfile.Warning) bool { return strings.Contains(w.Message, "limits nothing") }) {
		t.Errorf("%v, %v", doc.Warnings, err)
	}
}
