package config

import (
	"fmt"
	"strings"
	"testing"
)

// call is one request of a story.
type call struct {
	verb, path, body string // path with /config; verb GET, POST, PUT, PATCH, DELETE or LOAD
	status           int
	want             string // for GET the value, for others the document afterwards or the message
}

var verbs = map[string]Verb{"POST": Post, "PUT": Put, "PATCH": Patch, "DELETE": Delete}

// tell runs a story: each step works on the result of the one before.
func tell(t *testing.T, d *Doc, story []call) *Doc {
	t.Helper()
	for i, c := range story {
		p, err := ParsePath(strings.TrimPrefix(c.path, "/config"))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if c.verb == "GET" {
			var n *Node
			if n, err = d.Get(p); err == nil {
				got = string(n.AppendJSON(nil))
			}
		} else {
			e := Edit{Verb: verbs[c.verb], Path: p, RequestPath: c.path, Whole: c.verb == "LOAD"}
			if c.body != "" {
				e.Value = parse(t, c.body)
			}
			before := text(d)
			var next *Doc
			if next, err = d.Apply(e); err == nil {
				got = text(next)
				if (got == before) != (next == d) {
					t.Errorf("%d %v: changed %v, but the same document %v", i, c, got != before, next == d)
				}
				checkTree(t, next.Root())
				d = next
			} else if text(d) != before {
				t.Errorf("%d %v: the document changed by an edit that failed", i, c)
			}
		}
		status := 200
		if err != nil {
			e, ok := err.(*Error)
			if !ok {
				t.Fatalf("%d %v: error of type %T", i, c, err)
			}
			status, got = e.Status, e.Error()
		}
		if status != c.status || c.want != "" && got != c.want {
			t.Errorf("%d %s %s %s:\n got %d %s\nwant %d %s", i, c.verb, c.path, c.body, status, got, c.status, c.want)
		}
	}
	return d
}

func TestCanonicalSequence(t *testing.T) {
	list := func(s string) string {
		return `{"bar":{"aa":"bb"},"foo":"jet","list":["` + strings.Join(strings.Fields(s), `","`) + `"]}`
	}
	tell(t, newDoc(t, `{"foo":"bar","list":["a","b","c"]}`), []call{
		{"POST", "/config/foo", `"jet"`, 200, `{"foo":"jet","list":["a","b","c"]}`},
		{"POST", "/config/bar", `{"aa":"bb","qq":"zz"}`, 200, `{"bar":{"aa":"bb","qq":"zz"},"foo":"jet","list":["a","b","c"]}`},
		{"DELETE", "/config/bar/qq", ``, 200, list("a b c")},
		{"DELETE", "/config/bar/qq", ``, 404, `[/config/bar/qq] key does not exist: qq`},
		{"POST", "/config/list", `"e"`, 200, list("a b c e")},
		{"PUT", "/config/list/3", `"d"`, 200, list("a b c d e")},
		{"DELETE", "/config/list/3", ``, 200, list("a b c e")},
		{"PATCH", "/config/list/3", `"d"`, 200, list("a b c d")},
		{"POST", "/config/list/...", `["e","f","g"]`, 200, list("a b c d e f g")},
	})
}

const scenarioBase = `{"admin":{"listen":"localhost:29019"},
 "apps":{"http":{"servers":{"s":{"listen":[":29080"],"routes":[
  {"@id":"r1","match":[{"path":["/a"]}],"handle":[{"handler":"static_response","body":"A"}]},
  {"@id":"r2","match":[{"path":["/b"]}],"handle":[{"handler":"static_response","body":"B"}]}]}}}}}`

