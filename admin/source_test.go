package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
)

const (
	isCaddyfile = "Content-Type: text/caddyfile"
	textPath    = "/config/?format=caddyfile"
	// hi and commented stand for the same document.
	hi        = ":80 {\n\trespond \"hi\"\n}\n"
	commented = "# says hi\n" + hi
	ho        = ":80 {\n\trespond \"ho\"\n}\n"
	hiBody    = "/config/apps/http/servers/srv0/routes/0/handle/0/body"
)

func withoutStore(d *Deps, _ *GuardOptions) { d.Store = nil }

// wantText checks that the API gives a text back, byte for byte.
func (f *fixture) wantText(path, text string) {
	f.t.Helper()
	r := f.do("GET", path, nil)
	if r.status != 200 || r.body != text || r.header.Get("Content-Type") != "text/caddyfile; charset=utf-8" {
		f.t.Fatalf("%s: %d %q as %s, want %q", path, r.status, r.body, r.header.Get("Content-Type"), text)
	}
}

func TestLoadWarnings(t *testing.T) {
	f := newFixture(t, "{}")
	const odd = ":80 {\n\todd\n}\n"
	const note = `[{"file":"Caddyfile","line":2,"directive":"odd","message":"is odd"}]`
	const document = `{"apps":{"http":{"servers":{"srv0":{"listen":[":80"]}}}}}`
	r := f.do("POST", "/load", odd, isCaddyfile)
	f.want(r, 200, note)
	if r.header.Get("Sluice-Warnings") != "1" || f.logs.FilterMessage("config warning").FilterField(zap.String("warning", "odd: is odd")).Len() != 1 {
		t.Errorf("warnings: %q, log %v", r.header.Get("Sluice-Warnings"), f.logs.FilterMessage("config warning").All())
	}
	f.want(f.do("POST", "/load", ":80 {\n\todd\n\tnope\n}\n", isCaddyfile), 400, "loading config: loading new config: /apps/nope (Caddyfile:3): unknown module: nope")
	c := f.engine.changes()
	if string(c[0].Source) != odd || c[0].SourceType != "caddyfile" || c[0].Verb != "load" || !c[0].Edit.Whole {
		t.Errorf("change %+v", c[0])
	}
	f.want(f.do("POST", "/adapt", odd, "Content-Type: x/caddyfile"), 200, `{"warnings":`+note+`,"result":`+document+`}`)
	f.want(f.do("POST", "/adapt", ":80\n", "Content-Type: x/caddyfile"), 200, `{"result":`+document+`}`)
	f.want(f.do("POST", "/adapt", `{"b" : 1.50, "a" : "<"}`), 200, `{"result":{"b":1.50,"a":"\u003c"}}`)
	f.want(f.do("POST", "/load", `{}`, "If-Match: rubbish"), 200, "")
}

func TestContentTypes(t *testing.T) {
	f := newFixture(t, "{}")
	const made, parsed = "made", "parsed"
	for kind, want := range map[string]string{
		"text/caddyfile":                       made,
		"text/caddyfile; charset=utf-8":        made,
		"text/caddyfile;charset=latin1; a=\"b": "invalid Content-Type: mime: invalid media parameter",
		"TEXT/Caddyfile":                       made,
		"application/caddyfile":                made,
		"text/json":                            parsed,
		"application/json":                     parsed,
		"Application/JSON; charset=utf-8":      parsed,
		"text/plain":                           "unrecognized config adapter 'plain'",
		"text/caddyfile5":                      "unrecognized config adapter 'caddyfile5'",
		"application/ld+json":                  "unrecognized config adapter 'ld+json'",
		"text/caddyfile/x":                     "invalid Content-Type: mime: unexpected content after media subtype",
		"caddyfile":                            "malformed Content-Type",
		"text/":                                "invalid Content-Type: mime: expected token after slash",
		";":                                    "invalid Content-Type: mime: no media type",
	} {
		for _, path := range []string{"/load", "/adapt"} {
			before := len(f.lang.seen())
			// One of the two is a mistake.
			r := f.do("POST", path, "bogus", "Content-Type: "+kind)
			adapted := len(f.lang.seen()) > before
			switch {
			case want == made && adapted:
				f.want(r, 400, "adapting config using caddyfile adapter: Caddyfile:1: unrecognized directive: bogus")
			case want == parsed && !adapted:
				if !strings.Contains(r.body, "decoding request body: invalid character 'b'") {
					t.Errorf("%s %s: %s", path, kind, r.body)
				}
			case want == made, want == parsed, adapted:
				t.Errorf("%s %s: %s, adapted %v", path, kind, r.body, adapted)
			default:
				f.want(r, 400, want)
			}
		}
	}
	if r := f.do("PUT", "/config/x", "1", isCaddyfile); r.status != 400 || !strings.Contains(r.body, "'application/json' required") {
		t.Errorf("a part of the document as a Caddyfile: %d %s", r.status, r.body)
	}
}

