package logs_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/logs/filtermod"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestDefaultLog(t *testing.T) {
	for _, doc := range []string{`null`, `{}`, `{"logs": {}}`, `{"logs": {"default": {}}}`, `{"logs": {"default": null}}`} {
		w := newWorld(t)
		s := w.use(doc)
		s.Core("admin").Info("hello", zap.Int("n", 1))
		s.Logger("http").Debug("no")
		s.Logger("http").Warn("yes", zap.Duration("d", 1500*time.Millisecond))
		equal(t, doc, w.err(), `{"level":"info","ts":1785585600.25,"logger":"admin","msg":"hello","n":1}`+"\n"+
			`{"level":"warn","ts":1785585600.25,"logger":"http","msg":"yes","d":1.5}`+"\n")
	}
}

func TestDefaultEncoder(t *testing.T) {
	terminal := func(p *logs.Process) { p.Terminal = true }
	noColor := func(p *logs.Process) { p.NoColor = true }
	cases := []struct {
		name    string
		process []func(*logs.Process)
		doc     string
		want    string
	}{
		{"terminal", []func(*logs.Process){terminal}, `{}`, "2026/08/01 12:00:00.250\t\x1b[34mINFO\x1b[0m\tx\thi\t{\"a\": 1}\n"},
		{"no color", []func(*logs.Process){terminal, noColor}, `{}`, "2026/08/01 12:00:00.250\tINFO\tx\thi\t{\"a\": 1}\n"},
		{"asked for color", []func(*logs.Process){terminal, noColor}, `{"logs":{"default":{"encoder":{"format":"console","level_format":"color"}}}}`, "2026/08/01 12:00:00.250\t\x1b[34mINFO\x1b[0m\tx\thi\t{\"a\": 1}\n"},
		{"json asked for", []func(*logs.Process){terminal}, `{"logs":{"default":{"encoder":{"format":"json"}}}}`, `{"level":"info","ts":1785585600.25,"logger":"x","msg":"hi","a":1}` + "\n"},
		{"no terminal", nil, `{}`, `{"level":"info","ts":1785585600.25,"logger":"x","msg":"hi","a":1}` + "\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.process...)
			w.use(c.doc).Core("x").Info("hi", zap.Int("a", 1))
			equal(t, "line", w.err(), c.want)
		})
	}
}

