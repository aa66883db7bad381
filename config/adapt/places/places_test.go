package places

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
)

func lex(t *testing.T, text string) caddyfile.Segment {
	t.Helper()
	tokens, err := caddyfile.Lex(text, &caddyfile.Origin{File: "F"})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func node(t *testing.T, text string) *config.Node {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func lines(m *Map, root *config.Node, want map[string]int, t *testing.T) {
	t.Helper()
	for pointer, line := range want {
		_, got, ok := m.Locate(root, pointer)
		if got != line || ok != (line > 0) {
			t.Errorf("%s is in line %d (%v), want %d", pointer, got, ok, line)
		}
	}
}

// TestCopy: what is made of a node was written where the node was.
func TestCopy(t *testing.T) {
	m := New()
	seg := lex(t, "log {\n\tlevel WARN\n\tsink {\n\t\tsize 3\n\t}\n}\n")
	n := node(t, `{"level":"WARN","sink":{"size":3},"other":{}}`)
	before := m.Enter(seg)
	m.Put(n, seg[0])
	m.Put(n.Get("sink"), seg[4])
	m.Put(n.Get("level"), seg[4]) // a scalar has no place of its own
	m.Leave(before)
	m.PutMember(n, "other", At(seg[len(seg)-1]))

	want := map[string]int{"": 1, "/level": 2, "/sink": 3, "/sink/size": 4, "/other": 6, "/missing": 1}
	lines(m, n, want, t)
	used := false
	if m.Fresh(n, &used) != n || !used {
		t.Error("the first use is the node itself")
	}
	c := m.Fresh(n, &used)
	if c == n || !config.Equal(c, n) {
		t.Error("the second use is no copy")
	}
	want["/other"] = 1 // places of fields are not copied
	lines(m, c, want, t)

	root := config.NewObject(map[string]*config.Node{"a": m.Moved(c, node(t, `{"level":"WARN"}`))})
	lines(m, root, map[string]int{"/a/level": 2, "": 0, "/b": 0}, t)
}

// TestCheck: what a short text can become is bounded.
func TestCheck(t *testing.T) {
	m, at := New(), lex(t, "a.example")[0]
	big := config.NewString(strings.Repeat("x", 16*maxCopied/2))
	for i, refused := range []bool{false, true} {
		if got := m.Copy(big); !config.Equal(got, big) {
			t.Error("a copy differs")
		}
		if err := m.Check(at); (err != nil) != refused || m.Full() != refused {
			t.Errorf("after %d copies: %v", i+1, err)
		}
	}
	m = New()
	for range maxCopied + 1 {
		m.Charge()
	}
	if err := m.Check(at); err == nil || !strings.Contains(err.Error(), "too large") || !strings.Contains(err.Error(), "F:1") {
		t.Errorf("got %v", err)
	}
}