func TestSourceFile(t *testing.T) {
	long := strings.Repeat("n", maxFilename)
	for name, want := range map[string]string{
		"": "Caddyfile", "/etc/caddy/Caddyfile": "/etc/caddy/Caddyfile", "ü .caddy": "ü .caddy", long: long,
		long + "n": "Caddyfile", "a\nb": "Caddyfile", "a\x00": "Caddyfile", "\x7f": "Caddyfile", "\u0085": "Caddyfile", "\xff": "Caddyfile",
	} {
		if got := sourceFile(http.Header{"Caddy-Config-Source-File": {name}}); got != want {
			t.Errorf("%q gives %q, want %q", name, got, want)
		}
	}
	f := newFixture(t, "{}")
	r := f.do("POST", "/adapt", "\n bogus\n\nfault", isCaddyfile, "Caddy-Config-Source-File: x/y")
	f.want(r, 400, "adapting config using caddyfile adapter: x/y:2: unrecognized directive: bogus\nx/y:4: unrecognized directive: fault")
	ps := r.problems(t)
	if len(ps) != 2 || ps[1] != (schema.Problem{File: "x/y", Line: 4, Message: "unrecognized directive: fault"}) {
		t.Errorf("problems %+v", ps)
	}
}

// failing is an adapter with one answer.
type failing struct {
	out *Adapted
	err error
}

func (l failing) Adapt([]byte, string) (*Adapted, error) { return l.out, l.err }

func TestAdapterErrors(t *testing.T) {
	ps := schema.Problems{{File: "f", Line: 7, Message: "m"}}
	for _, c := range []struct {
		err      error
		message  string
		problems int
	}{
		{errors.New("plain"), "plain", 0},
		{ps, "/ (f:7): m", 1},
		{fmt.Errorf("wrapped: %w", fakeErrors(ps)), "wrapped: f:7: m", 1},
	} {
		f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Adapters = map[string]Adapter{"caddyfile": failing{err: c.err}} })
		for _, path := range []string{"/load", "/load?dry_run=true", "/adapt"} {
			r := f.do("POST", path, "x", isCaddyfile)
			f.want(r, 400, "adapting config using caddyfile adapter: "+c.message)
			if got := r.problems(t); len(got) != c.problems || c.problems > 0 && got[0] != ps[0] {
				t.Errorf("%v: problems %+v", c.err, got)
			}
		}
	}
	many := make(fakeErrors, 250)
	for i := range many {
		many[i] = schema.Problem{File: strings.Repeat("f", 2*maxText), Line: i + 1, Message: "m"}
	}
	f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Adapters = map[string]Adapter{"caddyfile": failing{err: many}} })
	if r := f.do("POST", "/load", "x", isCaddyfile); len(r.problems(t)) != maxProblems+1 || len(r.body) > (maxProblems+2)*(maxText+100) {
		t.Errorf("%d problems in %d bytes", len(r.problems(t)), len(r.body))
	}
	null := newFixture(t, `{"x":1}`, func(d *Deps, _ *GuardOptions) { d.Adapters = map[string]Adapter{"caddyfile": failing{out: &Adapted{}}} })
	null.want(null.do("POST", "/adapt", "", isCaddyfile), 200, `{"result":null}`)
	null.want(null.do("POST", "/load", "", isCaddyfile), 200, "")
	null.want(null.do("GET", "/config/", nil), 200, "null")
	null.wantText(textPath, "")
}

