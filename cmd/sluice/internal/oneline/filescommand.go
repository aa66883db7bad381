package oneline

import (
	"fmt"
	"io"

	"github.com/sluiceproxy/sluice/handlers/fileserver"
	"github.com/spf13/cobra"
)

func (p Program) filesCommand() *cobra.Command {
	var o Files
	cmd := &cobra.Command{
		Use: "file-server", Short: "Start a server for files", Args: cobra.NoArgs,
		Long: `Starts a server for the files of a directory.

With --domain the site has a name and is served over HTTPS, at port 443 unless
--listen says otherwise. The certificate comes from a public authority, for
localhost and other internal names from one of this machine; requests that come
over HTTP are redirected, for which port 80 is opened as well. Without --domain it
is plain HTTP, at port 80.

Responses are compressed, unless --no-compress says otherwise. Where compressed
files lie beside the files, as a.js.br beside a.js, --precompressed serves those.

There is no admin endpoint, and nothing is kept but certificates.`,
		Example: `  sluice file-server --listen :8080
  sluice file-server --root /srv/www --browse --access-log
  sluice file-server --domain example.com --root /srv/www --precompressed br,gzip
  sluice file-server --listen :8080 --root /srv/www --templates --no-compress
  sluice file-server export-template > listing.html`,
		RunE: func(*cobra.Command, []string) error { return p.files(&o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.Domain, "domain", "d", "", "name of the site, which is then served over HTTPS")
	f.StringVarP(&o.Root, "root", "r", "", "directory with the files (default: the working directory)")
	f.StringVarP(&o.Listen, "listen", "l", "", "address to listen on (default: :443 with --domain, else :80)")
	f.BoolVarP(&o.Browse, "browse", "b", false, "list directories that have no index file")
	f.BoolVar(&o.RevealSymlinks, "reveal-symlinks", false, "show in listings where symbolic links lead")
	f.BoolVarP(&o.Templates, "templates", "t", false, "execute texts as templates")
	f.BoolVarP(&o.AccessLog, "access-log", "a", false, accessLogUsage)
	f.IntVarP(&o.FileLimit, "file-limit", "f", 10000, "how many items of a directory are listed; a negative number for all")
	f.BoolVar(&o.NoCompress, "no-compress", false, "do not compress responses")
	f.StringSliceVarP(&o.Precompressed, "precompressed", "p", nil, "encodings of compressed files beside the files: br, zstd, gzip, the best one first; may be repeated")
	debugFlag(cmd, &o.Debug)
	_ = cmd.MarkFlagDirname("root")
	_ = cmd.RegisterFlagCompletionFunc("precompressed", cobra.FixedCompletions([]string{"br", "zstd", "gzip"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(p.exportTemplateCommand())
	return cmd
}

func (p Program) files(o *Files) error {
	table, err := p.Modules()
	if err != nil {
		return err
	}
	doc, listen, err := o.Document(table.IDs())
	if err != nil {
		return err
	}
	return p.Run(doc, func(s Running) error {
		log := s.Logger()
		tell(log, o.Notes())
		log.Info(name + " serving static files on " + listen)
		return nil
	})
}

func (p Program) exportTemplateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export-template", Short: "Print the page that lists directories", Args: cobra.NoArgs,
		Long: `Prints the page that lists directories, as a template to begin with. The setting
"template_file" of "browse" in the handler file_server names the changed one.`,
		Example: "  sluice file-server export-template > listing.html",
		RunE: func(*cobra.Command, []string) error {
			if _, err := io.WriteString(p.Stdout, fileserver.Template()); err != nil {
				return fmt.Errorf("printing the template: %w", err)
			}
			return nil
		},
	}
}
