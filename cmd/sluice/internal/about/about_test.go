package about

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/spf13/cobra"
)

func TestVersion(t *testing.T) {
	if got := Version("v1.2.3"); !strings.HasPrefix(got, "v1.2.3") {
		t.Errorf("a version that the linker set is %q", got)
	}
	if got := Version(""); got == "" {
		t.Error("a build without a version prints nothing")
	}
}

// run runs a command of a program with one module, and returns what it prints.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	type config struct {
		A int `json:"a"`
	}
	var out bytes.Buffer
	p := Program{Stdout: &out, Version: "v1", Modules: func() (*module.Table, error) {
		return module.NewTable([]module.Spec{module.New("http.handlers.own", "Is ours.", nil, func(*module.Env, *config) (int, error) { return 0, nil })}, nil)
	}}
	root := &cobra.Command{Use: name, SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(append(p.Tools(), p.Documents()...)...)
	root.SetArgs(args)
	err := root.Execute()
	return out.String(), err
}

func TestCommands(t *testing.T) {
	for _, c := range []struct{ args, want string }{ // want: what is printed, or "!" and an error
		{"version", "v1\n"},
		{"list-modules", "http.handlers.own\n\n  Standard modules: 1\n"},
		{"list-modules --versions --packages", "http.handlers.own v1 github.com/sluiceproxy/sluice/cmd/sluice/internal/about\n\n  Standard modules: 1\n"},
		{"list-modules -s", "  Standard modules: 1\n"},
		{"schema http.handlers.oen", "!unknown module: http.handlers.oen; did you mean http.handlers.own?"},
		{"schema else", "!unknown module: else; `sluice list-modules` lists those that there are"},
		{"upgrade x", `!unknown command "x" for "sluice upgrade"`},
		{"add-package", "!sluice cannot add a package to itself: nobody builds it on demand, and modules of Caddy do not fit; add the Go package to the table in handlers/standard, and build the program"},
		{"remove-package a b", "!sluice cannot remove a, b from itself: nobody builds it on demand; take the Go package out of the table in handlers/standard, and build the program"},
	} {
		got, err := run(t, strings.Fields(c.args)...)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	if got, err := run(t, "schema", "http.handlers.own"); err != nil || !strings.Contains(got, `"a"`) {
		t.Errorf("schema: %s %v", got, err)
	}
	var manual *ManualError
	if _, err := run(t, "manpage"); !errors.As(err, &manual) {
		t.Errorf("manual pages without a directory: %v", err)
	}
}