// TestPlacedProblems sees to it that what the engine finds in an adapted
// document is shown in the text, everywhere.
func TestPlacedProblems(t *testing.T) {
	f := newFixture(t, "{}")
	const bad = ":80 {\n\trespond \"x\"\n\t@a path_regexp (\n\trespond @a \"y\"\n\tnope\n}\n"
	const regexp = "/apps/http/servers/srv0/routes/1/match/0/path_regexp/pattern"
	for _, path := range []string{"/load", "/load?dry_run=true"} {
		r := f.do("POST", path, bad, isCaddyfile, "Caddy-Config-Source-File: my.caddy")
		if !strings.HasPrefix(r.body, `{"error":"loading config: loading new config: /apps/nope (my.caddy:5): unknown module: nope; `+regexp+" (my.caddy:3): error parsing regexp: ") {
			t.Errorf("%s: %s", path, r.body)
		}
		ps := r.problems(t)
		if r.status != 400 || len(ps) != 2 || ps[1].Pointer != regexp || ps[1].File != "my.caddy" || ps[1].Line != 3 || ps[1].Column != 0 {
			t.Errorf("%s: %d %+v", path, r.status, ps)
		}
	}
	f.engine.warnings = schema.Problems{{Pointer: "/apps/http/servers/srv0/routes/0/handle", Message: "strange"}}
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
	warned := f.logs.FilterMessage("config warning").FilterField(zap.String("file", "Caddyfile")).All()
	if len(warned) != 1 || warned[0].ContextMap()["line"] != int64(2) {
		t.Errorf("log %v", warned)
	}
}

func TestTextOfTheDocument(t *testing.T) {
	for name, options := range map[string][]func(*Deps, *GuardOptions){"with a store": nil, "without": {withoutStore}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "{}", options...)
			hasStore := f.api.deps.Store != nil
			f.want(f.do("GET", textPath, nil), 404, "the document was not made from a caddyfile; /config/ gives it as JSON")
			f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
			f.wantText(textPath, hi)
			f.wantText(textPath+"&format=caddyfile", hi)
			if tag := f.do("GET", textPath, nil).header.Get("Etag"); tag == "" || tag != f.do("GET", "/config/", nil).header.Get("Etag") {
				t.Errorf("tag %s", tag)
			}
			if kept := f.api.texts.get(); hasStore != (kept.text == nil) {
				t.Errorf("%q is kept in memory", kept.text)
			}

			// What changes nothing, or is not done, changes nothing.
			f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
			f.want(f.do("POST", "/load", ho, isCaddyfile, "X: y"), 200, "")
			f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
			f.want(f.do("POST", "/load?dry_run=true", ho, isCaddyfile), 200, "")
			f.want(f.do("POST", "/load?dry_run=true", commented, isCaddyfile), 200, "")
			f.wantText(textPath, hi)

			// A text of the same document takes its place.
			f.want(f.do("POST", "/load", commented, isCaddyfile), 200, "")
			f.wantText(textPath, commented)
			f.want(f.do("POST", "/load", commented, isCaddyfile), 200, "")
			f.wantText(textPath, commented)

			// An edit, and its undoing.
			f.want(f.do("PATCH", hiBody, `"hey"`), 200, "")
			want := "the document was changed since it was loaded from a caddyfile; /config/ gives it as JSON"
			if hasStore {
				want = "the document was changed since revision 3, which was the last that was made from a caddyfile; /revisions/3?format=caddyfile gives that text"
			}
			f.want(f.do("GET", textPath, nil), 409, want)
			f.want(f.do("PATCH", hiBody, `"hi"`), 200, "")
			f.wantText(textPath, commented)

			// JSON that is the same document is no edit.
			document := f.do("GET", "/config/", nil).body
			f.want(f.do("POST", "/load", document), 200, "")
			f.wantText(textPath, commented)
		})
	}
}

