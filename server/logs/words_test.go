package logs_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs"
)

// assembly is as much of an assembly as logs ask for.
type assembly struct {
	module.Assembly
	table  *module.Table
	placed map[*config.Node]caddyfile.Token
}

func (a *assembly) Table() *module.Table                       { return a.table }
func (a *assembly) Placed(n *config.Node, tok caddyfile.Token) { a.placed[n] = tok }

// core is a module that is known to Caddyfiles alone.
type core struct {
	Depth int `json:"depth"`
}

var wordsTable = sync.OnceValues(func() (*module.Table, error) {
	return newTable([]module.Spec{module.New("caddy.logging.cores.test", "A core.", nil,
		func(*module.Env, *core) (int, error) { return 0, nil },
		module.Words(func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
			d.Next()
			return &core{Depth: len(d.RemainingArgs())}, nil
		}))})
})

// readLog reads the log that text begins with, and checks that the line after it
// is left.
func readLog(t *testing.T, where logs.Where, text string) (*logs.Written, *assembly, error) {
	t.Helper()
	table, err := wordsTable()
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := caddyfile.Lex(text+"\nend", &caddyfile.Origin{File: "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	a := &assembly{table: table, placed: map[*config.Node]caddyfile.Token{}}
	w, err := logs.ReadWords(&module.Use{Assembly: a}, d, where)
	if err == nil {
		if d.Next(); d.Val() != "end" {
			t.Errorf("%s: left at %q", text, d.Val())
		}
	}
	return w, a, err
}

func TestReadWords(t *testing.T) {
	const (
		site   = logs.Site
		global = logs.Global
	)
	tests := []struct {
		where logs.Where
		text  string
		want  string // JSON of the log, empty for none
		rest  logs.Written
	}{
		{site, "log", "", logs.Written{}},
		{site, "log {\n}", "", logs.Written{}},
		{site, "log shop", "", logs.Written{Name: "shop"}},
		{global, "log \"a b\" {\n}", "", logs.Written{Name: "a b"}},
		{site, "log {\nhostnames a.test b.test\nhostnames *.c.test\n}", "", logs.Written{Hostnames: []string{"a.test", "b.test", "*.c.test"}}},
		{site, "log x {\nno_hostname\n}", "", logs.Written{Name: "x", NoHostname: true}},
		{site, "log {\nno_hostname\nlevel warn\nhostnames a.test\n}", `{"level":"warn"}`, logs.Written{NoHostname: true, Hostnames: []string{"a.test"}}},
		{site, "log {\nlevel {env.LEVEL}\n}", `{"level":"{env.LEVEL}"}`, logs.Written{}},
		{global, "log {\nlevel LOUD\n}", `{"level":"LOUD"}`, logs.Written{}},
		{site, "log {\noutput stdout\n}", `{"writer":{"output":"stdout"}}`, logs.Written{}},
		{site, "log {\noutput stderr\n}", `{"writer":{"output":"stderr"}}`, logs.Written{}},
		{global, "log audit {\noutput discard\nformat console\n}", `{"writer":{"output":"discard"},"encoder":{"format":"console"}}`, logs.Written{Name: "audit"}},
		{site, "log {\nformat json {\n}\n}", `{"encoder":{"format":"json"}}`, logs.Written{}},
		{site, "log {\nformat json {\ntime_format rfc3339\nduration_format ms\nlevel_format upper\ntime_local\nline_ending \"\\r\"\n}\nlevel DEBUG\n}",
			`{"encoder":{"format":"json","time_format":"rfc3339","duration_format":"ms","level_format":"upper","time_local":true,"line_ending":"\\r"},"level":"DEBUG"}`, logs.Written{}},
		{global, "log {\nformat console {\nmessage_key m\nlevel_key l\ntime_key t\nname_key n\ncaller_key c\nstacktrace_key \"\"\n}\n}",
			`{"encoder":{"format":"console","message_key":"m","level_key":"l","time_key":"t","name_key":"n","caller_key":"c","stacktrace_key":""}}`, logs.Written{}},
		{site, "log {\nsampling {\ninterval 90s\nfirst 7\nthereafter 11\n}\n}", `{"sampling":{"interval":90000000000,"first":7,"thereafter":11}}`, logs.Written{}},
		{site, "log {\nsampling {\nfirst 1\nfirst 2\n}\n}", `{"sampling":{"first":2}}`, logs.Written{}},
		{site, "log {\nsampling\n}", `{"sampling":{}}`, logs.Written{}},
		{global, "log {\nsampling {\ninterval 1.5d\n}\n}", `{"sampling":{"interval":129600000000000}}`, logs.Written{}},
		{global, "log {\ncore test one two three\nlevel INFO\n}", `{"core":{"module":"test","depth":3},"level":"INFO"}`, logs.Written{}},
		{global, "log n {\ninclude a.b c\nexclude a.b.c\ninclude d\nexclude d.e c.f\n}", `{"include":["a.b","c","d"],"exclude":["a.b.c","d.e","c.f"]}`, logs.Written{Name: "n"}},
	}
	for _, tt := range tests {
		w, a, err := readLog(t, tt.where, tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if w.Name != tt.rest.Name || w.NoHostname != tt.rest.NoHostname || !slices.Equal(w.Hostnames, tt.rest.Hostnames) {
			t.Errorf("%s: got %+v, want %+v", tt.text, *w, tt.rest)
		}
		if tt.want == "" {
			if w.Log != nil {
				t.Errorf("%s: got a log %s", tt.text, w.Log.AppendJSON(nil))
			}
			continue
		}
		want, _, err := config.Parse([]byte(tt.want), config.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", tt.want, err)
		}
		if !config.Equal(w.Log, want) {
			t.Errorf("%s\n got %s\nwant %s", tt.text, w.Log.AppendJSON(nil), want.AppendJSON(nil))
		}
		if tok := a.placed[w.Log]; tok.Text != "log" {
			t.Errorf("%s: the log is remembered at %q", tt.text, tok.Text)
		}
		if loads := !strings.Contains(tt.want, "LOUD") && !strings.Contains(tt.want, "LEVEL") && !strings.Contains(tt.want, "core"); loads {
			if res := newWorld(t).build(`{"logs":{"x":` + tt.want + `}}`); len(res.Problems) > 0 {
				t.Errorf("%s does not load: %v", tt.want, res.Problems)
			}
		}
	}
}

func TestReadWordsErrors(t *testing.T) {
	const args = "wrong argument count or unexpected line ending after "
	tests := []struct {
		where logs.Where // both if 9
		text  string
		want  string
	}{
		{9, "log a b", args + "'b', at Caddyfile:1"},
		{9, "log {\noutput\n}", args + "'output', at Caddyfile:2"},
		{9, "log {\noutput {\n}\n}", args + "'output'"},
		{9, "log {\nformat\n}", args + "'format'"},
		{9, "log {\ncore\n}", args + "'core'"},
		{9, "log {\nlevel\n}", args + "'level'"},
		{9, "log {\nlevel DEBUG INFO\n}", args + "'INFO'"},
		{9, "log {\noutput stdout loud\n}", args + "'loud'"},
		{9, "log {\noutput discard all\n}", args + "'all'"},
		{9, "log {\noutput stderr {\nx y\n}\n}", "malformed stderr: blocks are not supported, at Caddyfile:2"},
		{9, "log {\noutput discard {\n}\n}", "malformed discard: blocks are not supported"},
		{9, "log {\ncore mock\n}", "module caddy.logging.cores.mock is not supported yet: it is for tests"},
		{9, "log {\nformat json pretty\n}", args + "'pretty'"},
		{9, "log {\nformat console {\ntime_format\n}\n}", args + "'time_format', at Caddyfile:3"},
		{9, "log {\nformat console {\nmessage_key a b\n}\n}", args + "'b'"},
		{9, "log {\nformat json {\ntime_local yes\n}\n}", args + "'yes'"},
		{9, "log {\nformat json {\ntime_fromat x\n}\n}", "unrecognized subdirective time_fromat, at Caddyfile:3 (did you mean 'time_format'?)"},
		{9, "log {\nsampling 1s\n}", args + "'1s'"},
		{9, "log {\nsampling {\ninterval often\n}\n}", "bad duration value 'often'"},
		{9, "log {\nsampling {\ninterval 5\n}\n}", "bad duration value '5'"},
		{9, "log {\nsampling {\nfirst 1.5\n}\n}", "invalid integer '1.5', at Caddyfile:3"},
		{9, "log {\nsampling {\nthereafter\n}\n}", args + "'thereafter'"},
		{9, "log {\nsampling {\nlast 2\n}\n}", "unrecognized subdirective last, at Caddyfile:3"},
		{9, "log {\nlevle INFO\n}", "unrecognized subdirective levle, at Caddyfile:2 (did you mean 'level'?)"},
		{9, "log {\noutput stdout\noutput stdout\n}", "'output' subdirective specified more than once in the same log block, at Caddyfile:3"},
		{9, "log {\nformat json\nlevel INFO\nformat console\n}", "'format' subdirective specified more than once in the same log block"},
		{9, "log {\nlevel INFO\nlevel INFO\n}", "'level' subdirective specified more than once in the same log block"},
		{9, "log {\nsampling\nsampling {\nfirst 1\n}\n}", "'sampling' subdirective specified more than once in the same log block"},
		{9, "log {\ncore test\ncore test\n}", "'core' subdirective specified more than once in the same log block"},
		{logs.Site, "log {\nno_hostname\nno_hostname\n}", "'no_hostname' subdirective specified more than once in the same log block"},
		{logs.Site, "log {\nno_hostname yes\n}", args + "'yes'"},
		{logs.Site, "log {\nhostnames\n}", args + "'hostnames'"},
		{logs.Site, "log {\ninclude a.b\n}", "include is not allowed in the log directive, at Caddyfile:2"},
		{logs.Site, "log {\nexclude\n}", "exclude is not allowed in the log directive"},
		{logs.Global, "log {\nhostnames a.test\n}", "hostnames is not allowed in the log global options, at Caddyfile:2"},
		{logs.Global, "log {\nno_hostname\n}", "no_hostname is not allowed in the log global options"},
		{logs.Global, "log {\ninclude\n}", args + "'include'"},
		{logs.Global, "log {\nexclude\n}", args + "'exclude'"},
	}
	for _, tt := range tests {
		places := []logs.Where{tt.where}
		if tt.where == 9 {
			places = []logs.Where{logs.Site, logs.Global}
		}
		for _, where := range places {
			w, _, err := readLog(t, where, tt.text)
			if err == nil {
				t.Errorf("%d: %s: no error, but %+v", where, tt.text, *w)
			} else if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%d: %s\n got %v\nwant %s", where, tt.text, err, tt.want)
			}
		}
	}
	for text, want := range map[string]string{
		"log {\noutput stdot\n}":          "module not registered: caddy.logging.writers.stdot, at Caddyfile:2 (did you mean 'stdout'?)",
		"log {\nformat logfmt {\na\n}\n}": "module not registered: caddy.logging.encoders.logfmt, at Caddyfile:2",
		"log {\ncore tset\n}":             "module not registered: caddy.logging.cores.tset, at Caddyfile:2 (did you mean 'test'?)",
	} {
		if _, _, err := readLog(t, logs.Site, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant ...%s", text, err, want)
		}
	}
}
