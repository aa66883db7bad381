package fileserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/fsys"
)

func directives() module.Option {
	return module.Directives(module.Directive{Name: "file_server", Read: readDirective})
}

// reading is a handler while the directive that makes it is read.
type reading struct {
	Config
	u *module.Use
}

// readDirective: file_server [<matcher>] [browse] { ... }
func readDirective(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	r := &reading{u: u}
	switch args := d.RemainingArgTokens(); {
	case len(args) > 1 || len(args) == 1 && args[0].Text != "browse":
		return nil, d.ArgErr()
	case len(args) == 1:
		r.Browse = &Browse{}
	}
	if err := lines.Parse(d, r); err != nil {
		return nil, err
	}
	r.hideFiles(u.Files())
	return u.One(m, "file_server", &r.Config)
}

var lines = caddyfile.Options[reading]{
	Unknown: "unknown subdirective '%s'",
	Lines: []caddyfile.Option[reading]{
		{Name: "fs", Args: caddyfile.Exactly(1), Once: "file system already specified", Set: caddyfile.String(func(r *reading) *string { return &r.FS })},
		{Name: "root", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(r *reading) *string { return &r.Root })},
		{Name: "hide", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *reading) *[]string { return &r.Hide })},
		{Name: "index", Args: caddyfile.AtLeast(1), Set: func(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			r.IndexNames = nil
			return caddyfile.Strings(func(r *reading) *[]string { return &r.IndexNames })(r, d, args)
		}},
		{Name: "browse", Args: caddyfile.Between(0, 1), Block: true, Set: readBrowse},
		{Name: "precompressed", Args: caddyfile.AtLeast(0), Set: readPrecompressed},
		{Name: "status", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(r *reading) *module.WeakString { return &r.StatusCode })},
		{Name: "disable_canonical_uris", Args: caddyfile.None, Set: func(r *reading, _ *caddyfile.Dispenser, _ []caddyfile.Token) error {
			r.CanonicalURIs = new(bool)
			return nil
		}},
		{Name: "pass_thru", Args: caddyfile.None, Set: caddyfile.Flag(func(r *reading) *bool { return &r.PassThru })},
		{Name: "etag_file_extensions", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *reading) *[]string { return &r.EtagFileExtensions })},
	},
}

func readBrowse(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if r.Browse != nil {
		return errors.New("browsing is already configured")
	}
	r.Browse = &Browse{}
	if len(args) > 0 {
		r.Browse.TemplateFile = args[0].Text
	}
	return browseLines.Parse(d, r.Browse)
}

var browseLines = caddyfile.Options[Browse]{
	Unknown: "unknown subdirective '%s'",
	Lines: []caddyfile.Option[Browse]{
		{Name: "reveal_symlinks", Args: caddyfile.None, Set: caddyfile.Flag(func(b *Browse) *bool { return &b.RevealSymlinks })},
		{Name: "sort", Args: caddyfile.AtLeast(0), Set: func(b *Browse, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			for _, a := range args {
				if !isSort(a.Text) && !isOrder(a.Text) {
					return a.Errf("unknown sort option '%s'", caddyfile.Shorten(a.Text)).
						Suggest(a.Text, []string{byName, byNameDirsFirst, bySize, byTime, ascending, descending})
				}
				b.Sort = append(b.Sort, a.Text)
			}
			return nil
		}},
		{Name: "file_limit", Args: caddyfile.AtLeast(0), Set: func(b *Browse, d *caddyfile.Dispenser, args []caddyfile.Token) error {
			if len(args) != 1 {
				return errors.New("file_limit should have an integer value")
			}
			n, err := strconv.Atoi(args[0].Text)
			if err != nil {
				d.Warnf("file_limit '%s' is not a number, so the limit is the default of %d", caddyfile.Shorten(args[0].Text), defaultFileLimit)
				n = 0
			}
			b.FileLimit = n
			return nil
		}},
	},
}

func readPrecompressed(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	names := make([]string, 0, 3)
	for _, a := range args {
		names = append(names, a.Text)
	}
	if len(names) == 0 {
		names = []string{"br", "zstd", "gzip"}
	}
	if r.Precompressed == nil {
		r.Precompressed = map[string]module.Ref[Sidecar]{}
	}
	for i, name := range names {
		if _, ok := r.u.Table().Spec("http.precompressed." + name); !ok {
			return args[i].Errf("getting module named 'http.precompressed.%s': module not registered: http.precompressed.%[1]s", caddyfile.Shorten(name)).
				Suggest(name, []string{"br", "zstd", "gzip"})
		}
		if _, twice := r.Precompressed[name]; twice {
			return fmt.Errorf("precompressed format '%s' is already specified", name)
		}
		r.Precompressed[name] = module.RefTo[Sidecar](config.NewObject(nil))
		r.PrecompressedOrder = append(r.PrecompressedOrder, name)
	}
	return nil
}

// hideFiles hides the files of the config itself, except those that are hidden
// by what was written.
func (r *reading) hideFiles(files []string) {
	written := len(r.Hide)
	wd, err := os.Getwd()
	if err != nil {
		wd = "" // then names are compared as they are
	}
next:
	for _, file := range files {
		if file == "" {
			continue
		}
		name := filepath.Clean(file)
		if !strings.ContainsRune(name, filepath.Separator) {
			name = "." + string(filepath.Separator) + name
		}
		abs := fsys.Absolute(name, wd)
		for _, pattern := range r.Hide[:written] {
			if fsys.Hide(pattern, wd).Hides(abs) {
				continue next
			}
		}
		r.Hide = append(r.Hide, name)
	}
}
