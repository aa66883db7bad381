package adapt_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// many joins n texts.
func many(n int, text func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(text(i))
	}
	return b.String()
}

func numbered(format string) func(i int) string {
	return func(i int) string { return fmt.Sprintf(format, i) }
}

// TestHostile: texts that multiply themselves, or repeat something without end,
// are read in bounded time and memory. An empty want is a text that is fine.
func TestHostile(t *testing.T) {
	same := func(text string) func(int) string { return func(int) string { return text } }
	for name, c := range map[string]struct{ text, want string }{
		"a large matcher, used often": {":80 {\n@m path" + many(20_000, numbered(" /%d")) + "\n" + many(5000, same("respond @m x\n")) + "}", "too large"},
		"long texts in many servers":  {many(8000, numbered(":%d ")) + "{\nrespond " + strings.Repeat("x", 100_000) + "\n}", "too large"},
		"many routes in many servers": {many(8000, numbered(":%d ")) + "{\n" + many(1000, numbered("respond /%d "+strings.Repeat("x", 800)+"\n")) + "}", "too large"},
		"addresses times binds":       {many(600, numbered(":%d ")) + "{\nbind" + many(600, numbered(" h%d")) + "\n}", "addresses to listen on"},
		"many addresses":              {many(20_000, numbered("http://h%d:8080 ")) + "{\nlog\n}\nhttp://x:8080 {\n}", ""},
		"the same addresses twice":    {strings.Repeat(many(20_000, numbered("http://h%d "))+"{\n}\n", 2), "ambiguous site definition: http://h0"},
		"one address often":           {strings.Repeat(many(20_000, same("http://h "))+"{\n}\n", 2), "ambiguous site definition: http://h"},
		"handlers that are joined":    {":80 {\n" + many(60_000, same("respond a\n")) + "}", ""},
		"deep blocks around much":     {":80 {\n" + many(190, numbered("handle /%d {\n")) + many(50_000, same("abort\n")) + strings.Repeat("}\n", 191), ""},
		"too deep":                    {":80 {\n" + many(300, same("handle {\n")) + strings.Repeat("}\n", 301), "nested more than"},
		"unknown directives":          {":80 {\n" + many(50_000, numbered("respnd%d\n")) + "}", "unrecognized directive: respnd19"},
		"unknown matchers of many":    {":80 {\n" + many(20_000, numbered("@matcher%d path /\n")) + many(20_000, numbered("respond @metcher%d x\n")) + "}", "did you mean"},
		"unknown options":             {"{\n" + many(50_000, numbered("o%d\n")) + "}", "unrecognized global option: o19"},
		"many server options":         {"{\n" + many(20_000, numbered("servers :%d {\nname n%[1]d\n}\nlog l%[1]d\n")) + "}\n" + many(5000, numbered(":%d {\n}\n")), ""},
		"named routes in a row":       {many(10_000, func(i int) string { return fmt.Sprintf("&(r%d) {\ninvoke r%d\n}\n", i, (i+1)%10_000) }) + ":80 {\ninvoke r0\n}", ""},
		"named routes nowhere":        {many(10_000, numbered("&(r%d) {\n}\n")) + ":80 {\n" + many(10_000, numbered("invoke s%d\n")) + "}", "cannot invoke named route 's19'"},
		"named routes in many servers": {many(500, func(i int) string {
			return fmt.Sprintf("&(r%d) {\nroute {\nrespond %s\ninvoke r%d\n}\n}\n", i, strings.Repeat("x", 800), (i+1)%500)
		}) +
			many(5000, numbered(":%d ")) + "{\ninvoke r0\n}", "too large"},
		"tls in many servers":         {many(8000, numbered("h:%d ")) + "{\n" + many(5000, same("tls internal\n")) + "}", "too large"},
		"policies in many servers":    {many(8000, numbered("h:%d ")) + "{\n" + many(5000, numbered("tls c%d k\n")) + "}", "too large"},
		"many certificates of a name": {"h {\n" + many(20_000, numbered("tls c%d k\n")) + "}", ""},
		"many policies of names":      {many(10_000, numbered("*.h%d.example, h%[1]d.local {\ntls {\nkey_type k%[1]d\n}\n}\n")), ""},
		"clients of many wildcards":   {many(10_000, numbered("*.h%d.example {\ntls {\nclient_auth {\nmode request\n}\n}\n}\nx.h%[1]d.example {\n}\n")), ""},
		"names of many labels":        {many(5000, numbered("h%d"+strings.Repeat(".a", 1500)+" {\ntls internal\n}\n")) + "*.b {\ntls a b\n}", ""},
		"a huge word":                 {":80 {\nrespond " + strings.Repeat("{host}", 500_000) + "\n}", ""},
		"an open brace":               {":80 {\nrespond " + strings.Repeat("{", 2_000_000) + "\n}", ""},
		"an import bomb": {"(a0) {\nrespond x\n}\n" + many(40, func(i int) string {
			return fmt.Sprintf("(a%d) {\n%s}\n", i+1, strings.Repeat(fmt.Sprintf("import a%d\n", i), 4))
		}) + ":80 {\nimport a40\n}", "tokens with its imports"},
		"matchers in not":         {":80 {\n@m " + strings.Repeat("not ", 5000) + "path /\n}", "in a row"},
		"many matchers in blocks": {":80 {\n" + many(150, numbered("handle {\n@m%d path /\n")) + many(20_000, same("respond @m0 x\n")) + strings.Repeat("}\n", 151), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := adapttest.Adapt(t, c.text)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %.300v, want %q", err, c.want)
			}
			if err != nil && len(err.Error()) > 100_000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			made := (after.TotalAlloc - before.TotalAlloc) >> 20
			if took > time.Minute || made > 1000 {
				t.Errorf("%d bytes take %v and %d MB", len(c.text), took, made)
			}
			t.Logf("%d bytes, %v, %d MB", len(c.text), took.Round(time.Millisecond), made)
		})
	}
}