func TestEncoderOptions(t *testing.T) {
	const j = `{"format":"json","message_key":"","level_key":"","name_key":"","time_key":"",`
	cases := []struct{ encoder, want string }{
		{`{"format":"json"}`, `{"level":"info","ts":1785585600.25,"logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","message_key":"M","level_key":"L","time_key":"T","name_key":"N"}`, `{"L":"info","T":1785585600.25,"N":"l","M":"m","d":1.5}` + "\n"},
		{`{"format":"json","message_key":"","level_key":"","time_key":"","name_key":""}`, `{"d":1.5}` + "\n"},
		{`{"format":"json","level_format":"upper","time_key":""}`, `{"level":"INFO","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","level_format":"color","time_key":""}`, `{"level":"\u001b[34mINFO\u001b[0m","logger":"l","msg":"m","d":1.5}` + "\n"},
		{j + `"duration_format":"second"}`, `{"d":1.5}` + "\n"},
		{j + `"duration_format":"seconds"}`, `{"d":1.5}` + "\n"},
		{j + `"duration_format":"ns"}`, `{"d":1500000000}` + "\n"},
		{j + `"duration_format":"nano"}`, `{"d":1500000000}` + "\n"},
		{j + `"duration_format":"nanos"}`, `{"d":1500000000}` + "\n"},
		{j + `"duration_format":"ms"}`, `{"d":1500}` + "\n"},
		{j + `"duration_format":"milli"}`, `{"d":1500}` + "\n"},
		{j + `"duration_format":"millis"}`, `{"d":1500}` + "\n"},
		{j + `"duration_format":"string"}`, `{"d":"1.5s"}` + "\n"},
		{j + `"line_ending":"\r\n"}`, `{"d":1.5}` + "\r\n"},
		{`{"format":"json","time_format":"unix_milli_float"}`, `{"level":"info","ts":1785585600250,"logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"unix_nano"}`, `{"level":"info","ts":1785585600250000000,"logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"iso8601"}`, `{"level":"info","ts":"2026-08-01T12:00:00.250Z","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"rfc3339"}`, `{"level":"info","ts":"2026-08-01T12:00:00Z","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"rfc3339_nano"}`, `{"level":"info","ts":"2026-08-01T12:00:00.25Z","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"wall"}`, `{"level":"info","ts":"2026/08/01 12:00:00","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"wall_milli"}`, `{"level":"info","ts":"2026/08/01 12:00:00.250","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"wall_nano"}`, `{"level":"info","ts":"2026/08/01 12:00:00.250000000","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"common_log"}`, `{"level":"info","ts":"01/Aug/2026:12:00:00 +0000","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"json","time_format":"Jan 2006"}`, `{"level":"info","ts":"Aug 2026","logger":"l","msg":"m","d":1.5}` + "\n"},
		{`{"format":"console","level_format":"lower"}`, "2026/08/01 12:00:00.250\tinfo\tl\tm\t{\"d\": 1.5}\n"},
		{`{"format":"console"}`, "2026/08/01 12:00:00.250\t\x1b[34mINFO\x1b[0m\tl\tm\t{\"d\": 1.5}\n"},
		{`{"format":"console","time_key":"","level_key":"","duration_format":"string"}`, "l\tm\t{\"d\": \"1.5s\"}\n"},
		{`{"format":"console","time_format":"rfc3339","level_format":"upper"}`, "2026-08-01T12:00:00Z\tINFO\tl\tm\t{\"d\": 1.5}\n"},
	}
	for _, c := range cases {
		w := newWorld(t)
		w.use(`{"logs":{"default":{"encoder":`+c.encoder+`}}}`).Logger("l").Info("m", zap.Duration("d", 1500*time.Millisecond))
		equal(t, c.encoder, w.err(), c.want)
	}
}

func TestTimeLocal(t *testing.T) {
	for _, local := range []string{"true", "false"} {
		w := newWorld(t)
		w.use(`{"logs":{"default":{"encoder":{"format":"json","time_format":"rfc3339","time_local":` + local + `}}}}`).Core("").Info("m")
		want := noon
		if local == "true" {
			want = noon.Local()
		}
		equal(t, local, w.err(), `{"level":"info","ts":"`+want.Format(time.RFC3339)+`","msg":"m"}`+"\n")
	}
}

func TestCallerAndStack(t *testing.T) {
	w := newWorld(t)
	s := w.use(`{"logs":{
		"default":{"with_caller":true, "encoder":{"format":"json","time_key":"","level_key":""}},
		"plain":{"writer":{"output":"stdout"}, "with_stacktrace":"ERROR", "encoder":{"format":"json","time_key":"","level_key":"","caller_key":"c"}}}}`)
	s.Logger("x").Info("one")
	got := w.err()
	if !strings.HasPrefix(got, `{"logger":"x","caller":"logs/set_test.go:`) || strings.Contains(got, "stacktrace") {
		t.Errorf("with_caller gives %s", got)
	}
	equal(t, "the other log", w.out(), `{"logger":"x","msg":"one"}`+"\n")

	if ce := s.Logger("x").Check(zapcore.ErrorLevel, "two"); ce != nil {
		ce.Write()
	}
	if got := w.err(); strings.Contains(got, "stacktrace") || !strings.Contains(got, `"caller":"logs/set_test.go:`) {
		t.Errorf("caller log has %s", got)
	}
	got = w.out()
	if !strings.HasPrefix(got, `{"logger":"x","msg":"two","stacktrace":"github.com/sluiceproxy/sluice/server/logs_test.TestCallerAndStack\n\t`) || strings.Contains(got, `"c":`) {
		t.Errorf("stack log has %s", got)
	}

	s = w.use(`{"logs":{"default":{"with_caller":true,"with_caller_skip":1,"encoder":{"format":"json","time_key":"","level_key":""}}}}`)
	helper := func() { s.Logger("x").Info("three") }
	helper()
	direct := w.err()
	s.Logger("x").Info("four")
	if !strings.Contains(direct, "set_test.go") || strings.Contains(w.err(), "set_test.go") {
		t.Errorf("with_caller_skip 1: %s", direct)
	}
}

