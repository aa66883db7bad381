package logs

import "testing"

func TestSelection(t *testing.T) {
	cases := []struct {
		include, exclude []string
		name             string
		core, want       bool
	}{
		{nil, nil, "foo", false, true},
		{[]string{"foo"}, nil, "foo", false, true},
		{nil, []string{"foo"}, "foo", false, false},
		{[]string{"foo"}, []string{"foo"}, "foo", false, false},
		{[]string{"foo.bar"}, []string{"foo"}, "foo.bar", false, true},
		{[]string{"foo.bar"}, []string{"foo"}, "foo.bar.baz", false, true},
		{[]string{"foo.bar"}, []string{"foo"}, "foo", false, false},
		{[]string{"foo.b"}, nil, "foo.bar", false, false},
		{[]string{"foo"}, []string{"foo.bar"}, "foo.bar", false, false},
		{[]string{"foo"}, []string{"foo.bar"}, "foo.baz", false, true},
		{[]string{"foo", "foo.bar.baz"}, []string{"foo.bar"}, "foo.bar.baz.x", false, true},
		{[]string{"admin.api.load"}, []string{"admin.api"}, "admin.api", true, false},
		{nil, []string{"admin.api"}, "admin.api.load", true, false},
		{nil, []string{"*"}, "foo", false, false},
		{nil, []string{"*"}, "admin", true, true},
		{nil, []string{"*"}, "", true, true},
		{nil, []string{"."}, "", true, false},
		{nil, []string{"."}, "admin", true, true},
		{nil, []string{"."}, "foo", false, true},
	}
	for _, c := range cases {
		s := selection{c.include, c.exclude}
		if got := s.takes(c.name, c.core); got != c.want {
			t.Errorf("include %v exclude %v: %q core=%v passes: %v", c.include, c.exclude, c.name, c.core, got)
		}
	}
}
