// Package fileserver serves files and lists directories. It also describes the
// files that may lie beside a file in compressed form, and the app that gives
// names to file systems.
package fileserver

import (
	"os"
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/schema"
)

// Config is the handler file_server. Symbolic links are followed wherever they
// lead; else nothing outside of the root is ever served.
type Config struct {
	// FS is the name of the file system, as registered by the app
	// caddy.filesystems; it may hold placeholders. With an unknown name every
	// request is answered with status 404. Default: the variable fs of the
	// request, else the file system of the machine.
	FS string `json:"fs,omitempty"`
	// Root is the directory that the request path is looked up in; it may hold
	// placeholders, of which empty ones stand for ".". Default: the variable root of
	// the request, else the working directory.
	Root string `json:"root,omitempty"`
	// Hide lists what is treated as if it did not exist; entries may hold
	// placeholders. An entry without a slash is compared with every single part of
	// the path of a file, and may be a glob such as "*.bak". One with a slash is the
	// path of a file or directory, absolute or relative to the working directory,
	// which is hidden with all below it. Either may be a glob for a whole path.
	// Listings of directories are filtered by the names of their items alone.
	Hide []string `json:"hide,omitempty"`
	// IndexNames are the files that are served for a directory: the first one that
	// exists. They may hold placeholders. An empty list means none. Default:
	// index.html, index.txt.
	IndexNames []string `json:"index_names,omitempty"`
	// Browse lists directories that have no index file. Default: they are answered
	// with status 404.
	Browse *Browse `json:"browse,omitempty"`
	// CanonicalURIs redirects the path of a directory to the one with a slash at its
	// end, and that of a file to the one without. Default: true.
	CanonicalURIs *bool `json:"canonical_uris,omitempty"`
	// StatusCode replaces the status of a response with a file, 100 to 999, be it 304
	// or 206; it may hold placeholders. Default: in an error route the status of the
	// error.
	StatusCode module.WeakString `json:"status_code,omitempty"`
	// PassThru runs the next handler when there is no file to serve. Default: the
	// answer is status 404.
	PassThru bool `json:"pass_thru,omitempty"`
	// Precompressed are the encodings in which files may lie beside the files
	// themselves, to be served to clients that accept them: a.js.gz beside a.js. The
	// keys are br, gzip and zstd. Default: none.
	Precompressed map[string]module.Ref[Sidecar] `json:"precompressed,omitempty" module:"http.precompressed" keyed:"true"`
	// PrecompressedOrder is which encoding is taken first among those that the client
	// likes as much. Default: the client's order.
	PrecompressedOrder []string `json:"precompressed_order,omitempty"`
	// EtagFileExtensions are what is appended to the name of a file to find the one
	// that holds its ETag, quotes included; the first that exists is taken. Default:
	// none; tags are made of the time and the size of files.
	EtagFileExtensions []string `json:"etag_file_extensions,omitempty"`
}

// Specs describes the handler, the precompressed modules and the app
// caddy.filesystems.
func Specs() []module.Spec {
	return append(sidecarSpecs(), filesystemsSpec(), module.New("http.handlers.file_server", "Serves files.", nil, compile,
		module.Examples(
			module.Example{Title: "Serve a folder", JSON: `{"handler": "file_server", "root": "/srv/www", "hide": [".git"]}`},
			module.Example{Title: "List directories, newest first", JSON: `{"handler": "file_server", "root": "/srv/files", "browse": {"sort": ["time", "desc"]}}`},
			module.Example{Title: "Serve compressed files", JSON: `{"handler": "file_server", "precompressed": {"br": {}, "zstd": {}, "gzip": {}}, "precompressed_order": ["br", "zstd", "gzip"]}`},
			module.Example{Title: "A page for errors", JSON: `{"handler": "file_server", "root": "/srv/errors/{http.error.status_code}", "pass_thru": true}`},
		), directives()))
}

type handler struct {
	fs, root   text
	hide       []hideRule
	fixedHide  []fsys.Hidden // what hide comes to, if that is known
	wd         string
	index      []text
	browse     *browse // nil: off
	canonical  bool
	passThru   bool
	status     status
	sidecars   []sidecar
	etagSuffix []string
}

// text is a text that may hold placeholders.
type text struct {
	text  vars.Text
	fixed string
	isVar bool
}

func (t *text) of(x *handlers.Exchange, empty string) string {
	if !t.isVar {
		return t.fixed
	}
	return t.text.Expand(x, vars.All, empty)
}

// hideRule is an entry of hide that has placeholders, or what it comes to.
type hideRule struct {
	text  text
	fixed fsys.Hidden
}

// compiler collects the problems of a config.
type compiler struct {
	env      *module.Env
	problems schema.Problems
}

func (c *compiler) problem(pointer, message string) {
	c.problems = append(c.problems, schema.Problem{Pointer: pointer, Message: message})
}

func (c *compiler) text(pointer, s string) text {
	t := text{text: vars.Parse(s)}
	if err := t.text.Err(); err != nil {
		c.problem(pointer, err.Error())
	}
	fixed, ok := t.text.Literal()
	t.fixed, t.isVar = fixed, !ok
	return t
}

func (c *compiler) texts(pointer string, list []string) []text {
	var out []text
	for i, s := range list {
		out = append(out, c.text(config.JoinPointer(pointer, itoa(i)), s))
	}
	return out
}

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	c := &compiler{env: env}
	h := &handler{
		fs:         c.text("/fs", or(cfg.FS, "{http.vars.fs}")),
		root:       c.text("/root", or(cfg.Root, "{http.vars.root}")),
		canonical:  cfg.CanonicalURIs == nil || *cfg.CanonicalURIs,
		passThru:   cfg.PassThru,
		etagSuffix: cfg.EtagFileExtensions,
	}
	if wd, err := os.Getwd(); err == nil {
		h.wd = wd // else names stay relative, and are compared as such
	}
	h.status = c.status("/status_code", string(cfg.StatusCode))
	names := cfg.IndexNames
	if names == nil {
		names = []string{"index.html", "index.txt"}
	}
	h.index = c.texts("/index_names", names)
	c.hide(h, cfg.Hide)
	c.sidecars(h, cfg)
	if cfg.Browse != nil {
		h.browse = c.browse(cfg.Browse)
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return h, nil
}

func (c *compiler) hide(h *handler, entries []string) {
	for i, t := range c.texts("/hide", entries) {
		rule := hideRule{text: t}
		if !t.isVar {
			rule.fixed = fsys.Hide(t.fixed, h.wd)
			h.fixedHide = append(h.fixedHide, rule.fixed)
			pointer := config.JoinPointer("/hide", itoa(i))
			if t.fixed == "" {
				c.env.Warn(pointer, "an empty entry hides nothing")
			} else if rule.fixed.Err() != nil {
				c.env.Warn(pointer, "this is not a well-formed glob, so it hides only what is called exactly so")
			}
		}
		h.hide = append(h.hide, rule)
	}
	if slices.ContainsFunc(h.hide, func(r hideRule) bool { return r.text.isVar }) {
		h.fixedHide = nil
	} else if h.fixedHide == nil {
		h.fixedHide = []fsys.Hidden{}
	}
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
