package timeouts_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"timeouts /up/* {\n\tread_timeout 10s 1024\n\tmax_write_chunk 16KiB\n}",
			`[{"match":[{"path":["/up/*"]}],"handle":[{"handler":"timeouts","read_timeout":10000000000,"read_min_rate":1024,"max_write_chunk":16384}]}]`},
		{"timeouts {\n\tread_timeout 1m30s\n\twrite_timeout 500ms 2000\n}",
			`[{"handle":[{"handler":"timeouts","read_timeout":90000000000,"write_timeout":500000000,"write_min_rate":2000}]}]`},
		{"timeouts {\n\twrite_timeout 1h\n\twrite_timeout -1s\n}", `[{"handle":[{"handler":"timeouts","write_timeout":-1000000000}]}]`},
		{"timeouts *", `[{"handle":[{"handler":"timeouts"}]}]`},
	} {
		got, err := adapttest.Routes(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"timeouts {\n\tread_idle 1s\n}", "unrecognized timeouts subdirective 'read_idle'"},
		{"timeouts {\n\tread_timeout\n}", "wrong argument count"},
		{"timeouts {\n\tread_timeout 1s 2 3\n}", "wrong argument count"},
		{"timeouts {\n\tread_timeout 1d\n}", "bad duration value '1d'"},
		{"timeouts {\n\twrite_timeout 10\n}", "bad duration value '10'"},
		{"timeouts {\n\twrite_timeout 10s fast\n}", "invalid rate 'fast'"},
		{"timeouts {\n\tmax_write_chunk big\n}", "invalid size 'big'"},
		{"timeouts 5s", "wrong argument count"},
	} {
		if got, err := adapttest.Routes(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
