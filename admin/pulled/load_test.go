package pulled

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// asking is a document that pulls at once, and elsewhere has something more.
func asking(more string) string {
	return `{"admin":{"config":{"load":{"module":"test"}}}` + more + `}`
}

// loading is a rig whose documents name its source.
func loading(t *testing.T, document, body string) *rig {
	r := newRig(t, document, body)
	r.host.setting = func(admin *config.Node) (Setting, bool) {
		if config.Equal(admin.Get("config").Get("load").Get("module"), config.NewString("unknown")) {
			return Setting{}, false
		}
		return Setting{Loader: r.source}, true
	}
	r.host.refuses = func(root *config.Node) bool { return root.Get("bad") != nil }
	return r
}

func (r *rig) load(t *testing.T, text string, how func(*server.Change)) (server.Report, error) {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := server.Change{Edit: config.Edit{Whole: true, Value: n}, Verb: "load", Origin: "somebody"}
	if how != nil {
		how(&c)
	}
	return r.Apply(t.Context(), c)
}

func force(c *server.Change) { c.Force = true }
func try(c *server.Change)   { c.DryRun = true }

// at makes an edit of a change.
func at(verb config.Verb, path ...string) func(*server.Change) {
	return func(c *server.Change) {
		c.Edit = config.Edit{Verb: verb, Path: path, Value: c.Edit.Value}
	}
}

func TestApply(t *testing.T) {
	const before, given = `{"a":1}`, `{"a":2}`
	bad := func(words string) func(error) bool {
		return func(err error) bool {
			var rejected *server.Rejected
			return errors.As(err, &rejected) && strings.Contains(err.Error(), words)
		}
	}
	for name, c := range map[string]struct {
		before, body string
		err          error // of the source
		text         string
		how          func(*server.Change)
		after        string // the document
		made         int    // changes
		asked        int    // pulls
		warnings     int
		wrong        func(error) bool
	}{
		"no loader":                  {text: `{"a":3}`, after: `{"a":3}`, made: 1},
		"a loader with a delay":      {text: `{"admin":{"config":{"load":{},"load_delay":"1s"}}}`, after: `{"admin":{"config":{"load":{},"load_delay":"1s"}}}`, made: 1},
		"the pulled one in place":    {text: asking(""), after: given, made: 1, asked: 1},
		"by an edit":                 {text: `{"load":{"module":"test"}}`, how: at(config.Put, "admin", "config"), after: given, made: 1, asked: 1},
		"by the loss of a delay":     {before: `{"admin":{"config":{"load":{},"load_delay":"1s"}}}`, text: `0`, how: at(config.Delete, "admin", "config", "load_delay"), after: given, made: 1, asked: 1},
		"nothing to pull":            {body: "-", text: asking(""), after: asking(""), made: 1, asked: 1},
		"a pull that fails":          {err: errors.New("server responded with HTTP 404"), text: asking(""), after: before, asked: 1, wrong: bad("/admin/config/load: loading dynamic config from http://source.test/x: server responded with HTTP 404")},
		"a pull that fails, tried":   {err: errors.New("no"), text: asking(""), how: try, after: before, asked: 1, wrong: bad("no")},
		"one that pulls again":       {body: asking(""), text: asking(""), after: before, asked: 1, wrong: bad("again pulls one")},
		"a change that is bad":       {text: asking(`,"bad":1`), after: before, wrong: bad("it is bad")},
		"a change that is no edit":   {text: `{}`, how: at(config.Patch, "admin", "config"), after: before, made: 1, wrong: func(err error) bool { var e *config.Error; return errors.As(err, &e) }},
		"a loader that is unknown":   {text: `{"admin":{"config":{"load":{"module":"unknown"}}}}`, after: `{"admin":{"config":{"load":{"module":"unknown"}}}}`, made: 1},
		"a pulled one that is bad":   {body: `{"bad":1}`, text: asking(""), after: asking(""), made: 2, asked: 1, warnings: 1},
		"tried":                      {text: asking(""), how: try, after: before, asked: 1},
		"tried, a bad pulled one":    {body: `{"bad":1}`, text: asking(""), how: try, after: before, asked: 1, warnings: 1},
		"an edit elsewhere":          {before: asking(""), text: `1`, how: at(config.Put, "x"), after: asking(`,"x":1`), made: 1},
		"an edit beside it":          {before: asking(""), text: `"x"`, how: at(config.Put, "admin", "listen"), after: `{"admin":{"config":{"load":{"module":"test"}},"listen":"x"}}`, made: 1},
		"an edit elsewhere by force": {before: asking(""), text: `1`, how: func(c *server.Change) { at(config.Put, "x")(c); force(c) }, after: given, made: 1, asked: 1},
		"the same again":             {before: asking(""), text: asking(""), after: asking(""), made: 1},
		"the same again by force":    {before: asking(""), text: asking(""), how: force, after: given, made: 1, asked: 1},
		"the same, more":             {before: asking(""), text: asking(`,"x":1`), after: given, made: 1, asked: 1},
	} {
		in(t, name, func(t *testing.T) {
			if c.before == "" {
				c.before = before
			}
			switch c.body {
			case "":
				c.body = given
			case "-":
				c.body = ""
			}
			r := loading(t, c.before, c.body)
			r.source.err = c.err
			report, err := r.load(t, c.text, c.how)
			if (err == nil) != (c.wrong == nil) || err != nil && !c.wrong(err) {
				t.Errorf("error %v", err)
			}
			if r.host.text() != c.after || len(r.host.made()) != c.made || r.source.times() != c.asked || len(report.Warnings) != c.warnings {
				t.Errorf("%s, %d changes, %d pulls, warnings %v; want %s, %d, %d, %d", r.host.text(), len(r.host.made()), r.source.times(), report.Warnings, c.after, c.made, c.asked, c.warnings)
			}
			var rejected *server.Rejected
			if want := errors.As(err, &rejected) && (c.how == nil || !strings.HasSuffix(name, "tried")); (len(r.host.failed) == 1) != want {
				t.Errorf("told of %v", r.host.failed)
			}
		})
	}
	in(t, "the conditions of the change", func(t *testing.T) {
		r := loading(t, before, given)
		if _, err := r.load(t, asking(""), func(c *server.Change) { c.Force, c.IfMatch = true, "tag" }); err != nil {
			t.Fatal(err)
		}
		c := r.host.made()[0]
		if !c.Force || c.IfMatch != "tag" || c.Origin != "pulled from http://source.test/x for somebody" || c.Verb != "load" {
			t.Errorf("%+v", c)
		}
	})
	in(t, "where only a part runs, the same again pulls", func(t *testing.T) {
		r := loading(t, asking(""), given)
		r.host.partial = true
		if _, err := r.load(t, asking(""), nil); err != nil || r.host.text() != given {
			t.Error(err, r.host.text())
		}
	})
	in(t, "who asked has gone", func(t *testing.T) {
		r := loading(t, before, given)
		r.source.takes = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n, _, _ := config.Parse([]byte(asking("")), config.Limits{})
		_, err := r.Apply(ctx, server.Change{Edit: config.Edit{Whole: true, Value: n}})
		var rejected *server.Rejected
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &rejected) || len(r.host.made()) != 0 {
			t.Error(err, r.host.made())
		}
	})
}