func TestSampling(t *testing.T) {
	for _, c := range []struct {
		sampling string
		n        int
		want     int
	}{
		{`{"first":3,"thereafter":10}`, 33, 3 + 3},
		{`{}`, 350, 100 + 2},
		{`{"interval":1000000000,"first":1,"thereafter":1}`, 5, 5},
		{`{"interval":"1h","first":1,"thereafter":100}`, 50, 1},
	} {
		w := newWorld(t)
		s := w.use(`{"logs":{"default":{"exclude":["noise"],"sampling":` + c.sampling + `}}}`)
		for range c.n {
			s.Logger("noise").Info("same") // not the log's, so not counted
			s.Logger("a").With(zap.Int("k", 1)).Info("same")
		}
		s.Logger("a").Info("other")
		equal(t, c.sampling, strings.Count(w.err(), "\n"), c.want+1)
	}
}

func TestRouting(t *testing.T) {
	cases := []struct {
		name string
		logs string
		want string // on stdout
	}{
		{"all", `"other":{"writer":{"output":"stdout"}}`, "http.log.access:m http.log.access.log0:m tls:m"},
		{"include", `"other":{"writer":{"output":"stdout"},"include":["http"]}`, "http.log.access:m http.log.access.log0:m"},
		{"include one", `"other":{"writer":{"output":"stdout"},"include":["http.log.access.log0"]}`, "http.log.access.log0:m"},
		{"core names", `"other":{"writer":{"output":"stdout"},"include":["admin.api"]}`, ""},
		{"exclude", `"other":{"writer":{"output":"stdout"},"exclude":["http.log.access"]}`, "tls:m"},
		{"both", `"other":{"writer":{"output":"stdout"},"include":["http"],"exclude":["http.log.access.log0"]}`, "http.log.access:m"},
		{"no modules", `"other":{"writer":{"output":"stdout"},"exclude":["*"]}`, ""},
		{"discarded", `"other":{"writer":{"output":"discard"}}`, ""},
		{"default", `"default":{"writer":{"output":"stdout"}}`, ":m admin.api:m http.log.access:m http.log.access.log0:m tls:m"},
		{"default core only", `"default":{"writer":{"output":"stdout"},"exclude":["*"]}`, ":m admin.api:m"},
		{"default without unnamed", `"default":{"writer":{"output":"stdout"},"exclude":[".", "http"]}`, "admin.api:m tls:m"},
		{"default with include", `"default":{"writer":{"output":"stdout"},"include":["admin", "tls"]}`, "admin.api:m tls:m"},
		{"default discarded", `"default":{"writer":{"output":"discard"}}`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.use(`{"logs":{` + c.logs + `}}`)
			w.out()
			s.Core("").Info("m")
			s.Core("").Named("admin").Named("api").Info("m")
			s.Logger("http").Named("log").Named("access").Info("m")
			s.Logger("http.log.access.log0").Info("m")
			s.Logger("tls").Info("m")
			equal(t, "stdout", messages(t, w.out()), c.want)
		})
	}
}

func TestInterestOfParents(t *testing.T) {
	w := newWorld(t)
	s := w.use(`{"logs":{"default":{"writer":{"output":"discard"}},"x":{"include":["http.log.access"],"level":"DEBUG"}}}`)
	for name, want := range map[string]bool{"http": true, "http.log.access": true, "http.log.access.a": true, "tls": false, "http.log.error": false, "htt": false} {
		equal(t, name, s.Logger(name).Core().Enabled(zapcore.DebugLevel), want)
	}
}

