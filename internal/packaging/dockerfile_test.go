package packaging

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one of a Dockerfile.
type instruction struct {
	name, rest string
	flags      map[string]string // the --flags in front
}

// words are the words of an instruction, in either form.
func (i instruction) words() []string {
	var list []string
	if json.Unmarshal([]byte(i.rest), &list) == nil {
		return list
	}
	return strings.Fields(i.rest)
}

// dockerfile reads the Dockerfile.
func dockerfile(t *testing.T) (list []instruction) {
	t.Helper()
	var whole string
	for line := range strings.SplitSeq(read(t, "Dockerfile"), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		if before, more := strings.CutSuffix(line, `\`); more {
			whole += before + " "
			continue
		}
		if whole += line; whole != "" {
			name, rest, _ := strings.Cut(whole, " ")
			in := instruction{name: name, rest: strings.TrimSpace(rest), flags: map[string]string{}}
			for strings.HasPrefix(in.rest, "--") {
				flag, rest, _ := strings.Cut(in.rest, " ")
				key, value, _ := strings.Cut(flag, "=")
				in.flags[key], in.rest = value, strings.TrimSpace(rest)
			}
			list = append(list, in)
		}
		whole = ""
	}
	return list
}

// lastStage is what the image itself is made by.
func lastStage(list []instruction) []instruction {
	from := 0
	for i, in := range list {
		if in.name == "FROM" {
			from = i
		}
	}
	return list[from:]
}

// last is the last instruction of a name.
func last(t *testing.T, list []instruction, name string) instruction {
	t.Helper()
	for _, in := range slices.Backward(list) {
		if in.name == name {
			return in
		}
	}
	t.Fatalf("there is no %s", name)
	return instruction{}
}

func TestDockerfile(t *testing.T) {
	list := dockerfile(t)
	known := []string{"ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}
	stages := map[string]bool{}
	for _, in := range list {
		if !slices.Contains(known, in.name) {
			t.Errorf("%s is no instruction that is tested", in.name)
		}
		if words := in.words(); in.name == "FROM" && len(words) == 3 && words[1] == "AS" {
			stages[words[2]] = true
		}
		if stage, ok := in.flags["--from"]; ok && !stages[stage] {
			t.Errorf("there is no stage %q in front of COPY", stage)
		}
	}
	final := lastStage(list)
	if final[0].rest != "scratch" {
		t.Errorf("the image is made from %s", final[0].rest)
	}
	for name, want := range map[string]string{"USER": "65532:65532", "EXPOSE": "80 443 443/udp 2019", "STOPSIGNAL": "SIGTERM", "VOLUME": `["/data", "/config"]`} {
		if got := last(t, final, name).rest; got != want {
			t.Errorf("%s %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"CMD", "HEALTHCHECK"} {
		if rest := last(t, final, name).rest; !strings.Contains(rest, `["sluice", `) {
			t.Errorf("%s %s needs a shell, and there is none", name, rest)
		}
	}
	// The Go that go.mod asks for.
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, filepath.Join(top, "go.mod")))[1]
	if got := list[0]; got.name != "ARG" || got.rest != "GO_VERSION="+goVersion {
		t.Errorf("%s %s, but go.mod says %s", got.name, got.rest, goVersion)
	}
	for _, in := range list {
		if in.name != "RUN" {
			continue
		}
		for _, word := range strings.Fields(in.rest) {
			if !strings.HasPrefix(word, "internal/") {
				continue
			}
			if _, err := os.Stat(filepath.Join(top, word)); err != nil {
				t.Errorf("RUN %s: %v", in.rest, err)
			}
		}
	}
}

// What is not sent to Docker is nothing that the build needs.
func TestDockerignore(t *testing.T) {
	for line := range strings.SplitSeq(strings.TrimSpace(read(t, "Dockerfile.dockerignore")), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !slices.Contains([]string{"/.git", "/.deps", "/bin", "/docs", "**/testdata", "**/*_test.go"}, line) {
			t.Errorf("is %s not needed?", line)
		}
	}
	// An embedded file in one of these would be missing.
	embeds := regexp.MustCompile(`(?m)^//go:embed (.*)$`)
	err := filepath.WalkDir(top, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && name != top && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		for _, m := range embeds.FindAllStringSubmatch(read(t, name), -1) {
			if strings.Contains(m[1], "testdata") {
				t.Errorf("%s embeds %s", name, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
