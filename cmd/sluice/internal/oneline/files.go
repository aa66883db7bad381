package oneline

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Files is the flags of the command `file-server`: one site of files.
type Files struct {
	// Domain is the name of the site, which is then served over HTTPS; without it
	// all names are, over HTTP.
	Domain string
	Root   string
	// Listen is an address; by default port 443 with a Domain, else 80.
	Listen         string
	Browse         bool
	RevealSymlinks bool
	Templates      bool
	AccessLog      bool
	Debug          bool
	// FileLimit is how many items of a directory are listed, a negative number for
	// all.
	FileLimit  int
	NoCompress bool
	// Precompressed are encodings, the best one first.
	Precompressed []string
}

// precompressedNamespace is that of the modules which --precompressed names.
const precompressedNamespace = "http.precompressed."

// Document makes the document, and says where it is to be served. The IDs are
// those of all modules.
func (f *Files) Document(ids []string) (doc *config.Node, listen string, err error) {
	if net.ParseIP(f.Domain) == nil && strings.ContainsAny(f.Domain, "/:, ") {
		return nil, "", fmt.Errorf("--domain %s is no name: leave out scheme and path, and give the port with --listen", f.Domain)
	}
	listen = f.Listen
	switch {
	case listen != "":
	case f.Domain != "":
		listen = ":443"
	default:
		listen = ":80"
	}
	a, err := netaddr.Parse(listen)
	if err != nil {
		return nil, "", fmt.Errorf("parsing the listen address: %w", err)
	}
	handlers, err := f.handlers(ids)
	if err != nil {
		return nil, "", err
	}
	server := shortServer(a.String(), routeTo(f.Domain, handlers...), f.AccessLog)
	if f.Domain == "" {
		server["automatic_https"] = object{"disable": true}
	}
	doc, err = document(servers(object{"static": server}), f.Debug)
	return doc, listen, err
}

func (f *Files) handlers(ids []string) ([]any, error) {
	var list []any
	if !f.NoCompress {
		list = append(list, object{"handler": "encode", "encodings": object{"zstd": object{}, "gzip": object{}}, "prefer": []any{"zstd", "gzip"}})
	}
	if f.Templates {
		templates := object{"handler": "templates"}
		if f.Root != "" {
			templates["file_root"] = f.Root
		}
		list = append(list, templates)
	}
	files := object{"handler": "file_server"}
	if f.Root != "" {
		files["root"] = f.Root
	}
	if f.Browse {
		browse := object{"file_limit": f.FileLimit}
		if f.RevealSymlinks {
			browse["reveal_symlinks"] = true
		}
		files["browse"] = browse
	}
	kinds, order := object{}, []any{}
	for _, name := range f.Precompressed {
		if !slices.Contains(ids, precompressedNamespace+name) {
			return nil, unknownEncoding(name, ids)
		}
		if kinds[name] == nil {
			kinds[name], order = object{}, append(order, name)
		}
	}
	if len(order) > 0 {
		files["precompressed"], files["precompressed_order"] = kinds, order
	}
	return append(list, files), nil
}

func unknownEncoding(name string, ids []string) error {
	var known []string
	for _, id := range ids {
		if short, ok := strings.CutPrefix(id, precompressedNamespace); ok {
			known = append(known, short)
		}
	}
	slices.Sort(known)
	return fmt.Errorf("getting module named '%s%s': module not registered: %[1]s%[2]s; --precompressed takes %[3]s", precompressedNamespace, name, strings.Join(known, ", "))
}

// Notes say what of the flags has no effect.
func (f *Files) Notes() []string {
	if !f.Browse && f.RevealSymlinks {
		return []string{"--reveal-symlinks has no effect without --browse"}
	}
	return nil
}
