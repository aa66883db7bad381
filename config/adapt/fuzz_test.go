package adapt_test

import (
	"testing"
	"testing/fstest"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// FuzzAdapt: whatever the text is, adapting ends, and what it makes is a
// document that can be printed, read again, and asked for places.
func FuzzAdapt(f *testing.F) {
	for _, seed := range []string{
		":80\nrespond hi",
		"a.com, http://b.com:8080/x {\n\t@m {\n\t\tpath /a*\n\t\tnot header X y\n\t}\n\thandle @m {\n\t\trewrite /z\n\t\trespond {path} 201\n\t}\n\thandle_errors 5xx 404 {\n\t\trespond {err.message}\n\t}\n}",
		"{\n\tdebug\n\thttp_port 8080\n\torder respond first\n\tservers :80 {\n\t\tname x\n\t\ttimeouts {\n\t\t\tidle 1m\n\t\t}\n\t}\n\tlog x {\n\t\tinclude a\n\t}\n}\n:80 {\n\tlog\n\tbind 127.0.0.1 {\n\t\tprotocols h1 h2\n\t}\n}",
		"(s) {\n\trespond {args[0]}\n\t{block}\n}\n&(n) {\n\tinvoke n\n}\n:80 {\n\timport s hi {\n\t\theader A b\n\t}\n\tinvoke n\n\timport other\n}",
		":1 {\n\treverse_proxy a:1-3 unix//x {\n\t\tlb_policy header X {\n\t\t\tfallback first\n\t\t}\n\t\theader_up -Cookie\n\t\ttransport http {\n\t\t\tdial_timeout 1s\n\t\t}\n\t}\n\turi query {\n\t\t+a b\n\t}\n\tvars /x a 1\n\troot * /x\n}",
		"{\n\temail a@b.c\n\tlocal_certs\n\tdefault_sni a.com\n\tacme_dns rfc2136 {\n\t\tserver x\n\t}\n\tpki {\n\t\tca x {\n\t\t\tname y\n\t\t}\n\t}\n\tech o.com\n}\na.com, *.b.com, c.local {\n\ttls {\n\t\talpn h2\n\t\tclient_auth {\n\t\t\tmode require\n\t\t\ttrust_pool system\n\t\t}\n\t\tissuer acme\n\t}\n}\n:443, x.b.com {\n\ttls a b\n}",
	} {
		f.Add(seed)
	}
	a := adapttest.Adapter(f)
	files := caddyfile.FSFiles(fstest.MapFS{"other": {Data: []byte("respond /other {args[0]}\n")}})
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := a.Adapt(adapt.Source{Text: []byte(text), Env: caddyfile.Env{
			LookupEnv: func(name string) (string, bool) { return "v", name == "X" }, Files: files, Dir: "/"}})
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		printed := doc.Root.AppendJSON(nil)
		again, _, err := config.Parse(printed, config.Limits{})
		if err != nil {
			t.Fatalf("not a document: %v: %s", err, printed)
		}
		if !config.Equal(again, doc.Root) {
			t.Fatalf("reads back as something else: %s", printed)
		}
		if doc.Root.Get("apps") != nil {
			doc.Locate("/apps/http/servers/srv0/routes/0/handle/0/body")
		}
		if _, err := config.NewDoc(doc.Root); err != nil {
			t.Fatalf("not a document: %v", err)
		}
	})
}
