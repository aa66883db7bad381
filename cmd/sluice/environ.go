package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/environment"
	"github.com/spf13/cobra"
)

func (p *program) environCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "environ", Short: "Print the environment as the server sees it", Args: cobra.NoArgs,
		Long: "Prints the directories that are used, facts about the system, and all environment\nvariables.",
		Example: `  sluice environ
  sluice environ --envfile production.env`,
		RunE: own(func(*cobra.Command, []string) error {
			if err := environment.Load(files); err != nil {
				return err
			}
			p.printEnvironment(environment.These())
			return nil
		}),
	}
	cmd.Flags().StringSliceVar(&files, "envfile", nil, "file with environment variables to set first; may be repeated")
	return cmd
}

func (p *program) printEnvironment(d environment.Directories) {
	wd, err := os.Getwd()
	if err != nil {
		wd = "<error: " + err.Error() + ">"
	}
	lines := [][2]string{
		{name + ".HomeDir", d.Home},
		{name + ".AppDataDir", d.Data},
		{name + ".AppConfigDir", d.Config},
		{name + ".ConfigAutosavePath", d.AutosaveFile()},
		{name + ".Version", versionText()},
		{"runtime.GOOS", runtime.GOOS},
		{"runtime.GOARCH", runtime.GOARCH},
		{"runtime.Compiler", runtime.Compiler},
		{"runtime.NumCPU", fmt.Sprint(runtime.NumCPU())},
		{"runtime.GOMAXPROCS", fmt.Sprint(runtime.GOMAXPROCS(0))},
		{"runtime.Version", runtime.Version()},
		{"os.Getwd", wd},
	}
	for _, l := range lines {
		fmt.Fprintf(p.stdout, "%s=%s\n", l[0], l[1])
	}
	fmt.Fprintln(p.stdout)
	for _, v := range os.Environ() {
		fmt.Fprintln(p.stdout, v)
	}
}
