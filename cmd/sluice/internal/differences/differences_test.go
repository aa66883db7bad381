package differences

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
)

func parse(t *testing.T, text string) *config.Node {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDifferences(t *testing.T) {
	old := parse(t, `{"a":1,"b":"x","c":[1,2]}`)
	now := parse(t, `{"a":2,"c":[1,2,3],"k\u001b[2J":"`+strings.Repeat("é", 100)+`"}`)
	var text, json strings.Builder
	changes := config.Diff(old, now)
	if err := Text(&text, changes); err != nil {
		t.Fatal(err)
	}
	want := "~ /a  1 -> 2\n- /b  \"x\"\n+ /c/2  3\n+ /k\\x1b[2J  \"" + strings.Repeat("é", 59) + "... (202 bytes)\n"
	if text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
	if err := JSON(&json, changes[:2]); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(json.String()), ""); got != `[{"op":"replace","pointer":"/a","old":1,"new":2},{"op":"remove","pointer":"/b","old":"x"}]` {
		t.Errorf("got %s", got)
	}
	text.Reset()
	if err := Text(&text, config.Diff(nil, parse(t, "1"))); err != nil || text.String() != "+ /  1\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
}