// TestScenarios runs the curl scenarios that concern the document, by the numbers of the reference.
func TestScenarios(t *testing.T) {
	const S = "/config/apps/http/servers/s"
	d := tell(t, newDoc(t, scenarioBase), []call{
		{"GET", S + "/listen", ``, 200, `[":29080"]`}, // 15
		{"GET", S + "/listen/0", ``, 200, `":29080"`}, // 16
		{"GET", S + "/listen/1", ``, 400, `[` + S + `/listen/1] array index out of bounds: 1`},
		{"GET", S + "/listen/01", ``, 400, `[` + S + `/listen/01] invalid array index '01': non-canonical array index`},
		{"GET", S + "/listen/x", ``, 400, `[` + S + `/listen/x] invalid array index 'x': strconv.Atoi: parsing "x": invalid syntax`},
		{"GET", S + "/listen/-1", ``, 400, `[` + S + `/listen/-1] array index out of bounds: -1`},
		{"GET", S + "/nope", ``, 200, `null`},
		{"GET", S + "/nope/deeper", ``, 400, `invalid traversal path at: config/apps/http/servers/s/nope/deeper`},
		{"GET", S + "/listen/", ``, 200, `[":29080"]`},
		{"POST", S + "/listen", `":29081"`, 200, ``}, // 29
		{"POST", S + "/listen/0", `":29082"`, 200, ``},
		{"GET", S + "/listen", ``, 200, `[":29080",":29081",":29082"]`},
		{"POST", S + "/listen/...", `[":29083",":29084"]`, 200, ``},
		{"POST", S + "/listen/...", `":29085"`, 400, `final element is not an array`},
		{"PUT", S + "/listen/0", `":29086"`, 200, ``},
		{"GET", S + "/listen", ``, 200, `[":29086",":29080",":29081",":29082",":29083",":29084"]`},
		{"PUT", S + "/listen/99", `":29087"`, 404, `[` + S + `/listen/99] array index out of bounds: 99`},
		{"PATCH", S + "/listen/0", `":29088"`, 200, ``},
		{"PATCH", S + "/listen/99", `1`, 404, `[` + S + `/listen/99] array index out of bounds: 99`},
		{"DELETE", S + "/listen/0", ``, 200, ``},
		{"DELETE", S + "/listen/99", ``, 404, `[` + S + `/listen/99] array index out of bounds: 99`},
		{"GET", S + "/listen", ``, 200, `[":29080",":29081",":29082",":29083",":29084"]`},
		{"PATCH", S + "/listen", `[":29080"]`, 200, ``},
		{"PUT", S + "/listen", `[":29080"]`, 409, `[` + S + `/listen] key already exists: listen`},
		{"PATCH", S + "/idle_timeout", `"5s"`, 404, `[` + S + `/idle_timeout] key does not exist: idle_timeout`},
		{"PUT", S + "/idle_timeout", `"5s"`, 200, ``},
		{"POST", S + "/idle_timeout", `"6s"`, 200, ``},
		{"GET", S + "/idle_timeout", ``, 200, `"6s"`},
		{"DELETE", S + "/idle_timeout", ``, 200, ``},
		{"DELETE", S + "/idle_timeout", ``, 404, `[` + S + `/idle_timeout] key does not exist: idle_timeout`},
		{"POST", S + "/a/b/c", `1`, 404, `invalid traversal path at: config/apps/http/servers/s/a/b`}, // 46
		{"LOAD", "", scenarioBase, 200, compact(t, scenarioBase)},
		{"PUT", S + "/a/b/c", `1`, 200, ``}, // 47, as far as the document is concerned
		{"GET", S + "/a", ``, 200, `{"b":{"c":1}}`},
		{"DELETE", S + "/a", ``, 200, compact(t, scenarioBase)},
	})
	// 50 to 55
	tag, err := d.Etag(S+"/listen", Path{"apps", "http", "servers", "s", "listen"})
	if want := `"` + S + `/listen 88e31fd14957f6e7"`; err != nil || tag != want {
		t.Errorf("etag %s, %v; want %s", tag, err, want)
	}
	// 56 to 65: by id
	byID := func(id, rest string) string {
		p, ok := d.PathOf(id)
		if !ok {
			t.Fatalf("no id %s", id)
		}
		return "/config" + p.String() + rest
	}
	if got, want := byID("r1", ""), S+"/routes/0"; got != want {
		t.Errorf("r1 is at %s, want %s", got, want)
	}
	d = tell(t, d, []call{{"GET", byID("r1", "/handle/0/body"), ``, 200, `"A"`}, {"PATCH", byID("r1", "/handle/0/body"), `"AA"`, 200, ``}})
	d = tell(t, d, []call{{"POST", byID("r1", ""), `{"@id":"r3"}`, 200, ``}})
	if got, want := byID("r3", ""), S+"/routes/2"; got != want {
		t.Errorf("r3 is at %s, want %s", got, want)
	}
	d = tell(t, d, []call{{"PUT", byID("r1", ""), `{"@id":"r0","handle":[]}`, 200, ``}})
	if byID("r0", "") != S+"/routes/0" || byID("r1", "") != S+"/routes/1" || byID("r3", "") != S+"/routes/3" {
		t.Error("ids don't follow their objects")
	}
	d = tell(t, d, []call{{"DELETE", byID("r0", ""), ``, 200, ``}})
	if _, ok := d.PathOf("r0"); ok || byID("r1", "") != S+"/routes/0" {
		t.Error("ids don't follow their objects")
	}
	tell(t, d, []call{
		{"POST", S + "/routes", `{"@id":"r1"}`, 400, `indexing config: duplicate ID 'r1' found at ` + S + `/routes/0 and ` + S + `/routes/3`},
		{"PUT", S + "/routes/0", `{"@id":"r1"}`, 400, `indexing config: duplicate ID 'r1' found at ` + S + `/routes/0 and ` + S + `/routes/1`},
		{"POST", S + "/routes", `{"@id":true}`, 400, `indexing config: ` + S + `/routes/3: @id field must be a string or number`},
		{"PUT", "/config/", `{}`, 409, `[/config/] key already exists: config`}, // 87
		{"DELETE", S + "/listen/...", ``, 200, ``},
		{"GET", S + "/listen", ``, 200, `null`},
		{"PUT", S + "/listen/0", `":29080"`, 200, ``},
		{"GET", S + "/listen", ``, 200, `{"0":":29080"}`},
		{"DELETE", "/config/", ``, 200, `absent`}, // 90
		{"GET", "/config/", ``, 200, `null`},
		{"DELETE", "/config/", ``, 404, `[/config/] key does not exist: config`},
		{"PATCH", "/config/", `{}`, 404, `[/config/] key does not exist: config`},
		{"GET", "/config/a", ``, 400, `invalid traversal path at: config/a`},
		{"POST", "/config/a", `1`, 404, `invalid traversal path at: config/a`},
		{"PUT", "/config/", scenarioBase, 200, compact(t, scenarioBase)},
		{"LOAD", "", ``, 200, `null`}, // 92
		{"PUT", "/config/", `{}`, 409, `[/config/] key already exists: config`},
	})
}

