package journal

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
)

func TestReplay(t *testing.T) {
	edit := func(verb, path, body string) storage.Edit {
		e := storage.Edit{Verb: verb, Path: path}
		if body != "" {
			e.Body = []byte(body)
		}
		return e
	}
	for _, c := range []struct {
		doc   string
		edits []storage.Edit
		want  string
	}{
		{`{"a":[1]}`, []storage.Edit{edit("POST", "/a", "2"), edit("PUT", "/a/0", "0"), edit("PATCH", "/a/1", `{"x":null}`), edit("DELETE", "/a/2", "")}, `{"a":[0,{"x":null}]}`},
		{`{"a":[1]}`, []storage.Edit{edit("POST", "/a/...", "[2,3]")}, `{"a":[1,2,3]}`},
		{`{"a/b":{"~":1}}`, []storage.Edit{edit("PATCH", "/a~1b/~0", "2")}, `{"a/b":{"~":2}}`},
		{`{"a":1}`, []storage.Edit{edit("PATCH", "/a", "null")}, `{"a":null}`},
		{`{"a":1}`, []storage.Edit{edit("DELETE", "", "")}, ""},
		{`{"a":1}`, []storage.Edit{edit("DELETE", "", ""), edit("PUT", "/b", "1")}, `{"b":1}`},
		{"", []storage.Edit{edit("PUT", "", `{"b":1}`)}, `{"b":1}`},   // it had been deleted
		{"", []storage.Edit{edit("PATCH", "", `{"b":1}`)}, `{"b":1}`}, // it was null
		{"", []storage.Edit{edit("POST", "", `{"b":1}`)}, `{"b":1}`},
		{`{"a":1}`, []storage.Edit{edit("POST", "", "null")}, ""},
		{`{"a":1}`, []storage.Edit{edit("PATCH", "/b", "1")}, "!replaying PATCH /b"},
		{`{"a":1}`, []storage.Edit{edit("BREW", "/b", "1")}, "!unknown verb"},
		{`{"a":1}`, []storage.Edit{edit("POST", "b", "1")}, "!malformed path"},
	} {
		got, err := replay([]byte(c.doc), c.edits)
		text := string(got)
		if err != nil {
			text = "!" + err.Error()
		}
		if text != c.want && !(strings.HasPrefix(c.want, "!") && strings.Contains(text, c.want[1:])) {
			t.Errorf("%s %v: %s, want %s", c.doc, c.edits, text, c.want)
		}
		if c.want == "" && got != nil {
			t.Errorf("%s: the null document is %q, not nil", c.doc, got)
		}
	}
	if fmt.Sprint(storedDigest(nil)) != fmt.Sprint(config.NewNull().Digest()) {
		t.Error("the digest of the null document is not that of null")
	}
}

// What the engine commits comes back from a store that is opened again, the text
// that it was adapted from with it.
func TestCommitAndReopen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.db")
	store, err := Open(file, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := config.NewDoc(nil)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(e config.Edit) *config.Node {
		next, err := doc.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		doc = next
		return e.Value
	}
	commit := func(base uint64, e server.Entry) {
		t.Helper()
		e.Origin, e.Digest = "test", doc.Root().Digest()
		if err := (Journal{store}).Commit(t.Context(), base, []server.Entry{e}, func() []byte { return doc.Root().AppendJSON(nil) }); err != nil {
			t.Fatal(err)
		}
	}
	whole := config.NewObject(map[string]*config.Node{"a": config.NewNumber(1)})
	value := apply(config.Edit{Whole: true, Value: whole})
	commit(0, server.Entry{Verb: "load", Value: value, Source: []byte(":80"), SourceType: "caddyfile"})
	value = apply(config.Edit{Verb: config.Post, Path: config.Path{"a"}, Value: config.NewNull()})
	commit(1, server.Entry{Verb: "POST", Path: "/a", Value: value})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if store, err = Open(file, true, nil); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	snap, err := store.Load(t.Context())
	if err != nil || string(snap.Document) != `{"a":null}` || snap.Revision.Number != 2 {
		t.Errorf("the last revision is %d: %s %v", snap.Revision.Number, snap.Document, err)
	}
	snap, err = store.Revision(t.Context(), 1)
	if err != nil || string(snap.Document) != `{"a":1}` || string(snap.Revision.Edit.Source) != ":80" || snap.Revision.Edit.SourceType != "caddyfile" {
		t.Errorf("the first revision is %+v %v", snap, err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.db"), true, nil); err == nil {
		t.Error("a store that must exist was made")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{{"", "null"}, {`{"a":1}`, `{"a":1}`}, {"{", "!reading a stored document: "}} {
		n, err := Parse([]byte(c.text))
		got := ""
		if err != nil {
			got = "!" + err.Error()
		} else {
			got = string(n.AppendJSON(nil))
		}
		if got != c.want && !(c.want[0] == '!' && strings.HasPrefix(got, c.want)) {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}
