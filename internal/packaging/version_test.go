package packaging

import (
	"os/exec"
	"strings"
	"testing"
)

func packageVersion(t *testing.T, described, seconds string) string {
	t.Helper()
	out, err := exec.Command("sh", "version.sh", described, seconds).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v %s", described, err, out)
	}
	return strings.TrimSpace(string(out))
}

// The versions are in the order in which the commits were made.
func TestVersion(t *testing.T) {
	cases := []struct{ described, seconds, want string }{
		{"unknown", "0", "0~19700101000000"},
		{"6c18e8d", "1785585600", "0~20260801120000.6c18e8d"},
		{"0c18e8d", "1785585601", "0~20260801120001.0c18e8d"},
		{"0c18e8d-dirty", "1785585601", "0~20260801120001.0c18e8d+dirty"},
		{"v0.1.0-alpha", "0", "0.1.0~alpha"},
		{"v0.1.0-rc.1", "0", "0.1.0~rc.1"},
		{"v0.1.0-rc.1-2-gabcdef0", "0", "0.1.0~rc.1+2.gabcdef0"},
		{"v0.1.0-rc-2", "0", "0.1.0~rc.2"},
		{"v0.1.0", "0", "0.1.0"},
		{"v0.1.0-dirty", "0", "0.1.0+0.dirty"},
		{"v0.1.0-4-gabcdef0", "0", "0.1.0+4.gabcdef0"},
		{"v0.1.0-4-gabcdef0-dirty", "0", "0.1.0+4.gabcdef0+dirty"},
		{"v0.1.0-10-gabcdef0", "0", "0.1.0+10.gabcdef0"},
		{"0.2.0", "0", "0.2.0"},
	}
	_, noDpkg := exec.LookPath("dpkg")
	before := ""
	for _, c := range cases {
		got := packageVersion(t, c.described, c.seconds)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.described, got, c.want)
		}
		if before != "" && noDpkg == nil {
			if out, err := exec.Command("dpkg", "--compare-versions", before, "lt", got).CombinedOutput(); err != nil {
				t.Errorf("%s is not before %s: %v %s", before, got, err, out)
			}
		}
		before = got
	}
}