func TestSemantics(t *testing.T) {
	const start = `{"a":{"k":null,"s":"x","t":1},"l":[0,{"k":1},null],"n":[[1],[],{"x":[]}]}`
	with := func(old, new string) string {
		if !strings.Contains(start, old) {
			t.Fatalf("%s is not in the document", old)
		}
		return strings.Replace(start, old, new, 1)
	}
	for _, c := range []call{
		// A null exists, but not in the middle of a path that PUT makes.
		{"PUT", "/config/a/k", `1`, 409, `[/config/a/k] key already exists: k`},
		{"PATCH", "/config/a/k", `1`, 200, with(`"k":null`, `"k":1`)},
		{"DELETE", "/config/a/k", ``, 200, with(`"k":null,`, ``)},
		{"PUT", "/config/a/k/q/r", `1`, 200, with(`"k":null`, `"k":{"q":{"r":1}}`)},
		{"POST", "/config/a/k/q", `1`, 404, `invalid traversal path at: config/a/k/q`},
		{"PUT", "/config/a/s/q", `1`, 404, `invalid traversal path at: config/a/s/q`},
		{"PUT", "/config/l/2/q", `1`, 200, with(`null]`, `{"q":1}]`)},
		{"PUT", "/config/l/1/q/r", `1`, 200, with(`{"k":1}`, `{"k":1,"q":{"r":1}}`)},
		{"PUT", "/config/l/9/q", `1`, 404, `[/config/l/9] array index out of bounds: 9`},
		{"PUT", "/config/l/x/q", `1`, 400, `[/config/l/x] invalid array index 'x': strconv.Atoi: parsing "x": invalid syntax`},
		{"PUT", "/config/l/3", `1`, 200, with(`null]`, `null,1]`)},
		{"PUT", "/config/l/4", `1`, 404, `[/config/l/4] array index out of bounds: 4`},
		{"PUT", "/config/l/01", `1`, 400, `[/config/l/01] invalid array index '01': non-canonical array index`},
		{"DELETE", "/config/l/3", ``, 404, `[/config/l/3] array index out of bounds: 3`},
		{"POST", "/config/l/anything", `1`, 200, with(`null]`, `null,1]`)},
		{"POST", "/config/l", `[1,2]`, 200, with(`null]`, `null,[1,2]]`)},
		{"POST", "/config/l", ``, 200, with(`null]`, `null,null]`)},
		{"PATCH", "/config/l", `[0]`, 200, with(`[0,{"k":1},null]`, `[0]`)},
		{"DELETE", "/config/l", ``, 200, with(`"l":[0,{"k":1},null],`, ``)},
		// The three dots.
		{"POST", "/config/l/...", `[]`, 200, start},
		{"POST", "/config/l/...", `{}`, 400, `final element is not an array`},
		{"POST", "/config/l/1/...", `[8,9]`, 200, with(`null]`, `null,8,9]`)},
		{"POST", "/config/l/x/...", `[8,9]`, 200, with(`null]`, `null,8,9]`)},
		{"POST", "/config/a/s/...", `[8]`, 200, with(`"s":"x"`, `"s":[8]`)},
		{"POST", "/config/a/new/...", `[8]`, 200, with(`"s":"x"`, `"new":[8],"s":"x"`)},
		{"PUT", "/config/l/...", `[1]`, 409, `[/config/l/...] key already exists: l`},
		{"PATCH", "/config/l/...", `[1]`, 200, with(`[0,{"k":1},null]`, `[1]`)},
		{"DELETE", "/config/l/...", ``, 200, with(`"l":[0,{"k":1},null],`, ``)},
		{"GET", "/config/l/...", ``, 200, `[0,{"k":1},null]`},
		{"GET", "/config/a/...", ``, 200, `null`},
		// Arrays in arrays.
		{"GET", "/config/n/0/0", ``, 200, `1`},
		{"GET", "/config/n/0/1", ``, 400, `[/config/n/0/1] array index out of bounds: 1`},
		{"POST", "/config/n/0", `2`, 200, with(`{"x":[]}]`, `{"x":[]},2]`)},
		{"POST", "/config/n/0/0", `2`, 200, with(`[1]`, `[1,2]`)},
		{"POST", "/config/n/1/0", `2`, 200, with(`[],`, `[2],`)},
		{"POST", "/config/n/0/...", `[2,3]`, 200, with(`[1]`, `[1,2,3]`)},
		{"POST", "/config/n/0/...", `2`, 400, `final element is not an array`},
		{"PUT", "/config/n/0/0", `2`, 200, with(`[1]`, `[2,1]`)},
		{"PUT", "/config/n/0/...", `[2]`, 409, `[/config/n/0/...] key already exists: 0`},
		{"PATCH", "/config/n/0/0", `2`, 200, with(`[1]`, `[2]`)},
		{"PATCH", "/config/n/0/...", `[2]`, 200, with(`[1]`, `[2]`)},
		{"DELETE", "/config/n/0/0", ``, 200, with(`[1]`, `[]`)},
		{"DELETE", "/config/n/0/...", ``, 200, with(`[1],`, ``)},
		{"DELETE", "/config/n/1/0", ``, 404, `[/config/n/1/0] array index out of bounds: 0`},
		{"POST", "/config/n/2/x", `2`, 200, with(`{"x":[]}`, `{"x":[2]}`)},
		// The root.
		{"POST", "/config/", `{"z":1}`, 200, `{"z":1}`},
		{"POST", "/config/...", `{"z":1}`, 200, `{"z":1}`},
		{"PATCH", "/config/", `{"z":1}`, 200, `{"z":1}`},
		{"PATCH", "/config/", start, 200, start},
		{"PUT", "/config/b", ``, 200, with(`"l":[`, `"b":null,"l":[`)},
		{"PATCH", "/config/b", ``, 404, `[/config/b] key does not exist: b`},
		{"POST", "/config/a/s/...", `1`, 200, with(`"x"`, `1`)},
	} {
		tell(t, newDoc(t, start), []call{c})
	}
	tell(t, newDoc(t, `null`), []call{
		{"POST", "/config/a", `1`, 404, `invalid traversal path at: config/a`},
		{"PUT", "/config/a/b", `1`, 200, `{"a":{"b":1}}`},
		{"DELETE", "/config/", ``, 200, `absent`},
		{"PUT", "/config/c/d", `1`, 200, `{"c":{"d":1}}`},
		{"DELETE", "/config/", ``, 200, `absent`},
		{"POST", "/config/", `[1]`, 200, `[1]`},
		{"POST", "/config/", `2`, 200, `[1,2]`},
		{"POST", "/config/...", `[3]`, 200, `[1,2,3]`},
	})
}

