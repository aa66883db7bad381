// Package filematch matches requests by what lies in a directory: the first, the
// largest or the newest of several files. It also has the directive that rewrites
// to such a file.
package filematch

import (
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
)

// Config is the matcher file: it matches if one of its files exists. Then
// {http.matchers.file.relative} is the path of that file from the root,
// {http.matchers.file.absolute} the path with the root, {http.matchers.file.type}
// is file or directory, and {http.matchers.file.remainder} is what split_path cut
// off.
type Config struct {
	// FS is the name of the file system, as registered by the app
	// caddy.filesystems; it may hold placeholders. An unknown name matches nothing.
	// Default: the variable fs of the request, else the file system of the machine.
	FS string `json:"fs,omitempty"`
	// Root is the directory that files are looked up in; it may hold placeholders, of
	// which empty ones stand for ".". Default: the variable root of the request, else
	// the working directory.
	Root string `json:"root,omitempty"`
	// TryFiles are the paths to try, below the root; they may hold placeholders and
	// globs. One that ends in a slash is a directory. With a policy that takes the
	// first, =404 or another status ends the chain with that error. An empty list
	// matches nothing. Default: the path of the request.
	TryFiles []string `json:"try_files,omitempty"`
	// TryPolicy is which file is taken. With first_exist it is the first one that
	// exists; with first_exist_fallback the last entry may be a directory as well.
	// The others look at all files: smallest_size, largest_size,
	// most_recently_modified. Default: first_exist.
	TryPolicy string `json:"try_policy,omitempty" check:"enum=|first_exist|first_exist_fallback|smallest_size|largest_size|most_recently_modified"`
	// SplitPath are texts, such as .php, after which a path may go on in a file: what
	// follows the first of them is cut off and becomes the remainder. Upper and lower
	// case are the same.
	SplitPath []string `json:"split_path,omitempty"`
}

// Spec describes the matcher and the directive try_files.
func Spec() module.Spec {
	return module.New("http.matchers.file", "Matches if a file exists.", nil, compile,
		module.Words(words), directives(),
		module.Examples(
			module.Example{Title: "The file of the path exists", JSON: `{}`},
			module.Example{Title: "A file, its page, or an error", JSON: `{"root": "/srv", "try_files": ["{http.request.uri.path}", "{http.request.uri.path}.html", "=404"]}`},
			module.Example{Title: "The newest of several", JSON: `{"root": "/srv", "try_files": ["/news/*.html"], "try_policy": "most_recently_modified"}`},
		))
}

// Names of the policies.
const (
	firstExist         = "first_exist"
	firstExistFallback = "first_exist_fallback"
	smallestSize       = "smallest_size"
	largestSize        = "largest_size"
	mostRecent         = "most_recently_modified"
)

var policies = []string{firstExist, firstExistFallback, smallestSize, largestSize, mostRecent}

type matcher struct {
	fs, root vars.Text
	tries    []try
	policy   string
	split    []string
}

// try is one entry of try_files.
type try struct {
	text  vars.Text
	dir   bool // the text ends in a slash
	glob  bool // the text has globs of its own
	error int  // the status that it stands for, 0 if it is a file
}

func compile(env *module.Env, cfg *Config) (handlers.Matcher, error) {
	var problems schema.Problems
	text := func(pointer, s string) vars.Text {
		t := vars.Parse(s)
		if err := t.Err(); err != nil {
			problems = append(problems, schema.Problem{Pointer: pointer, Message: err.Error()})
		}
		return t
	}
	m := &matcher{policy: cfg.TryPolicy, split: cfg.SplitPath}
	m.fs = text("/fs", or(cfg.FS, "{http.vars.fs}"))
	m.root = text("/root", or(cfg.Root, "{http.vars.root}"))
	if m.policy == "" {
		m.policy = firstExist
	}
	list := cfg.TryFiles
	if list == nil {
		list = []string{"{http.request.uri.path}"}
	} else if len(list) == 0 {
		env.Warn("/try_files", "an empty list matches nothing")
	}
	for i, s := range list {
		t := try{text: text(config.JoinPointer("/try_files", strconv.Itoa(i)), s), dir: strings.HasSuffix(s, "/")}
		// What a placeholder stands for is never a glob, but the backslash that
		// escapes a brace is none either.
		plain := t.text.Expand(none, vars.All, "")
		t.glob = fsys.HasGlob(plain)
		if m.takesFirst() {
			t.error = errorOf(s)
		}
		m.tries = append(m.tries, t)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return m, nil
}

var none = vars.Map{}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func (m *matcher) takesFirst() bool { return m.policy == firstExist || m.policy == firstExistFallback }

// errorOf reads "=404".
func errorOf(entry string) int {
	digits, ok := strings.CutPrefix(entry, "=")
	if !ok || len(digits) != 3 {
		return 0
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 100 || n > 999 {
		return 0
	}
	return n
}

// Match implements handlers.Matcher.
func (m *matcher) Match(r *http.Request) (bool, error) {
	x := handlers.Of(r)
	name := m.fs.Expand(x, vars.All, "")
	files, ok := fsys.Find(x.Server, name)
	if !ok {
		x.Server.Logger("http.matchers.file").Error("file system not found", zap.String("fs", name))
		return false, nil
	}
	s := search{m: m, x: x, fs: files, root: filepath.Clean(m.root.Expand(x, vars.All, "."))}
	found, err := s.run()
	if err != nil || !found {
		return false, err
	}
	x.Set("http.matchers.file.relative", filepath.ToSlash(relative(s.best.name, s.root)))
	x.Set("http.matchers.file.absolute", filepath.ToSlash(s.best.name))
	x.Set("http.matchers.file.remainder", filepath.ToSlash(s.best.remainder))
	kind := "file"
	if s.isDir {
		kind = "directory"
	}
	x.Set("http.matchers.file.type", kind)
	return true, nil
}

// relative is a name without its root. From the working directory it has no
// slash in front.
func relative(name, root string) string {
	if root == "." {
		if rest, ok := strings.CutPrefix(name, "."); ok && (rest == "" || rest[0] == filepath.Separator) {
			return rest
		}
		return name
	}
	return strings.TrimPrefix(name, root)
}

// statusError is what an entry such as =404 ends the chain with.
func statusError(status int) error {
	e := handlers.NewError(status, errors.New(strconv.Itoa(status)))
	e.Final = true
	return e
}