func TestRefused(t *testing.T) {
	cases := []struct{ doc, pointer, message string }{
		{`{"logs":{"a":{"level":"trace"}}}`, "/logs/a/level", "unrecognized log level: trace"},
		{`{"logs":{"a":{"level":"{env.NONE}"}}}`, "/logs/a/level", "invalid log level"},
		{`{"logs":{"a":{"with_stacktrace":"x"}}}`, "/logs/a/with_stacktrace", "unrecognized log level: x"},
		{`{"logs":{"a":{"core":{"module":"mock"}}}}`, "/logs/a/core/module", "not supported yet: it is for tests"},
		{`{"logs":{"a":{"writer":{"output":"nonsense"}}}}`, "/logs/a/writer/output", "unknown module: caddy.logging.writers.nonsense"},
		{`{"logs":{"a":{"writer":{"output":"stderr","x":1}}}}`, "/logs/a/writer/x", "unknown field"},
		{`{"logs":{"a":{"encoder":{"format":"logfmt"}}}}`, "/logs/a/encoder/format", "unknown module"},
		{`{"logs":{"a":{"encoder":{"format":"filter.delete"}}}}`, "/logs/a/encoder/format", "unknown module: caddy.logging.encoders.filter.delete is no encoder"},
		{`{"logs":{"a":{"encoder":{"format":"append","wrap":{"format":"filter.hash"}}}}}`, "/logs/a/encoder/wrap/format", "filter.hash is no encoder"},
		{`{"logs":{"a":{"encoder":{"format":"filter","fields":{"x":{"filter":"delte"}}}}}}`, "/logs/a/encoder/fields/x/filter", "unknown module: caddy.logging.encoders.filter.delte"},
		{`{"logs":{"a":{"encoder":{"format":"json","duration_format":"days"}}}}`, "/logs/a/encoder/duration_format", "unrecognized duration format: days"},
		{`{"logs":{"a":{"encoder":{"format":"json","level_format":"lowre"}}}}`, "/logs/a/encoder/level_format", "unrecognized level format: lowre"},
		{`{"logs":{"a":{"sampling":{"interval":"-1s"}}}}`, "/logs/a/sampling/interval", "negative"},
		{`{"logs":{"a":{"sampling":{"first":-1}}}}`, "/logs/a/sampling/first", ""},
		{`{"logs":{"a":{"include":["x"],"exclude":["x"]}}}`, "/logs/a/include/0", "include and exclude must not intersect, but found x in both lists"},
		{`{"logs":{"a":{"include":["x"],"exclude":["x.y","z"]}}}`, "/logs/a/exclude/1", "check 'z' in exclude"},
		{`{"logs":{"a":{"include":["x","w"],"exclude":["x.y"]}}}`, "/logs/a/include/1", "check 'w' in include"},
		{`{"sink":{"level":"loud"}}`, "/sink/level", "unrecognized log level: loud"},
		{`{"logs":{"a":{"lvl":"INFO"}}}`, "/logs/a/lvl", "unknown field"},
	}
	for _, c := range cases {
		ps := newWorld(t).build(c.doc).Problems
		if len(ps) == 0 || ps[0].Pointer != c.pointer || !strings.Contains(ps[0].Message, c.message) {
			t.Errorf("%s: %v\nwant %s: %s", c.doc, ps, c.pointer, c.message)
		}
	}
}

func TestLevels(t *testing.T) {
	w := newWorld(t)
	w.env["LEVEL"] = "error"
	for text, want := range map[string]zapcore.Level{
		"DEBUG": zapcore.DebugLevel, "debug": zapcore.DebugLevel, "Info": zapcore.InfoLevel, "WARN": zapcore.WarnLevel, "ERROR": zapcore.ErrorLevel,
		"panic": zapcore.PanicLevel, "FATAL": zapcore.FatalLevel, "{env.LEVEL}": zapcore.ErrorLevel, "": zapcore.InfoLevel,
	} {
		s := w.use(`{"logs":{"default":{"level":"` + text + `"}}}`)
		equal(t, text, zapcore.LevelOf(s.Core("").Core()), want)
	}
}

func TestSink(t *testing.T) {
	var std io.Writer
	w := newWorld(t, func(p *logs.Process) { p.StdLog = func(to io.Writer) { std = to } })
	w.use(`{}`)
	if std != nil {
		t.Error("the standard logger was redirected without a sink")
	}
	w.use(`{"sink":{"writer":{"output":"stdout"},"level":"WARN"}}`)
	io.WriteString(std, "hello\n")
	equal(t, "stdout", w.out(), "hello\n")
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "only the writer of the sink") {
		t.Errorf("warnings: %v", w.warnings)
	}
	w.use(`{"sink":{"writer":{"output":"discard"}}}`)
	io.WriteString(std, "hello\n")
	w.use(`{}`)
	io.WriteString(std, "back\n")
	equal(t, "stdout", w.out(), "")
	equal(t, "stderr", w.err(), "back\n")
}

