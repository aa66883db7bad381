package logs_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

type observeConfig struct {
	Text string `json:"text"`
}

// observe is a core that keeps what it gets.
func observe() (module.Spec, *observer.ObservedLogs) {
	core, seen := observer.New(zapcore.DebugLevel)
	return module.New("caddy.logging.cores.observe", "For tests.", nil, func(*module.Env, *observeConfig) (zapcore.Core, error) { return core, nil }), seen
}

func TestWrappingEncoders(t *testing.T) {
	const (
		bare = `"format":"json","time_key":""`
		line = "2026/08/01 12:00:00.250\t"
	)
	cases := []struct {
		name, encoder, want string
		terminal            bool
	}{
		{"filter", `{"format":"filter","wrap":{` + bare + `},"fields":{"user":{"filter":"hash"},"n":{"filter":"rename","name":"m"}}}`,
			`{"level":"info","logger":"a","msg":"hi","user":"2c26b46b","m":1}`, false},
		{"filter, default encoder", `{"format":"filter","fields":{"user":{"filter":"delete"}}}`,
			`{"level":"info","ts":1785585600.25,"logger":"a","msg":"hi","n":1}`, false},
		{"filter, default encoder of a terminal", `{"format":"filter","fields":{"user":{"filter":"delete"}}}`,
			line + "INFO\ta\thi\t{\"n\": 1}", true},
		{"append", `{"format":"append","wrap":{` + bare + `},"fields":{"e":"{env.HOST}","d":"is {env.HOST}","c":{"x":[1]},"b":true,"a":1.5,"none":"{env.NONE}","unknown":"{http.request.host}"}}`,
			`{"level":"info","logger":"a","msg":"hi","user":"foo","n":1,"a":1.5,"b":true,"c":{"x":[1]},"d":"is {env.HOST}","e":"here","none":"","unknown":null}`, false},
		{"append in filter", `{"format":"filter","wrap":{"format":"append","wrap":{` + bare + `},"fields":{"user":"x"}},"fields":{"user":{"filter":"delete"}}}`,
			`{"level":"info","logger":"a","msg":"hi","n":1,"user":"x"}`, false},
		{"filter in append", `{"format":"append","wrap":{"format":"filter","wrap":{` + bare + `},"fields":{"user":{"filter":"delete"}}},"fields":{"x":"y"}}`,
			`{"level":"info","logger":"a","msg":"hi","n":1,"x":"y"}`, false},
		{"journald", `{"format":"journald","wrap":{"format":"json"}}`,
			`<6>{"level":"info","ts":1785585600.25,"logger":"a","msg":"hi","user":"foo","n":1}`, false},
		{"journald, console", `{"format":"journald","wrap":{"format":"console","level_format":"upper"}}`,
			"<6>INFO\ta\thi\t{\"user\": \"foo\", \"n\": 1}", false},
		{"journald, filtered default of a terminal", `{"format":"journald","wrap":{"format":"filter","fields":{"n":{"filter":"delete"}}}}`,
			"<6>INFO\ta\thi\t{\"user\": \"foo\"}", true},
		{"console", `{"format":"console","level_format":"upper"}`, line + "INFO\ta\thi\t{\"user\": \"foo\", \"n\": 1}", false},
	}
	for _, c := range cases {
		w := newWorld(t, func(p *logs.Process) { p.Terminal, p.NoColor = c.terminal, true })
		w.env["HOST"] = "here"
		set := w.use(`{"logs":{"default":{"encoder":` + c.encoder + `}}}`)
		set.Logger("a").Info("hi", zap.String("user", "foo"), zap.Int("n", 1))
		equal(t, c.name, w.err(), c.want+"\n")
		set.Logger("a").With(zap.String("user", "foo")).Info("hi", zap.Int("n", 1))
		got := w.err()
		equal(t, c.name+", with context", strings.Contains(got, "foo"), strings.Contains(c.want, "foo"))
		equal(t, c.name+", with context", len(got), len(c.want)+1)
	}
	if ws := func() []string {
		w := newWorld(t)
		w.build(`{"logs":{"a":{"encoder":{"format":"filter","fields":{"msg":{"filter":"delete"}}}}}}`)
		return w.warnings
	}(); len(ws) != 1 || !strings.Contains(ws[0], "/logs/a/encoder/fields/msg: msg is not a field that can be filtered") {
		t.Errorf("warnings: %v", ws)
	}
}

func TestJournaldLevels(t *testing.T) {
	w := newWorld(t)
	set := w.use(`{"logs":{"default":{"level":"DEBUG","encoder":{"format":"journald","wrap":{"format":"json","time_key":""}}}}}`)
	log := set.Core("")
	log.Debug("")
	log.Info("")
	log.Warn("")
	log.Error("")
	func() {
		defer func() { _ = recover() }()
		log.Panic("")
	}()
	var got []string
	for l := range strings.Lines(w.err()) {
		got = append(got, l[:3])
	}
	equal(t, "priorities", strings.Join(got, ""), "<7><6><4><3><2>")
}

func TestFiltersRefused(t *testing.T) {
	for config, want := range map[string][2]string{
		`"filter":"query","actions":[{"parameter":"a"}]`:                                                     {"/actions/0", "type"},
		`"filter":"query","actions":[{"type":"","parameter":"a"}]`:                                           {"/actions/0/type", ""},
		`"filter":"query","actions":[{"type":"mask","parameter":"a"}]`:                                       {"/actions/0/type", "mask"},
		`"filter":"cookie","actions":[{"type":"mask","name":"a"}]`:                                           {"/actions/0/type", "mask"},
		`"filter":"set_cookie","actions":[{"type":"hash","name":"a"},{"type":"x"}]`:                          {"/actions/1/type", "x"},
		`"filter":"regexp","regexp":"("`:                                                                     {"/regexp", "missing closing )"},
		`"filter":"multi_regexp","operations":[]`:                                                            {"/operations", "0 operations"},
		`"filter":"multi_regexp"`:                                                                            {"", "operations"},
		`"filter":"multi_regexp","operations":[{"regexp":"a"},{"regexp":"["}]`:                               {"/operations/1/regexp", "missing closing ]"},
		`"filter":"multi_regexp","operations":[{"regexp":""}]`:                                               {"/operations/0/regexp", "0 bytes"},
		`"filter":"multi_regexp","operations":[{"regexp":"` + strings.Repeat("x", 1001) + `"}]`:              {"/operations/0/regexp", "1001 bytes"},
		`"filter":"multi_regexp","operations":[` + strings.Repeat(`{"regexp":"a"},`, 50) + `{"regexp":"a"}]`: {"/operations", "51 operations"},
		`"filter":"ip_mask","ipv4_cidr":33`:                                                                  {"/ipv4_cidr", ""},
		`"filter":"ip_mask","ipv6_cidr":-1`:                                                                  {"/ipv6_cidr", ""},
		`"filter":"rename"`:                                                                                  {"", "name"},
		`"filter":"delete","x":1`:                                                                            {"/x", "unknown field"},
	} {
		ps := newWorld(t).build(`{"logs":{"a":{"encoder":{"format":"filter","fields":{"request>x":{` + config + `}}}}}}`).Problems
		if len(ps) == 0 || !strings.HasPrefix(ps[0].Pointer, "/logs/a/encoder/fields/request>x"+want[0]) || !strings.Contains(ps[0].String(), want[1]) {
			t.Errorf("%s: %v\nwant %s: %s", config, ps, want[0], want[1])
		}
	}
}
