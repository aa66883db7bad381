package environment

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
)

// Command is the command environ of a version of the program.
func Command(stdout io.Writer, version string) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "environ", Short: "Print the environment as the server sees it", Args: cobra.NoArgs,
		Long: "Prints the directories that are used, facts about the system, and all environment\nvariables.",
		Example: `  sluice environ
  sluice environ --envfile production.env`,
		RunE: func(*cobra.Command, []string) error {
			if err := Load(files); err != nil {
				return err
			}
			These().Print(stdout, version)
			return nil
		},
	}
	FilesFlag(cmd, &files)
	return cmd
}

// FilesFlag adds the flag for files with variables.
func FilesFlag(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringSliceVar(to, "envfile", nil, "file with environment variables to set first; may be repeated")
}

// Print prints the directories, what else the process finds around it, and all
// variables.
func (d Directories) Print(to io.Writer, version string) {
	wd, err := os.Getwd()
	if err != nil {
		wd = "<error: " + err.Error() + ">"
	}
	for _, l := range [][2]string{
		{name + ".HomeDir", d.Home},
		{name + ".AppDataDir", d.Data},
		{name + ".AppConfigDir", d.Config},
		{name + ".ConfigAutosavePath", d.AutosaveFile()},
		{name + ".Version", version},
		{"runtime.GOOS", runtime.GOOS},
		{"runtime.GOARCH", runtime.GOARCH},
		{"runtime.Compiler", runtime.Compiler},
		{"runtime.NumCPU", fmt.Sprint(runtime.NumCPU())},
		{"runtime.GOMAXPROCS", fmt.Sprint(runtime.GOMAXPROCS(0))},
		{"runtime.Version", runtime.Version()},
		{"os.Getwd", wd},
	} {
		fmt.Fprintf(to, "%s=%s\n", l[0], l[1])
	}
	fmt.Fprintln(to)
	for _, v := range os.Environ() {
		fmt.Fprintln(to, v)
	}
}
