package logs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt"
	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// TestCorpus runs the collected cases about logs, where they lie beside the
// project.
func TestCorpus(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "corpus", "caddyfile_adapt"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*log*.*t*t"))
	if len(files) == 0 {
		t.Skip("the corpus is not beside the project")
	}
	a := adapttest.Adapter(t)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, _ := strings.Cut(string(text), "\n----------\n")
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, err := a.Adapt(adapt.Source{Text: []byte(strings.TrimSpace(input) + "\n"), Env: caddyfile.Env{
				LookupEnv: func(string) (string, bool) { return "", false }, Files: caddyfile.OSFiles(), Dir: dir,
			}})
			if err != nil {
				if !strings.Contains(err.Error(), "caddy.logging") || strings.Contains(err.Error(), "cores.mock") {
					t.Skip(err) // about something else
				}
				t.Fatal(err)
			}
			adapttest.Same(t, string(doc.Root.AppendJSON(nil)), want)
		})
	}
}

func TestReferenceExamples(t *testing.T) {
	a := adapttest.Adapter(t)
	for text, want := range map[string]string{
		`{
	log {
		output net 127.0.0.1:514 {
			soft_start
		}
		format filter {
			wrap console
			uri query {
				delete tok
			}
			request>headers>Authorization regexp a b
			request>headers>Authorization regexp c d
			request>remote_ip ip_mask 16 32
		}
	}
}
`: `{"logging":{"logs":{"default":{"writer":{"address":"127.0.0.1:514","output":"net","soft_start":true},"encoder":{"fields":{"request>headers>Authorization":{"filter":"multi_regexp","operations":[{"regexp":"a","value":"b"},{"regexp":"c","value":"d"}]},"request>remote_ip":{"filter":"ip_mask","ipv4_cidr":16,"ipv6_cidr":32},"uri":{"actions":[{"parameter":"tok","type":"delete"}],"filter":"query"}},"format":"filter","wrap":{"format":"console"}}}}}}`,
		`{
	debug
	log audit {
		include app.audit
		output file audit.log
		format json {
			time_format iso8601
		}
		sampling {
			interval 1s
			first 100
			thereafter 10
		}
	}
}
`: `{"logging":{"logs":{"audit":{"writer":{"filename":"audit.log","output":"file"},"encoder":{"format":"json","time_format":"iso8601"},"level":"DEBUG","sampling":{"interval":1000000000,"first":100,"thereafter":10},"include":["app.audit"]},"default":{"level":"DEBUG","exclude":["app.audit"]}}}}`,
		`http://*.a.com {
	log {
		hostnames x.a.com y.a.com
		output file x.log {
			roll_size 10MiB
			roll_keep_for 36h
		}
	}
	log aux {
		no_hostname
		output discard
		level ERROR
	}
}
`: `{"logging":{"logs":{"aux":{"writer":{"output":"discard"},"level":"ERROR","include":["http.log.access.aux"]},"default":{"exclude":["http.log.access.aux","http.log.access.log0"]},"log0":{"writer":{"filename":"x.log","output":"file","roll_keep_days":2,"roll_size_mb":10},"include":["http.log.access.log0"]}}},"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":[{"match":[{"host":["*.a.com"]}],"terminal":true}],"logs":{"logger_names":{"x.a.com":["log0"],"y.a.com":["log0"]}}}}}}}`,
	} {
		doc, err := a.Adapt(adapt.Source{Text: []byte(text), Env: caddyfile.Env{LookupEnv: func(string) (string, bool) { return "", false }}})
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		adapttest.Same(t, string(doc.Root.AppendJSON(nil)), want)
	}
}