// TestTextFromTheStore asks an API that has seen no load.
func TestTextFromTheStore(t *testing.T) {
	f := newFixture(t, "{}")
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")        // 1
	f.want(f.do("PATCH", hiBody, `"x"`), 200, "")                  // 2
	f.want(f.do("PATCH", hiBody, `"hi"`), 200, "")                 // 3
	f.want(f.do("POST", "/load", ho, isCaddyfile), 200, "")        // 4
	f.want(f.do("POST", "/load", `{"x":{}}`), 200, "")             // 5
	f.want(f.do("POST", "/revisions/2/restore", ""), 200, "")      // 6
	f.want(f.do("POST", "/load", commented, isCaddyfile), 200, "") // 7
	f.want(f.do("POST", "/revisions/4/restore", ""), 200, "")      // 8
	tags := map[int]string{}
	again := func(n int) *fixture {
		g := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Store = f.engine.store })
		snap, err := f.engine.store.Revision(t.Context(), uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		root, _, err := config.Parse(snap.Document, config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if g.engine.doc, err = config.NewDoc(root); err != nil {
			t.Fatal(err)
		}
		g.engine.number = uint64(n)
		tags[n] = g.do("GET", "/config/", nil).header.Get("Etag")
		return g
	}
	const edited = " was changed since revision %d, which was the last that was made from a caddyfile; /revisions/%d?format=caddyfile gives that text"
	for n, want := range map[int]string{1: hi, 2: "1", 3: hi, 4: ho, 5: "4", 6: "4", 7: commented, 8: ho} {
		g := again(n)
		path := fmt.Sprintf("/revisions/%d?format=caddyfile", n)
		if strings.HasPrefix(want, ":") || strings.HasPrefix(want, "#") {
			g.wantText(textPath, want)
			g.wantText(path, want)
			if tag := g.do("GET", path, nil).header.Get("Etag"); tag != tags[n] {
				t.Errorf("%s has tag %s, the document %s", path, tag, tags[n])
			}
			continue
		}
		message := strings.ReplaceAll(edited, "%d", want)
		g.want(g.do("GET", textPath, nil), 409, "the document"+message)
		g.want(g.do("GET", path, nil), 409, fmt.Sprintf("revision %d", n)+message)
	}
	f.want(f.do("GET", "/revisions/9?format=caddyfile", nil), 404, "there is no revision 9")
	f.want(f.do("GET", "/revisions/1..2?format=caddyfile", nil), 400, "revisions are compared as JSON only, not as caddyfile")
	if r := f.do("GET", "/revisions/1?format=json", nil); r.status != 200 || !strings.HasPrefix(r.body, `{"number":1,`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	none := newFixture(t, "{}")
	none.want(none.do("POST", "/load", `{"x":1}`), 200, "")
	none.want(none.do("GET", "/revisions/1?format=caddyfile", nil), 404, "revision 1 was not made from a caddyfile; /revisions/1 gives it as JSON")
}

// TestRestoreOfTheSame restores a revision that is the document already, but
// had another text.
func TestRestoreOfTheSame(t *testing.T) {
	f := newFixture(t, "{}")
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
	f.want(f.do("POST", "/load", commented, isCaddyfile), 200, "")
	f.want(f.do("POST", "/revisions/1/restore?dry_run=true", ""), 200, "")
	f.wantText(textPath, commented)
	f.want(f.do("POST", "/revisions/1/restore", ""), 200, "")
	f.wantText(textPath, hi)
}

func TestFormats(t *testing.T) {
	f := newFixture(t, `{"x":{"@id":"o","k":1}}`)
	const whole = "only the whole document can be given as caddyfile, at /config/?format=caddyfile"
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/config/x/k?format=json", 200, "1"},
		{"/config/?other=1&reformat=2", 200, `{"x":{"@id":"o","k":1}}`},
		{"/config/x?format=caddyfile", 400, whole},
		{"/config/...?format=caddyfile", 400, whole},
		{"/config/no/where?format=caddyfile", 400, whole},
		{"/id/o?format=caddyfile", 400, whole},
		{"/id/o/k?format=json", 200, "1"},
		{"/id/o?format=x", 400, `unknown format "x"; it must be one of: caddyfile, json`},
		{"/config/?format=Caddyfile", 400, `unknown format "Caddyfile"; it must be one of: caddyfile, json`},
		{"/config/?format", 400, `unknown format ""; it must be one of: caddyfile, json`},
		{"/config/?format=caddyfile&format=json", 400, "malformed query: format is both caddyfile and json"},
		{"/revisions/1?format=toml", 400, `unknown format "toml"; it must be one of: caddyfile, json`},
	} {
		f.want(f.do("GET", c.path, nil), c.status, c.want)
	}
	if r := f.do("GET", "/config/?format=%zz", nil); r.status != 400 || !strings.Contains(r.body, "malformed query") {
		t.Errorf("%d %s", r.status, r.body)
	}
	plain := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Adapters = nil })
	plain.want(plain.do("GET", textPath, nil), 400, `unknown format "caddyfile"; it must be one of: json`)
}