// TestApplyWithIdentity: a loader that shows an identity which is not in force
// yet pulls when it is.
func TestApplyWithIdentity(t *testing.T) {
	const who = `,"x":1`
	withIdentity := func(name string) string {
		return `{"admin":{"config":{"load":{"module":"test"}},"identity":{"identifiers":["` + name + `"]}}}`
	}
	start := func(t *testing.T, before string) *rig {
		r := loading(t, before, `{"a":2}`)
		r.source.needs = true
		return r
	}
	in(t, "not yet in force", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		report, err := r.load(t, withIdentity("new"), nil)
		if made := r.host.made(); err != nil || len(made) != 2 || made[0].Origin != "somebody" || r.host.text() != `{"a":2}` || report.Revision != 2 {
			t.Errorf("%v %+v %s", err, made, r.host.text())
		}
	})
	in(t, "in force already", func(t *testing.T) {
		r := start(t, strings.TrimSuffix(withIdentity("old"), "}")+who+"}")
		if _, err := r.load(t, withIdentity("old"), nil); err != nil || len(r.host.made()) != 1 || r.host.text() != `{"a":2}` {
			t.Errorf("%v %+v %s", err, r.host.made(), r.host.text())
		}
	})
	in(t, "taken back", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		r.source.err = errors.New("HTTP 404")
		_, err := r.load(t, withIdentity("new"), nil)
		var rejected *server.Rejected
		if made := r.host.made(); !errors.As(err, &rejected) || len(made) != 2 || made[1].Verb != "restore" || r.host.text() != `{"a":1}` {
			t.Errorf("%v %+v %s", err, made, r.host.text())
		}
	})
	in(t, "not taken back from somebody else", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		r.source.err, r.source.takes = errors.New("HTTP 404"), time.Minute
		time.AfterFunc(time.Second, func() { r.host.put(`{"b":1}`) })
		if _, err := r.load(t, withIdentity("new"), nil); err == nil || r.host.text() != `{"b":1}` {
			t.Error(err, r.host.text())
		}
	})
	in(t, "not put over somebody else's", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		r.source.takes = time.Minute
		time.AfterFunc(time.Second, func() { r.host.put(`{"b":1}`) })
		if _, err := r.load(t, withIdentity("new"), nil); err != nil || r.host.text() != `{"b":1}` {
			t.Error(err, r.host.text())
		}
	})
	in(t, "bad", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		r.source.body = `{"bad":1}`
		report, err := r.load(t, withIdentity("new"), nil)
		if err != nil || len(report.Warnings) != 1 || r.host.text() != withIdentity("new") {
			t.Error(err, report.Warnings, r.host.text())
		}
	})
	in(t, "tried", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		if _, err := r.load(t, withIdentity("new"), try); err != nil || len(r.host.made()) != 0 || r.source.times() != 0 {
			t.Error(err, r.host.made())
		}
	})
	in(t, "a start that fails takes nothing back", func(t *testing.T) {
		r := start(t, `{"a":1}`)
		r.host.starting, r.source.err = true, errors.New("HTTP 404")
		if _, err := r.load(t, withIdentity("new"), nil); err == nil || len(r.host.made()) != 1 {
			t.Error(err, r.host.made())
		}
	})
}
