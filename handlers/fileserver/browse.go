package fileserver

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/templates/engine"
	"go.uber.org/zap"
)

// Browse is the listings of directories: as HTML, or as JSON or plain text for
// clients that accept those. The query of a request may have sort (as below),
// order (asc or desc), offset, limit and layout (list or grid).
type Browse struct {
	// TemplateFile is a file with a Go text template for the page, which has the
	// functions of the handler templates. It is read at each request; if it cannot
	// be, the answer is status 500. What it inserts is not escaped unless it says so,
	// as with {{html .Name}}. Default: a page of our own.
	TemplateFile string `json:"template_file,omitempty"`
	// RevealSymlinks shows where symbolic links lead.
	RevealSymlinks bool `json:"reveal_symlinks,omitempty"`
	// Sort is how items are sorted unless the request says otherwise: name,
	// namedirfirst, size or time, and then asc or desc. Default: namedirfirst, asc, or
	// what the client chose before.
	Sort []string `json:"sort,omitempty"`
	// FileLimit is how many items of a directory are read at most. A negative number
	// means no limit. Default: 10000.
	FileLimit int `json:"file_limit,omitempty"`
}

// browse is a Browse ready to be used.
type browse struct {
	template    string
	reveal      bool
	sort, order string
	limit       int
	engine      func() *engine.Engine // executes the template; made at its first use
}

const (
	byName          = "name"
	byNameDirsFirst = "namedirfirst"
	bySize          = "size"
	byTime          = "time"
	ascending       = "asc"
	descending      = "desc"

	defaultFileLimit = 10000
)

func isSort(s string) bool {
	return s == byName || s == byNameDirsFirst || s == bySize || s == byTime
}
func isOrder(s string) bool { return s == ascending || s == descending }

func (c *compiler) browse(cfg *Browse) *browse {
	b := &browse{
		template: cfg.TemplateFile, reveal: cfg.RevealSymlinks, limit: cfg.FileLimit,
		engine: sync.OnceValue(func() *engine.Engine { return engine.New(engine.Options{}) }),
	}
	if b.limit == 0 {
		b.limit = defaultFileLimit
	}
	for i, s := range cfg.Sort {
		pointer := config.JoinPointer("/browse/sort", itoa(i))
		switch {
		case i == 0 && isSort(s):
			b.sort = s
		case i == 1 && isOrder(s):
			b.order = s
		case i == 0:
			c.problem(pointer, fmt.Sprintf("%q is not a way to sort; the first entry is one of name, namedirfirst, size, time", s))
		case i == 1:
			c.problem(pointer, fmt.Sprintf("%q is not an order; the second entry is asc or desc", s))
		default:
			c.problem(pointer, "there are at most two entries: how to sort, and asc or desc")
		}
	}
	return b
}