func TestErrorPrefixWithoutRequestPath(t *testing.T) {
	d := newDoc(t, `{"a":{}}`)
	for _, c := range []struct {
		e       Edit
		want    string
		pointer string
	}{
		{Edit{Verb: Patch, Path: Path{"a", "b/c"}}, "[/config/a/b/c] key does not exist: b/c", "/a/b~1c"},
		{Edit{Verb: Put}, "[/config/] key already exists: config", ""},
	} {
		_, err := d.Apply(c.e)
		if e, ok := err.(*Error); !ok || e.Msg != c.want || e.Pointer != c.pointer {
			t.Errorf("%#v, want %q at %q", err, c.want, c.pointer)
		}
	}
}

func TestIndexForms(t *testing.T) {
	d := newDoc(t, `{"l":[0,1,2,3,4,5,6,7,8,9,10]}`)
	for index, status := range map[string]int{"0": 0, "1": 0, "10": 0, "01": 400, "002": 400, "+1": 400, "-0": 400, "": 400, "1.0": 400,
		"1e1": 400, "0x1": 400, " 1": 400, "11": 404, "-1": 404, "99999999999": 404, "99999999999999999999": 400, "١": 400} {
		for _, verb := range []Verb{Patch, Delete, Put} {
			_, err := d.Apply(Edit{Verb: verb, Path: Path{"l", index}, Value: NewString("new")})
			got := 0
			if err != nil {
				got = err.(*Error).Status
			}
			if want := status; got != want && (verb != Put || index != "11") {
				t.Errorf("%v with index %q: status %d, want %d", verb, index, got, want)
			}
		}
		if _, err := d.Get(Path{"l", index}); (err == nil) != (status == 0) || err != nil && err.(*Error).Status != 400 {
			t.Errorf("get with index %q: %v", index, err)
		}
	}
}

