package torture

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHostileInput sends malformed input to every write endpoint: a 4xx that
// says where, the old configuration serving, no crash, memory bounded.
func TestHostileInput(t *testing.T) {
	in := newInstance(t)
	in.start()
	port := freePort(t)
	in.must("POST", "/load", routes(port, 20))
	before := in.must("GET", "/config/", "").body
	s := "/config/apps/http/servers/s"
	bodies := hostileBodies()
	targets := []struct{ method, path string }{
		{"POST", "/load"}, {"POST", "/config/"}, {"PATCH", s}, {"PUT", s + "/routes/0"}, {"POST", s + "/routes"}, {"PATCH", s + "/routes/1/handle/1"}, {"PATCH", "/id/r3"}, {"POST", "/id/r3"}, {"POST", s + "/routes/..."},
	}
	sent := 0
	for _, target := range targets {
		for name, body := range bodies {
			a, err := in.try(target.method, target.path, body)
			if err != nil {
				t.Fatalf("%s to %s %s: %v\n%s", name, target.method, target.path, err, tail(in.log))
			}
			sent++
			if a.status < 400 || a.status > 499 || !located(a.body) {
				t.Errorf("%s to %s %s: %d %.300s", name, target.method, target.path, a.status, a.body)
			}
		}
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", s + "/routes/999", `{}`, 404}, {"PATCH", s + "/routes/-1", `{}`, 404}, {"DELETE", s + "/routes/01", ``, 400}, {"DELETE", s + "/routes/x", ``, 400},
		{"DELETE", s + "/nope", ``, 404}, {"PATCH", s + "/nope", `1`, 404}, {"PUT", s + "/routes", `[]`, 409}, {"POST", s + "/a/b/c", `1`, 404}, {"PUT", s + "/a/b/c", `1`, 400},
		{"POST", "/id/nope", `{}`, 404}, {"GET", s + "/routes/999", ``, 400}, {"DELETE", "/config/" + strings.Repeat("a/", 3000), ``, 400},
	} {
		if a := in.do(c.method, c.path, c.body); a.status != c.status {
			t.Errorf("%s %.60s: %d %.200s, want %d", c.method, c.path, a.status, a.body, c.status)
		}
	}
	if after := in.must("GET", "/config/", "").body; after != before {
		t.Error("the configuration changed")
	}
	if mb := in.rss(); mb > 1024 {
		t.Errorf("resident memory is %.0f MB", mb)
	}
	over := `"` + strings.Repeat("x", 101<<20) + `"`
	for _, target := range targets {
		// The answer may come before all was sent; then the connection ends.
		if a, err := in.try(target.method, target.path, over); err == nil && a.status != 413 {
			t.Errorf("101 MiB to %s %s: %d", target.method, target.path, a.status)
		}
	}
	in.must("GET", "/config/", "")
	t.Logf("%d hostile requests to %d endpoints, resident memory %.0f MB", sent, len(targets), in.rss())
}

// located reports whether an error says where the fault is: at a line of the
// text or at a place of the document. Errors about ids carry the place in words.
func located(body string) bool {
	var e struct {
		Error    string
		Problems []struct {
			Pointer string
			Line    int
		}
	}
	if json.Unmarshal([]byte(body), &e) != nil || e.Error == "" {
		return false
	}
	for _, p := range e.Problems {
		if p.Line == 0 && p.Pointer == "" {
			return false
		}
	}
	return len(e.Problems) > 0 || strings.Contains(e.Error, ": /config") || strings.Contains(e.Error, "/config/") || strings.Contains(e.Error, "final element is not an array")
}