// TestKeepText is about texts that come from elsewhere, such as a file.
func TestKeepText(t *testing.T) {
	f := newFixture(t, "{}")
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
	doc, number := f.engine.Document()
	f.api.KeepText("caddyfile", []byte(commented), doc.Root(), server.Report{Revision: number})
	f.wantText(textPath, commented)
	f.api.KeepText("caddyfile", []byte(ho), config.NewNull(), server.Report{Revision: number - 1})
	f.wantText(textPath, commented) // a late one

	// Loads of which the API is not told because a revision has them.
	for _, text := range []string{ho, "# from a file\n" + hi} {
		out, err := f.lang.Adapt([]byte(text), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.engine.Apply(t.Context(), server.Change{Verb: "load", Edit: config.Edit{Whole: true, Value: out.Root},
			Source: []byte(text), SourceType: "caddyfile"}); err != nil {
			t.Fatal(err)
		}
		f.wantText(textPath, text)
		number++
	}

	f.want(f.do("PATCH", hiBody, `"x"`), 200, "")
	f.api.KeepText("caddyfile", []byte(ho), nil, server.Report{Revision: number + 1})
	f.want(f.do("GET", textPath, nil), 409, "the document was changed since revision 3, which was the last that was made from a caddyfile; /revisions/3?format=caddyfile gives that text")
}

// TestPureTexts counts how often the adapter runs.
func TestPureTexts(t *testing.T) {
	f := newFixture(t, "{}")
	const impure = ":80 {\n\tenv\n\todd\n}\n"
	const warned = ":81 {\n\todd\n}\n"
	const forced = "Cache-Control: must-revalidate"
	for i, c := range []struct {
		text   string
		header string
		runs   bool
	}{
		{hi, "", true},
		{hi, "", false},
		{hi, forced, true},
		{hi, "Caddy-Config-Source-File: x", true},
		{hi, "Caddy-Config-Source-File: x", false},
		{hi, "", true},
		{commented, "", true},
		{commented, "", false},
		{ho, "", true},
		{hi, "", true},
		{impure, "", true},
		{impure, "", true},
		{warned, "", true},
		{warned, "", false},
	} {
		before := len(f.lang.seen())
		header := []string{isCaddyfile}
		if c.header != "" {
			header = append(header, c.header)
		}
		r := f.do("POST", "/load", c.text, header...)
		if r.status != 200 || strings.Contains(r.body, "is odd") != strings.Contains(c.text, "odd") {
			t.Errorf("%d: %d %s", i, r.status, r.body)
		}
		if runs := len(f.lang.seen()) > before; runs != c.runs {
			t.Errorf("%d: the adapter ran: %v", i, runs)
		}
		f.wantText(textPath, c.text)
	}
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
	f.want(f.do("PATCH", hiBody, `"x"`), 200, "")
	before := len(f.lang.seen())
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
	if len(f.lang.seen()) == before {
		t.Error("the adapter did not run although the document is another")
	}
	f.wantText(textPath, hi)
}

// TestAdaptedWeight checks that what a text grew to is weighed before it is
// applied.
func TestAdaptedWeight(t *testing.T) {
	const limit = 5000
	f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Limits.Parsing = limit })
	grown := false
	f.engine.hold = func() {
		free := int64(0)
		for free < limit && f.api.parsing.TryAcquire(1) {
			free++
		}
		f.api.parsing.Release(free)
		if grown && free != 0 || !grown && (free == 0 || free > limit-100) {
			t.Errorf("%d bytes are free while a document is applied that grew: %v", free, grown)
		}
	}
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "")
	f.want(f.do("POST", "/load", hi, isCaddyfile), 200, "") // without the adapter
	grown = true
	f.want(f.do("POST", "/load", ":80 {\n\tmany 5000\n}\n", isCaddyfile), 200, "")
	f.want(f.do("POST", "/load", ":80 {\n\tmany 5000\n}\n", isCaddyfile), 200, "")
	if r := f.do("POST", "/adapt", ":80 {\n\tmany 9999\n}\n", isCaddyfile); r.status != 200 || len(r.body) < 9999*2 {
		t.Errorf("%d with %d bytes", r.status, len(r.body))
	}
	f.do("POST", "/load", "bogus", isCaddyfile)
	if !f.api.parsing.TryAcquire(limit) || f.api.bodies.used.Load() != 0 {
		t.Error("room was not given back")
	}
}