// list answers with what is in the directory that was found.
func (s *serving) list() error {
	if sent := s.x.Original.URL.Path; (s.r.URL.Path == "" || s.unrewritten()) && !strings.HasSuffix(sent, "/") {
		return s.redirect(sent + "/")
	}
	l, modified, err := s.readListing()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return s.notFound()
		}
		return s.failed(err)
	}
	h := s.w.Header()
	h.Add("Vary", "Accept, Accept-Encoding")
	if since, err := http.ParseTime(s.r.Header.Get("If-Modified-Since")); err == nil && !modified.Truncate(time.Second).After(since) {
		s.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	s.arrange(l)
	body := bodies.Get().(*bytes.Buffer)
	defer giveBack(body)
	kind, err := s.render(l, body)
	if err != nil {
		return err
	}
	h["Last-Modified"] = []string{modified.UTC().Format(http.TimeFormat)}
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{itoa(body.Len())}
	s.w.WriteHeader(http.StatusOK)
	_, _ = s.w.Write(body.Bytes())
	return nil
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// giveBack keeps buffers that are not large.
func giveBack(b *bytes.Buffer) {
	if b.Cap() <= 1<<20 {
		b.Reset()
		bodies.Put(b)
	}
}

// readListing reads the directory, and tells when it or any of its items changed
// last.
func (s *serving) readListing() (*Listing, time.Time, error) {
	dir, err := s.fs.Open(s.name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	limit := s.h.browse.limit
	if limit < 0 {
		limit = -1
	}
	entries, err := dir.ReadDir(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, time.Time{}, err
	}
	urlPath := path.Clean("/" + s.r.URL.EscapedPath())
	l := &Listing{Name: path.Base(urlPath), Path: urlPath, CanGoUp: len(urlPath) > 1, Items: make([]Item, 0, len(entries))}
	modified := info.ModTime()
	for _, e := range entries {
		if s.hides(e.Name()) {
			continue
		}
		item, err := s.item(e)
		if err != nil {
			s.log().Error("cannot read the info of an item of a directory", zap.String("directory", s.name), zap.String("name", e.Name()), zap.Error(err))
			continue
		}
		if item.ModTime.After(modified) {
			modified = item.ModTime
		}
		item.Tpl = l
		l.add(item)
	}
	return l, modified, nil
}

// item describes an entry of the directory.
func (s *serving) item(e fs.DirEntry) (Item, error) {
	info, err := e.Info()
	if err != nil {
		return Item{}, err
	}
	it := Item{
		Name: e.Name(), Size: info.Size(), Mode: info.Mode(), ModTime: info.ModTime().UTC(),
		IsDir: info.IsDir(), IsSymlink: info.Mode()&fs.ModeSymlink != 0, ownSize: info.Size(),
	}
	if it.IsSymlink {
		name := filepath.Join(s.name, it.Name)
		if target, err := s.fs.Stat(name); err == nil {
			it.IsDir, it.Size = target.IsDir(), target.Size()
		}
		if s.h.browse.reveal {
			it.SymlinkPath, _ = s.fs.ReadLink(name)
		}
	}
	if it.IsDir {
		it.Name += "/"
	}
	it.URL = itemURL(it.Name)
	return it, nil
}

// arrange sorts and cuts the items as the request wants.
func (s *serving) arrange(l *Listing) {
	q := s.r.URL.Query()
	l.Sort = s.choice("sort", q.Get("sort"), s.h.browse.sort, byNameDirsFirst, isSort)
	l.Order = s.choice("order", q.Get("order"), s.h.browse.order, ascending, isOrder)
	l.sort()
	if n, err := strconv.Atoi(q.Get("offset")); err == nil && n > 0 && n <= len(l.Items) {
		l.Items, l.Offset = l.Items[n:], n
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n <= len(l.Items) {
		l.Items, l.Limit = l.Items[:n], n
	}
	if l.Layout = q.Get("layout"); l.Layout != "" && l.Layout != "grid" {
		l.Layout = "list"
	}
}

// choice is what the request, the config or the client's memory says, in that
// order. The former two are what the client is told to remember.
func (s *serving) choice(name, asked, configured, otherwise string, valid func(string) bool) string {
	v := or(asked, configured)
	if v == "" {
		if c, err := s.r.Cookie(name); err == nil {
			return c.Value
		}
		return otherwise
	}
	if valid(v) {
		http.SetCookie(s.w, &http.Cookie{Name: name, Value: v, Secure: s.r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	return v
}

// sortKey is what an item is compared by.
type sortKey struct {
	text   string
	number int64
	item   Item
}

// sort sorts the items; an unknown way leaves them as the directory has them.
func (l *Listing) sort() {
	if isSort(l.Sort) {
		keys := make([]sortKey, len(l.Items))
		for i, it := range l.Items {
			k := &keys[i]
			k.item, k.text = it, strings.ToLower(it.Name)
			switch {
			case l.Sort == byNameDirsFirst && !it.IsDir:
				k.number = 1
			case l.Sort == bySize && it.IsDir:
				k.number = math.MinInt64
			case l.Sort == bySize:
				k.number = it.Size
			case l.Sort == byTime:
				k.number = it.ModTime.UnixNano()
			}
		}
		slices.SortStableFunc(keys, func(a, b sortKey) int {
			if a.number != b.number {
				return cmp.Compare(a.number, b.number)
			}
			return strings.Compare(a.text, b.text)
		})
		for i := range keys {
			l.Items[i] = keys[i].item
		}
	}
	if l.Order == descending {
		slices.Reverse(l.Items)
	}
}