func hostileBodies() map[string]string {
	deep := strings.Repeat("[", 100_000)
	b := map[string]string{
		"nothing but a brace": `{`, "a comment": `{/* x */}`, "a trailing comma": `{"a":1,}`, "two values": `{} {}`, "a byte-order mark": "\ufeff{}", "depth 100,000": deep,
		"closed depth 100,000": deep + strings.Repeat("]", 100_000), "deep objects": strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000),
		"a bare word": `nope`, "an unknown field": `{"bogus":1}`, "an unknown handler": `{"handler":"bogus"}`, "a number too large": `1e999`, "half a string": `"abc`,
		"a wrong handler list": `{"handle":7}`, "a null handler": `{"handle":[null]}`, "a match object": `{"match":{}}`, "a null matcher": `{"match":[{"host":null}]}`,
		"a bad id": `{"@id":true,"handle":[]}`, "a taken id": `{"@id":"first","x":{"@id":"first"}}`, "a bad regexp": `{"match":[{"path_regexp":{"pattern":"("}}]}`, "a bad range": `{"match":[{"remote_ip":{"ranges":["x"]}}]}`,
		"a control character": "{\"a\":\"\x01\"}", "a lone escape": `"\`, "a bad escape": `"\x"`,
	}
	r := rand.New(rand.NewPCG(5, 6))
	valid := routes(1, 3)
	for i := 0; i < 80; { // text with pieces cut out at random places
		mutant := []byte(valid)
		for range 1 + r.IntN(3) {
			at := r.IntN(len(mutant) - 30)
			mutant = append(mutant[:at:at], mutant[at+1+r.IntN(20):]...)
		}
		if !json.Valid(mutant) {
			b[fmt.Sprintf("mutant %d", i)] = string(mutant)
			i++
		}
	}
	for field, wrong := range wrongValues {
		for k, value := range wrong {
			b[fmt.Sprintf("%s %d", field, k)] = fmt.Sprintf(field, value)
		}
	}
	return b
}

// wrongValues are routes with one place for a value, and values that are wrong
// there by their type, their name or their meaning.
var wrongValues = map[string][]string{
	`{"terminal":%s}`:                                               {`1`, `"true"`, `[]`, `{}`},
	`{"group":%s}`:                                                  {`1`, `true`, `[]`, `{}`},
	`{"match":[%s]}`:                                                {`1`, `"x"`, `[]`, `{"hosts":[]}`, `{"Host":["a"]}`, `{"file":{"try_policy":"best"}}`},
	`{"match":[{"host":%s}]}`:                                       {`"a"`, `[1]`, `{}`, `["a.test","A.test"]`, `[["a"]]`},
	`{"match":[{"path":%s}]}`:                                       {`"/x"`, `[true]`, `{"a":[]}`, `7`},
	`{"match":[{"method":%s}]}`:                                     {`"GET"`, `[1]`, `{}`},
	`{"match":[{"header":%s}]}`:                                     {`[]`, `"x"`, `{"A":"b"}`, `{"A":[1]}`},
	`{"match":[{"query":%s}]}`:                                      {`[]`, `{"a":"b"}`, `7`},
	`{"match":[{"not":%s}]}`:                                        {`{}`, `[{"nope":[]}]`, `"x"`},
	`{"match":[{"vars_regexp":%s}]}`:                                {`{"a":{"pattern":"["}}`, `{"a":"x"}`, `[]`},
	`{"match":[{"client_ip":{"ranges":%s}}]}`:                       {`["10.0.0.0/33"]`, `["private_ranges"]`, `"10.0.0.0/8"`, `[1]`},
	`{"handle":[%s]}`:                                               {`1`, `"x"`, `{}`, `{"handler":1}`, `{"handler":""}`, `{"HANDLER":"error"}`, `{"handler":"file_server","browse":1}`, `{"handler":"encode","encodings":{"lzma":{}}}`},
	`{"handle":[{"handler":"static_response","headers":%s}]}`:       {`[]`, `{"A":"b"}`, `"x"`, `{"A":[1]}`},
	`{"handle":[{"handler":"static_response","close":%s}]}`:         {`1`, `"true"`, `[]`},
	`{"handle":[{"handler":"headers","response":%s}]}`:              {`[]`, `{"set":[]}`, `{"sets":{}}`, `{"replace":{"A":[{"search":"a","search_regexp":"b"}]}}`, `{"replace":{"A":[{"search_regexp":"("}]}}`},
	`{"handle":[{"handler":"rewrite","path_regexp":%s}]}`:           {`[{"find":""}]`, `[{"find":"("}]`, `{}`, `"x"`},
	`{"handle":[{"handler":"rewrite","query":%s}]}`:                 {`[]`, `{"bogus":1}`, `{"set":{}}`},
	`{"handle":[{"handler":"reverse_proxy","upstreams":%s}]}`:       {`{}`, `["a"]`, `[{"dail":"a:1"}]`, `[{"dial":1}]`, `[{"dial":"a:1","max_requests":-1}]`},
	`{"handle":[{"handler":"reverse_proxy","flush_interval":%s}]}`:  {`"xx"`, `1.5`, `true`, `"5 s"`, `"1w"`},
	`{"handle":[{"handler":"reverse_proxy","trusted_proxies":%s}]}`: {`["x"]`, `"10.0.0.1"`, `["private_ranges"]`},
	`{"handle":[{"handler":"reverse_proxy","load_balancing":%s}]}`:  {`[]`, `{"retries":"1"}`, `{"retries":1.5}`, `{"selection_policy":{}}`, `{"selection_policy":{"policy":"nope"}}`, `{"selection_policy":{"policy":"header"}}`},
	`{"handle":[{"handler":"reverse_proxy","transport":%s}]}`:       {`{}`, `{"protocol":"fastcgi","root":1}`, `{"protocol":"http","versions":["9"]}`, `{"protocol":"http","dial_timeout":"x"}`, `{"protocol":"http","tls":{"nope":1}}`},
	`{"handle":[{"handler":"reverse_proxy","health_checks":%s}]}`:   {`{"active":{"uri":"/","interval":"soon"}}`, `{"passive":{"max_fails":"many"}}`},
	`{"handle":[{"handler":"subroute","routes":%s}]}`:               {`{}`, `[{"nope":1}]`, `[{"handle":[{"handler":"nope"}]}]`, `"x"`},
}