// TestWeightsDoNotLock lets one request want all the room while others hold
// some and will want more.
func TestWeightsDoNotLock(t *testing.T) {
	const limit = 5000
	f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Limits.Parsing = limit })
	held, release := make(chan struct{}, maxAdapting), make(chan struct{})
	f.lang.hold = func() { held <- struct{}{}; <-release }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range maxAdapting {
		wg.Go(func() { f.want(f.do("POST", "/adapt", ":80 {\n\tmany 2000\n}\n", isCaddyfile), 200, adaptedTo(2000)) })
		<-held
	}
	wg.Go(func() {
		f.want(f.do("POST", "/load", `{"x":"`+strings.Repeat("x", 2*limit)+`"}`), 200, "")
	})
	for f.api.parsing.TryAcquire(1) { // until the load is waiting
		f.api.parsing.Release(1)
		if ctx.Err() != nil {
			t.Fatal("the load does not wait")
		}
	}
	close(release)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("the requests wait for each other")
	}
}

func adaptedTo(routes int) string {
	return `{"result":{"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":[` +
		strings.TrimSuffix(strings.Repeat("{},", routes), ",") + `]}}}}}}`
}

// TestComparisonsDoNotLock: two documents are weighed at once.
func TestComparisonsDoNotLock(t *testing.T) {
	f := newFixture(t, "{}", func(d *Deps, _ *GuardOptions) { d.Limits.Parsing = 20 })
	f.want(f.do("POST", "/load", `{"x":[1,2,3,4,5,6]}`), 200, "")
	f.want(f.do("POST", "/load", `{"x":[1,2,3,4,5]}`), 200, "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				f.want(f.do("GET", "/revisions/1..2", nil), 200, `{"from":1,"to":2,"changes":[{"op":"remove","pointer":"/x/5","old":6}]}`)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the requests wait for each other")
	}
}

// TestTextsUnderWay reads texts while others load and edit: a text that comes
// is always one of the document whose tag comes with it.
func TestTextsUnderWay(t *testing.T) {
	f := newFixture(t, "{}")
	texts := []string{hi, commented, ho, "# a\n" + ho, ":81 {\n\tenv\n\trespond \"e\"\n}\n"}
	tags := map[string]string{}
	for _, text := range texts {
		out, err := f.lang.Adapt([]byte(text), "")
		if err != nil {
			t.Fatal(err)
		}
		tags[text] = config.BodyEtag("/config/", append(out.Root.AppendJSON(nil), '\n'))
	}
	var writers, readers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 40 {
				if (w+i)%5 == 4 {
					if r, err := f.try("PATCH", hiBody, `"hi"`); err != nil || (r.status != 200 && r.status != 404) {
						t.Errorf("%v %v", r, err)
					}
					continue
				}
				if r, err := f.try("POST", "/load", texts[(w+3*i)%len(texts)], isCaddyfile); err != nil || r.status != 200 {
					t.Errorf("%v %v", r, err)
				}
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := f.try("GET", textPath, nil)
				if err != nil || (r.status != 200 && r.status != 409 && r.status != 404) {
					t.Errorf("%v %v", r, err)
				} else if r.status == 200 && (tags[r.body] == "" || tags[r.body] != r.header.Get("Etag")) {
					t.Errorf("%q came with %s, want %s", r.body, r.header.Get("Etag"), tags[r.body])
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	f.want(f.do("POST", "/load", ho, isCaddyfile), 200, "")
	f.wantText(textPath, ho)
}