// counted is a writer module that tells how often it was opened and closed.
type counted struct {
	memory
	opened, closed int
	fail           error
}

func (c *counted) Close() error { c.closed++; return nil }

func (c *counted) spec(name string) module.Spec {
	return module.New("caddy.logging.writers."+name, "For tests.", nil, func(*module.Env, *logs.StdoutConfig) (*logs.Writer, error) {
		return &logs.Writer{Key: name, Open: func(logs.Opening) (io.WriteCloser, error) { c.opened++; return c, c.fail }}, nil
	})
}

func TestOutputsAreShared(t *testing.T) {
	var file counted
	w := newWorld(t)
	w.extra = []module.Spec{file.spec("f")}
	const doc = `{"logs":{"default":{"writer":{"output":"f"}},"b":{"writer":{"output":"f"}}}}`
	first, closeFirst := w.load(doc)
	w.sw.Use(first)
	equal(t, "old log", messages(t, w.err()), ":redirected default logger")
	second, closeSecond := w.load(doc)
	w.sw.Use(second)
	closeFirst()
	equal(t, "opened", file.opened, 1)
	equal(t, "closed", file.closed, 0)
	second.Logger("x").Info("hi")
	w.sync()
	equal(t, "lines", messages(t, file.take()), "x:hi x:hi")
	w.use(`{}`)
	equal(t, "closed while a generation drains", file.closed, 0)
	second.Logger("x").Info("late")
	closeSecond()
	equal(t, "closed", file.closed, 1)
	equal(t, "lines before closing", messages(t, file.take()), ":redirected default logger x:late x:late")
}

func TestOutputThatFails(t *testing.T) {
	good, bad := counted{}, counted{fail: errors.New("no space")}
	w := newWorld(t)
	w.extra = []module.Spec{good.spec("good"), bad.spec("zbad")}
	res := w.build(`{"logs":{"a":{"writer":{"output":"good"}},"b":{"writer":{"output":"zbad"}}}}`)
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err == nil || !strings.Contains(err.Error(), `log "b": no space`) {
				t.Errorf("error is %v", err)
			}
		}
	}
	equal(t, "opened and closed", [2]int{good.opened, good.closed}, [2]int{1, 1})
}

func TestExamples(t *testing.T) {
	w := newWorld(t)
	for _, s := range append(logs.Specs(), filtermod.Specs()...) {
		if len(s.Examples) == 0 {
			t.Errorf("%s has no example", s.ID)
		}
		for _, e := range s.Examples {
			doc := e.JSON
			switch {
			case strings.Contains(s.ID, "writers"):
				doc = `{"logs":{"x":{"writer":` + doc + `}}}`
			case strings.Contains(s.ID, "encoders.filter."):
				doc = `{"logs":{"x":{"encoder":{"format":"filter","fields":{"f":` + doc + `}}}}}`
			case strings.Contains(s.ID, "encoders"):
				doc = `{"logs":{"x":{"encoder":` + doc + `}}}`
			}
			if _, _, err := config.Parse([]byte(doc), config.Limits{}); err != nil {
				t.Fatal(err)
			}
			if res := w.build(doc); len(res.Problems) > 0 {
				t.Errorf("%s: %v", s.ID, res.Problems)
			}
		}
	}
}

func TestLoggersAreBounded(t *testing.T) {
	w := newWorld(t)
	s := w.use(`{}`)
	for i := range 3000 {
		s.Logger("x" + strings.Repeat("y", i)).Debug("no")
	}
	if s.Logger("x") != s.Logger("x") {
		t.Error("a known logger is made twice")
	}
	if n := "x" + strings.Repeat("y", 2999); s.Logger(n) == s.Logger(n) {
		t.Error("the number of kept loggers has no bound")
	}
}