func TestIfMatch(t *testing.T) {
	d := newDoc(t, scenarioBase)
	etag := func(p ...string) string {
		s, err := d.Etag("/config/"+strings.Join(p, "/"), p)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const format = `malformed If-Match header; expect format "<path> <hash>"`
	const quoted = `malformed If-Match header; expect quoted string`
	const mismatch = `If-Match header did not match current config hash`
	for _, c := range []struct {
		header string
		status int
		msg    string
	}{
		{etag(), 0, ""}, {etag("apps"), 0, ""}, {etag("apps", "http", "servers", "s", "listen"), 0, ""},
		{`"/config/nope 396548453caeba50"`, 0, ""}, {`"/config/apps/http/servers/s/listen/ 88e31fd14957f6e7"`, 0, ""},
		{`"/config/apps 88e31fd14957f6e7"`, 412, mismatch}, {`"/config/apps/http/servers/s/listen 88E31FD14957F6E7"`, 412, mismatch},
		{`"/nope 00"`, 412, mismatch}, {`"/ 00"`, 412, mismatch},
		{`*`, 400, quoted}, {`W/"/config/ 00"`, 400, quoted}, {`"`, 400, quoted}, {``, 400, quoted}, {`abc`, 400, quoted},
		{`"abc"`, 400, format}, {`""`, 400, format}, {`"a b c"`, 400, format}, {`"/config/a 00", "/config/b 00"`, 400, format},
		{`"/config/zz/yy 00"`, 404, `invalid traversal path at: config/zz/yy`},
		{`"/config/apps/http/servers/s/listen/7 00"`, 404, `[/config/apps/http/servers/s/listen/7] array index out of bounds: 7`},
		{`"/config/apps/http/servers/s/listen/07 00"`, 400, `[/config/apps/http/servers/s/listen/07] invalid array index '07': non-canonical array index`},
	} {
		status, msg := 0, ""
		if err := d.CheckIfMatch(c.header); err != nil {
			status, msg = err.(*Error).Status, err.Error()
		}
		if status != c.status || msg != c.msg {
			t.Errorf("%s: %d %s, want %d %s", c.header, status, msg, c.status, c.msg)
		}
	}
	if got := BodyEtag("/config/x", []byte("null\n")); got != `"/config/x 396548453caeba50"` {
		t.Errorf("etag of null is %s", got)
	}
	gone, _ := d.Apply(Edit{Verb: Delete})
	if tag, err := gone.Etag("/config/", nil); err != nil || tag != `"/config/ 396548453caeba50"` {
		t.Errorf("etag of no document is %s, %v", tag, err)
	}
	if _, err := d.Etag("/config/a/b", Path{"a", "b"}); err == nil || err.(*Error).Status != 400 {
		t.Errorf("etag of nothing: %v", err)
	}
	if formatHash(0xab) != "00000000000000ab" || formatHash(0) != "0000000000000000" {
		t.Error("hashes are not 16 digits")
	}
}

func TestIDs(t *testing.T) {
	d := newDoc(t, `{"@id":"root","a":{"@id":7,"b":[{"@id":1.5},[{"@id":12345678}],{"@id":""},{"x":{"@id":"a/b","@ID":"no"}}]},"@i":{"@id":"x y"}}`)
	want := map[string]string{"root": "", "7": "/a", "1.5": "/a/b/0", "1.2345678e+07": "/a/b/1/0", "": "/a/b/2", "a/b": "/a/b/3/x", "x y": "/@i"}
	for id, path := range want {
		if p, ok := d.PathOf(id); !ok || p.String() != path {
			t.Errorf("id %q is at %v, %v; want %s", id, p, ok, path)
		}
	}
	if _, ok := d.PathOf("no"); ok || d.IDs() != len(want) {
		t.Errorf("%d ids, want %d", d.IDs(), len(want))
	}
	for doc, msg := range map[string]string{
		`{"a":{"@id":7},"b":{"@id":"7"}}`:                     `duplicate ID '7' found at /config/a and /config/b`,
		`{"a":{"@id":"i","b":{"@id":"i"}}}`:                   `duplicate ID 'i' found at /config/a and /config/a/b`,
		`[{"@id":1},0,0,0,0,0,0,0,0,0,{"@id":2},{"@id":2.0}]`: `duplicate ID '2' found at /config/10 and /config/11`,
		`{"@id":null}`:              `/config: @id field must be a string or number`,
		`{"a":[{"@id":["x"]}]}`:     `/config/a/0: @id field must be a string or number`,
		`{"a":{"@id":{"@id":"x"}}}`: `/config/a: @id field must be a string or number`,
		`{"a":[{"@id":"x"},{"b":{"@id":"y","c":[{"@id":"x"}]}}]}`:   `duplicate ID 'x' found at /config/a/0 and /config/a/1/b/c/0`,
		`{"b":{"@id":"x"},"a":{"c":{"d":{"@id":"x"}}},"c":[false]}`: `duplicate ID 'x' found at /config/a/c/d and /config/b`,
	} {
		_, err := NewDoc(parse(t, doc))
		if e, ok := err.(*Error); !ok || e.Status != 400 || e.Msg != "indexing config: "+msg {
			t.Errorf("%s: %v, want %s", doc, err, msg)
		}
	}
	// An id can change its place within one edit, and change hands.
	d = newDoc(t, `{"a":{"@id":"x"},"b":{"@id":"y"}}`)
	d, err := d.Apply(Edit{Verb: Patch, Value: parse(t, `{"a":{"@id":"y"},"b":{"@id":"x"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := d.PathOf("x"); p.String() != "/b" {
		t.Errorf("x is at %s", p)
	}
	if _, err := d.Apply(Edit{Verb: Post, Path: Path{"a", "@id"}, Value: NewNull()}); err == nil {
		t.Error("an id became null")
	}
	d, err = d.Apply(Edit{Verb: Post, Path: Path{"a", "@id"}, Value: NewNumber(3)})
	if err != nil {
		t.Fatal(err)
	}
	if _, old := d.PathOf("y"); old {
		t.Error("the old id is still there")
	}
	if p, ok := d.PathOf("3"); !ok || p.String() != "/a" {
		t.Errorf("3 is at %s", p)
	}
}

func TestDepthOfEdits(t *testing.T) {
	d := newDoc(t, `{"a":[]}`).WithLimits(Limits{MaxDepth: 4})
	for _, c := range []struct {
		verb Verb
		path string
		body string
		ok   bool
	}{
		{Put, "b/c/d/e", `1`, true}, {Put, "b/c/d/e/f", `1`, false}, {Put, "b/c/d/e", `{}`, false}, {Put, "b", `{"c":{"d":{}}}`, true},
		{Post, "a", `[[]]`, true}, {Post, "a", `[[[]]]`, false}, {Post, "a/...", `[[[]]]`, true}, {Post, "a/...", `[[[[]]]]`, false},
		{Put, strings.Repeat("x/", 100_000) + "x", `1`, false},
	} {
		p, err := ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Apply(Edit{Verb: c.verb, Path: p, Value: parse(t, c.body)})
		if (err == nil) != c.ok || err != nil && err.(*Error).Status != 400 {
			t.Errorf("%v %.40s %s: %v", c.verb, c.path, c.body, err)
		}
	}
	if _, err := d.Apply(Edit{Whole: true, Value: parse(t, `[[[[[]]]]]`)}); err == nil {
		t.Error("a whole document passes the limit")
	}
	deep := NewArray(nil)
	for range DefaultMaxDepth {
		deep = NewArray([]*Node{deep})
	}
	if _, err := NewDoc(deep); err == nil {
		t.Error("a new document passes the limit")
	}
}

func TestPaths(t *testing.T) {
	for in, want := range map[string]string{"": "", "/": "", "/a": "/a", "a/b/": "/a/b", "/a b/ü/": "/a b/ü"} {
		p, err := ParsePath(in)
		if err != nil || p.String() != want {
			t.Errorf("%q is %q, %v", in, p, err)
		}
	}
	for _, in := range []string{"/a//b", "///", "//a"} {
		if _, err := ParsePath(in); err == nil || err.(*Error).Status != 400 {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, p := range []Path{nil, {""}, {"a/b", "~", "~1", ""}, {"~0~"}} {
		back, ok := SplitPointer(p.Pointer())
		if !ok || fmt.Sprint(back) != fmt.Sprint(p) || len(back) != len(p) {
			t.Errorf("%q becomes %q and then %q", p, p.Pointer(), back)
		}
	}
	if got := JoinPointer("/x", "a~/b"); got != "/x/a~0~1b" {
		t.Errorf("got %s", got)
	}
	if Post.String() != "POST" || Put.String() != "PUT" || Patch.String() != "PATCH" || Delete.String() != "DELETE" {
		t.Error("verbs have wrong names")
	}
}
