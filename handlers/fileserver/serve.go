package fileserver

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"go.uber.org/zap"
)

// serving is one request on its way to a file.
type serving struct {
	h    *handler
	x    *handlers.Exchange
	w    http.ResponseWriter
	r    *http.Request
	next handlers.Next
	fs   fsys.FS
	root string
	hide []fsys.Hidden

	// What was found, so far.
	name  string
	info  fs.FileInfo
	index bool // it is the index file of the directory that was asked for
}

var (
	errTrick  = errors.New("the path is written as a short name, a stream or a drive")
	errNoFS   = errors.New("there is no file system with this name")
	errMethod = errors.New("only GET and HEAD get files")
	errTag    = errors.New("this file is to hold an ETag: printable text, at most 1024 bytes")
)

const loggerName = "http.handlers.file_server"

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	s := &serving{h: h, x: handlers.Of(r), w: w, r: r, next: next}
	if fsys.Trick(r.URL.Path) {
		return handlers.NewError(http.StatusBadRequest, errTrick)
	}
	name := h.fs.of(s.x, "")
	var ok bool
	if s.fs, ok = fsys.Find(s.x.Server, name); !ok {
		s.log().Error("file system not found", zap.String("fs", name))
		return handlers.NewError(http.StatusNotFound, fmt.Errorf("%w: %q", errNoFS, name))
	}
	s.root = h.root.of(s.x, ".")
	s.hide = h.hidden(s.x, s)
	s.name = fsys.Join(s.root, r.URL.Path)
	var err error
	if s.info, err = s.fs.Stat(s.name); err != nil {
		return s.failed(err)
	}
	if s.info.IsDir() {
		s.findIndex()
	}
	switch {
	case s.hides(s.name):
		return s.notFound()
	case s.info.IsDir() && h.browse != nil:
		return s.list()
	case !s.info.Mode().IsRegular():
		return s.notFound() // a directory, or what has no end, such as a pipe
	}
	if to := s.canonical(); to != "" {
		return s.redirect(to)
	}
	return s.serveFile()
}

func (s *serving) log() *zap.Logger { return s.x.Server.Logger(loggerName) }

// hidden returns the rules of what is hidden from a request.
func (h *handler) hidden(x *handlers.Exchange, s *serving) []fsys.Hidden {
	if h.fixedHide != nil {
		return h.fixedHide
	}
	out := make([]fsys.Hidden, 0, len(h.hide))
	for i := range h.hide {
		rule := &h.hide[i]
		if !rule.text.isVar {
			out = append(out, rule.fixed)
			continue
		}
		entry := rule.text.of(x, "")
		if entry == "" {
			s.log().Warn("an entry of hide is empty, and hides nothing", zap.String("hide", rule.text.text.Source()))
			continue
		}
		out = append(out, fsys.Hide(entry, h.wd))
	}
	return out
}

// hides reports whether a name is hidden. A relative one is made absolute.
func (s *serving) hides(name string) bool {
	if len(s.hide) == 0 {
		return false
	}
	abs := fsys.Absolute(name, s.h.wd)
	return slices.ContainsFunc(s.hide, func(h fsys.Hidden) bool { return h.Hides(abs) })
}

// findIndex puts the index file in the place of the directory that was found.
func (s *serving) findIndex() {
	for i := range s.h.index {
		file := s.h.index[i].of(s.x, "")
		if file == "" {
			continue
		}
		name := fsys.Join(s.name, file)
		if s.hides(name) {
			continue
		}
		if info, err := s.fs.Stat(name); err == nil {
			s.name, s.info, s.index = name, info, true
			return
		}
	}
}

// notFound is the answer where there is nothing to serve.
func (s *serving) notFound() error {
	if s.h.passThru {
		return s.next.ServeHTTP(s.w, s.r)
	}
	return handlers.NewError(http.StatusNotFound, nil)
}

// failed is the answer when a name could not be looked up.
func (s *serving) failed(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.notFound()
	case fsys.IsInvalid(err):
		return handlers.NewError(http.StatusBadRequest, err)
	case errors.Is(err, fs.ErrPermission):
		return handlers.NewError(http.StatusForbidden, err)
	}
	return handlers.NewError(http.StatusInternalServerError, err)
}

// open opens a file. A file that is gone is fs.ErrNotExist; any other error is
// the answer.
func (s *serving) open(name string) (fsys.File, fs.FileInfo, error) {
	f, err := s.fs.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fs.ErrNotExist
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, handlers.NewError(http.StatusForbidden, err)
	case err != nil:
		return nil, nil, s.unavailable(err)
	}
	// What was opened may be another file than what was looked up before, and a tag
	// must tell of what is sent.
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, s.unavailable(err)
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, nil, fs.ErrNotExist
	}
	return f, info, nil
}

func (s *serving) unavailable(err error) error {
	s.w.Header()["Retry-After"] = []string{itoa(2 + rand.IntN(3))}
	return handlers.NewError(http.StatusServiceUnavailable, err)
}

// unrewritten reports whether the last element of the path is what the client
// sent.
func (s *serving) unrewritten() bool {
	return path.Base(s.x.Original.URL.Path) == path.Base(s.r.URL.Path)
}

// canonical returns the path that the client should have asked for, "" if it did.
func (s *serving) canonical() string {
	if !s.h.canonical {
		return ""
	}
	sent := s.x.Original.URL.Path
	slash := strings.HasSuffix(sent, "/")
	switch {
	case slash == s.index || !s.unrewritten():
		return ""
	case s.index:
		return sent + "/"
	}
	return strings.TrimRight(sent, "/") // nothing for the root, which is a file then
}

// redirect sends the client to another path of the same site.
func (s *serving) redirect(to string) error {
	location := locationOf(to, s.r.URL.RawQuery)
	h := s.w.Header()
	h["Location"] = []string{location}
	body := ""
	if s.r.Method == http.MethodGet {
		body = `<a href="` + htmlEscape(location) + `">` + http.StatusText(http.StatusPermanentRedirect) + "</a>.\n"
		if len(h["Content-Type"]) == 0 {
			h["Content-Type"] = []string{"text/html; charset=utf-8"}
		}
	}
	h["Content-Length"] = []string{itoa(len(body))}
	s.w.WriteHeader(http.StatusPermanentRedirect)
	if body != "" {
		_, _ = s.w.Write([]byte(body))
	}
	return nil
}

// locationOf makes a path and a query a reference that can only lead to the same
// site. Dots are resolved; what would end the path or be taken for a slash is
// escaped, as is what is not ASCII.
func locationOf(p, query string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	out := escapeBytes(clean, "%?#\\\"<>")
	if query != "" {
		out += "?" + escapeBytes(query, "#\\\"<>")
	}
	return out
}

// escapeBytes percent-encodes the given bytes, controls, and all beyond ASCII.
func escapeBytes(s, special string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c < 0x7f && strings.IndexByte(special, c) < 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

var htmlEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace
