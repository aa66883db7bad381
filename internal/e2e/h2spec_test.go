package e2e

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// h2specExceptions are the cases that net/http is known to fail, by section and name. It can be told nothing about them,
// and none of them lets anything through. The value is what h2spec sees at last.
var h2specExceptions = map[string]string{
	// processSettings of net/http hangs up on a SETTINGS frame that has a setting twice, which is what no client sends.
	"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE": "Connection closed",
	// new400Handler of net/http answers these requests with 400 and a text, as RFC 9113, section 8.1.1, lets a server do
	// before it ends the stream; h2spec waits for RST_STREAM. The text says which field it was, hence its length.
	"http2/8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field":                       "DATA Frame (length:51, flags:0x01, stream_id:1)",
	"http2/8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": "DATA Frame (length:53, flags:0x01, stream_id:1)",
}

// h2specCases is how many cases the pinned version has with -S.
const h2specCases = 146

// h2specReport is the report of h2spec, in the format of JUnit.
type h2specReport struct {
	Suites []struct {
		Cases []struct {
			Section string    `xml:"package,attr"`
			Name    string    `xml:"classname,attr"`
			Failure *string   `xml:"failure"`
			Error   *string   `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// h2spec returns the program that `make deps` has built.
func h2spec(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../.deps/bin/h2spec")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if ci := os.Getenv("CI"); ci != "" && ci != "false" {
			t.Fatalf("h2spec is missing: %v; make deps builds it", err)
		}
		t.Skip("h2spec is missing; make deps builds it")
	}
	return path
}

// runH2spec runs all cases against an address, and compares with the exceptions.
func runH2spec(t *testing.T, program, host, port string, args ...string) {
	file := filepath.Join(t.TempDir(), "report.xml")
	cmd := exec.Command(program, append(args, "-S", "-o", "5", "-h", host, "-p", port, "-j", file, "generic", "http2", "hpack")...)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report h2specReport
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	total, passed, skipped, excepted := 0, 0, 0, 0
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			total++
			name := c.Section + " " + c.Name
			actual, exception := h2specExceptions[name]
			switch {
			case c.Skipped != nil:
				skipped++
				t.Errorf("skipped: %s", name)
			case c.Failure == nil && c.Error == nil:
				passed++
				if exception {
					t.Errorf("%s passes, and is no exception any more", name)
				}
			default:
				text := ""
				for _, s := range []*string{c.Failure, c.Error} {
					if s != nil {
						text += strings.TrimSpace(*s)
					}
				}
				if exception && strings.HasSuffix(text, "\n"+actual) {
					excepted++
				} else {
					t.Errorf("failed: %s: expected and, at last, got: %s", name, strings.ReplaceAll(text, "\n", "; "))
				}
			}
		}
	}
	t.Logf("h2spec: %d cases, %d passed, %d skipped, %d failed, of which %d are exceptions", total, passed, skipped, total-passed-skipped, excepted)
	if total != h2specCases {
		t.Errorf("%d cases have run, want %d\n%s", total, h2specCases, out)
	}
}

// HTTP/2 is spoken as h2spec wants it, with TLS and with prior knowledge, by handlers that read the body.
func TestH2spec(t *testing.T) {
	program := h2spec(t)
	ports := freePorts(t, 1)
	clear := fmt.Sprintf("127.0.0.1:%d", ports[0])
	x := newSecured(t, func(x *secured) object {
		echo := object{"match": []any{object{"host": []string{"localhost"}}}, "handle": []any{object{"handler": "static_response", "body": "hello {http.request.body}"}}}
		doc := x.config(echo)
		servers := doc["apps"].(object)["http"].(object)["servers"].(object)
		// HTTP/1 beside it would answer a wrong preface with a 400 of its own.
		servers["clear"] = object{"listen": []string{clear}, "protocols": []string{"h2c"}, "automatic_https": object{"disable": true}, "routes": []any{echo}}
		return doc
	})
	x.visitor("HTTP/2.0", x.trust()).expect(x, "localhost", "hello ")
	began := time.Now()
	t.Run("over", func(t *testing.T) {
		for name, c := range map[string]struct {
			address string
			args    []string
		}{"TLS": {x.https, []string{"-t", "-k"}}, "clear text": {clear, nil}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				_, port, err := net.SplitHostPort(c.address)
				if err != nil {
					t.Fatal(err)
				}
				runH2spec(t, program, "localhost", port, c.args...)
			})
		}
	})
	t.Logf("in %v", time.Since(began).Round(time.Second))
}
