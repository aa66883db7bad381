package torture

import (
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
			if a.status < 400 || a.status > 499 || !strings.Contains(a.body, `"error"`) {
				t.Errorf("%s to %s %s: %d %.200s", name, target.method, target.path, a.status, a.body)
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
	t.Logf("%d hostile requests, resident memory %.0f MB", sent, in.rss())
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
	for i := range 180 {
		mutant := []byte(valid)
		for range 1 + r.IntN(4) {
			at := r.IntN(len(mutant))
			mutant = append(mutant[:at:at], mutant[min(len(mutant), at+1+r.IntN(20)):]...)
		}
		mutant = append([]byte("{"), mutant...) // never valid
		b[fmt.Sprintf("mutant %d", i)] = string(mutant)
	}
	return b
}
