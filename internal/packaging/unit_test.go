package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit is a file of systemd.
type unit struct {
	name  string
	lines []setting
}

type setting struct{ section, key, value string }

func parseUnit(t *testing.T, file string) *unit {
	t.Helper()
	u := &unit{name: filepath.Base(file)}
	section := ""
	for i, line := range strings.Split(read(t, file), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" {
			t.Fatalf("%s:%d: %q is no setting", file, i+1, line)
		}
		u.lines = append(u.lines, setting{section, key, value})
	}
	return u
}

// all are the values of a key, in order.
func (u *unit) all(key string) (values []string) {
	for _, l := range u.lines {
		if l.key == key {
			values = append(values, l.value)
		}
	}
	return values
}

// get is the last value of a key.
func (u *unit) get(key string) string {
	values := u.all(key)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// words are the words of all values of a key.
func (u *unit) words(key string) []string { return strings.Fields(strings.Join(u.all(key), " ")) }

var services = []string{"sluice.service", "sluice-api.service"}

// The two services differ in what they start with, and in nothing else.
func TestServicesAreAlike(t *testing.T) {
	own := []string{"Description", "Conflicts", "ExecStart", "ExecReload"}
	var rest [2][]setting
	for i, name := range services {
		for _, l := range parseUnit(t, filepath.Join("systemd", name)).lines {
			if !slices.Contains(own, l.key) {
				rest[i] = append(rest[i], l)
			}
		}
	}
	if !slices.Equal(rest[0], rest[1]) {
		t.Errorf("they differ:\n%v\n%v", rest[0], rest[1])
	}
	if len(rest[0]) < 30 {
		t.Errorf("only %d settings", len(rest[0]))
	}
}

// systemd itself finds nothing wrong with the units, nor with what a service may do.
func TestSystemdLikesTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		absent(t, "systemd-analyze", false)
	}
	files, err := filepath.Glob("systemd/*")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	dir := t.TempDir()
	for _, file := range files {
		// Where the program is not installed that would be found wrong.
		text := strings.ReplaceAll(read(t, file), "/usr/bin/sluice ", "/bin/true ")
		write(t, filepath.Join(dir, filepath.Base(file)), text, 0o644)
	}
	for _, file := range files {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, filepath.Base(file))).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
	for _, name := range services {
		// 2.0 of 10; what it reads in /proc, the network and the port below 1024 are the rest.
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", filepath.Join(dir, name)).CombinedOutput()
		if err != nil && strings.Contains(string(out), "unrecognized option") {
			t.Skip("this systemd-analyze is too old")
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// A mistake in a unit is found, so that the test above can fail.
func TestSystemdFindsMistakes(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		absent(t, "systemd-analyze", false)
	}
	file := filepath.Join(t.TempDir(), "x.service")
	if err := os.WriteFile(file, []byte("[Service]\nExecStart=/bin/true\nNoNewPrivilege=yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	if !strings.Contains(string(out), "NoNewPrivilege") {
		t.Errorf("%s", out)
	}
}
