package clientip

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestHeaderFilter is the table of section 2.9 and the rules around it.
func TestHeaderFilter(t *testing.T) {
	list := func(s ...string) []string { return s }
	for _, c := range []struct {
		underscore, dot []string
		sent            []string // names, each sent once
		stays           []string // canonical
		repeated        []string
	}{
		{nil, nil, list("User_id", "User.id", "User-Id"), list("User-Id"), nil},
		{list("user_id"), nil, list("User_id", "User-Id"), list("User_id"), nil},
		{list("user_id"), nil, list("User_id", "User_id"), nil, list("User_id")},
		{list("hook_*"), nil, list("Hook_event"), list("Hook_event"), nil},
		{list("hook_*"), nil, list("Hook-Event"), nil, nil},
		{list("hook_*"), nil, list("Hook_user.id"), nil, nil},
		{list("hook_user.id"), nil, list("Hook_user.id"), list("Hook_user.id"), nil},
		{list("__user-id"), nil, list("__user-id", "--user-id", "_-user-id", "__user_id"), list("__user-Id"), nil},
		{list("hook_*"), nil, list("Hook_*"), list("Hook_*"), nil},
		// Two fields that differ only in case are one.
		{list("user_id"), nil, list("USER_ID", "user_id"), nil, list("User_id")},
		// The dot list has the same rules.
		{nil, list("user.id"), list("User.id", "User-Id", "User_id"), list("User.id"), nil},
		{nil, list("user.id"), list("User.id", "user.ID"), nil, list("User.id")},
		{nil, list("hook.*"), list("Hook.event", "Hook-Event", "Hook.a_b", "Hooked"), list("Hook.event", "Hooked"), nil},
		// Both separators need an exact entry, in either list.
		{nil, list("a_b.c"), list("A_b.c", "A_b-C"), list("A_b.c"), nil},
		{list("a_b.c"), nil, list("A_b.c", "A_b.c"), nil, list("A_b.c")},
		{list("a_*"), list("a_b.*"), list("A_b.c"), nil, nil},
		// Lists do not serve each other.
		{list("user_id"), nil, list("User.id"), nil, nil},
		{list("User_Id", "user_id", "USER_ID"), list(), list("user_id", "content-type"), list("Content-Type", "User_id"), nil},
		{list("hook_ev*"), nil, list("hook-event", "hook-other", "hook_event", "hook_other"), list("Hook-Other", "Hook_event"), nil},
		{list("a_b_c"), nil, list("a-b-c", "a_b-c", "a-b_c", "a_b_c"), list("A_b_c"), nil},
	} {
		f, err := NewHeaderFilter(c.underscore, c.dot)
		if err != nil {
			t.Errorf("%v, %v: %v", c.underscore, c.dot, err)
			continue
		}
		h := http.Header{}
		for i, name := range c.sent {
			h.Add(name, fmt.Sprint(i))
		}
		before := maps.Clone(h)
		var repeated []string
		f.Filter(h, func(name string, twice bool) {
			if _, ok := before[name]; !ok {
				t.Errorf("%v: dropped %q, or twice", c, name)
			}
			delete(before, name)
			if twice {
				repeated = append(repeated, name)
			}
		})
		if got := slices.Sorted(maps.Keys(h)); !slices.Equal(got, c.stays) || !slices.Equal(repeated, c.repeated) {
			t.Errorf("lists %v, %v, sent %v: got %v, repeated %v", c.underscore, c.dot, c.sent, got, repeated)
		}
		if got := slices.Sorted(maps.Keys(before)); !slices.Equal(got, c.stays) {
			t.Errorf("lists %v, %v, sent %v: not reported are %v", c.underscore, c.dot, c.sent, got)
		}
	}
}

func TestHeaderFilterNil(t *testing.T) {
	h := http.Header{"A_b": {"1"}, "A-B": {"2"}}
	(*HeaderFilter)(nil).Filter(h, nil)
	if len(h) != 1 || h.Get("A-B") != "2" {
		t.Errorf("got %v", h)
	}
}

func TestHeaderFilterRefuses(t *testing.T) {
	for _, bad := range []string{"*", "content-type", "user_id*x", "*_a", "us*r_id", "üser_id", "_é*", "", "a.b", "user_**"} {
		if _, err := NewHeaderFilter([]string{"ok_1", bad}, nil); err == nil || !strings.Contains(err.Error(), "expected_underscore_headers: entry 1") {
			t.Errorf("%q in the underscore list: %v", bad, err)
		}
	}
	for _, bad := range []string{"*", "content-type", "a_b", "a.*.*"} {
		if _, err := NewHeaderFilter(nil, []string{bad}); err == nil || !strings.Contains(err.Error(), "expected_dot_headers: entry 0") {
			t.Errorf("%q in the dot list: %v", bad, err)
		}
	}
}

func TestHeaderFilterAllocatesNothing(t *testing.T) {
	f, err := NewHeaderFilter([]string{"user_id", "hook_*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := fields("Accept: a", "User-Agent: b", "X-Forwarded-For: c", "User_id: 1")
	for _, f := range []*HeaderFilter{nil, f} {
		if f == nil {
			h.Del("User_id")
		} else {
			h.Set("User_id", "1")
		}
		if n := testing.AllocsPerRun(100, func() { f.Filter(h, nil) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
