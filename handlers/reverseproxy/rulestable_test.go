package reverseproxy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	repository = "../.."
	rulesTable = repository + "/api-docs/reverse-proxy-rules.md"
	reference  = repository + "/../shared/reference/reverse-proxy.md"
)

var (
	testName   = regexp.MustCompile(`\b(?:[a-z0-9]+\.)?Test[A-Z][A-Za-z0-9_]*`)
	testFunc   = regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9_]*)\(`)
	ruleName   = regexp.MustCompile(`\b[A-Z]{1,8}-[0-9]+\b`)
	ruleLine   = regexp.MustCompile(`(?m)^\| ([A-Z]{1,8}-[0-9]+|S[0-9]+|quirk [0-9]+|#[0-9]+) \| (.+) \| (.*) \|$`)
	scenario   = regexp.MustCompile(`(?m)^\| (S[0-9]+) \|`)
	quirkLine  = regexp.MustCompile(`(?m)^\| ([0-9]+) \| .* \| (?:keep|fix|option)`)
	thread     = regexp.MustCompile(`(?m)^\| caddyserver/caddy (#[0-9]+)`)
	testNeeded = "at least one test"
)

// testsOfTheRepository returns the names of all test functions, with the folder before those of other packages than this.
func testsOfTheRepository(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != repository && strings.HasPrefix(name, ".") && name != ".." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder := filepath.Base(filepath.Dir(path)) + "."
		if folder == "reverseproxy." {
			folder = ""
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			names[folder+m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Each test that the table of rules names is there, and each line of it names one.
func TestRulesTableNamesTests(t *testing.T) {
	text, err := os.ReadFile(rulesTable)
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOfTheRepository(t)
	if len(tests) < 500 {
		t.Fatalf("only %d tests were found", len(tests))
	}
	for _, name := range testName.FindAllString(string(text), -1) {
		if !tests[name] {
			t.Errorf("there is no %s", name)
		}
	}
	seen := map[string]bool{}
	for _, m := range ruleLine.FindAllStringSubmatch(string(text), -1) {
		rule, what, proof := m[1], m[2], m[3]
		if seen[rule] {
			t.Errorf("%s has two lines", rule)
		}
		seen[rule] = true
		if strings.TrimSpace(what) == "" || strings.TrimSpace(testName.ReplaceAllString(proof, "")) != "" || proof == "" {
			t.Errorf("the line of %s wants words, and %s: %q", rule, testNeeded, proof)
		}
	}
	if n := strings.Count(string(text), "\n| "); n != len(seen)+strings.Count(string(text), "\n| rule |") {
		t.Errorf("%d lines of tables are not understood", n-len(seen)-strings.Count(string(text), "\n| rule |"))
	}
}

// Each rule of the reference has a line in the table, and the table has no others. So have its quirks, the complaints
// and the scenarios.
func TestRulesTableIsComplete(t *testing.T) {
	text, err := os.ReadFile(reference)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the reference is not here")
	} else if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, name := range ruleName.FindAllString(string(text), -1) {
		want[name] = true
	}
	for _, re := range []*regexp.Regexp{scenario, thread} {
		for _, m := range re.FindAllStringSubmatch(string(text), -1) {
			want[m[1]] = true
		}
	}
	quirks := quirkLine.FindAllStringSubmatch(string(text), -1)
	for i, m := range quirks {
		if m[1] != strconv.Itoa(i+1) {
			t.Errorf("quirk %d is called %s", i+1, m[1])
		}
		want["quirk "+m[1]] = true
	}
	if len(quirks) != 30 || len(want) < 250 {
		t.Fatalf("%d quirks of %d rules were found in the reference", len(quirks), len(want))
	}
	table, err := os.ReadFile(rulesTable)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ruleLine.FindAllStringSubmatch(string(table), -1) {
		if !want[m[1]] {
			t.Errorf("%s is no rule of the reference", m[1])
		}
		delete(want, m[1])
	}
	for name := range want {
		t.Errorf("%s has no line", name)
	}
}
