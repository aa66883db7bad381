package fileserver

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/handlers/templates/engine"
)

//go:embed page.html
var pageSource string

// page is the built-in page. It escapes whatever it inserts for where it stands.
var page = template.Must(template.New("page").Parse(pageSource))

// Template is the source of the built-in page, as a template_file to begin with. That
// is a text template, so it names the escaping itself; and it has no nonces, since
// such a page is sent without a policy for its content.
func Template() string {
	return strings.ReplaceAll(pageSource, ` nonce="{{.Nonce}}"`, "")
}

// pageData is what the built-in page shows.
type pageData struct {
	*Listing
	Nonce string
}

// maxTemplate is how large the file of a template may be.
const maxTemplate = 4 << 20

// render writes the listing as the client likes it, and returns its type.
func (s *serving) render(l *Listing, out *bytes.Buffer) (kind string, err error) {
	switch accept := strings.ToLower(strings.Join(s.r.Header["Accept"], ",")); {
	case strings.Contains(accept, "application/json"):
		text, err := l.json()
		if err != nil {
			return "", fmt.Errorf("writing the listing of %s: %w", s.name, err)
		}
		out.Write(text)
		return "application/json; charset=utf-8", nil
	case strings.Contains(accept, "text/plain"):
		out.WriteString(l.text())
		return "text/plain; charset=utf-8", nil
	}
	const html = "text/html; charset=utf-8"
	if s.h.browse.template != "" {
		return html, s.renderOwn(l, out)
	}
	nonce := rand.Text()
	if err := page.Execute(out, pageData{l, nonce}); err != nil {
		return "", fmt.Errorf("writing the listing of %s: %w", s.name, err)
	}
	s.w.Header()["Content-Security-Policy"] = []string{
		"default-src 'none'; img-src 'self'; style-src 'nonce-" + nonce + "'; script-src 'nonce-" + nonce + "'; base-uri 'none'; form-action 'none'"}
	return html, nil
}

// renderOwn writes the page of template_file.
func (s *serving) renderOwn(l *Listing, out io.Writer) error {
	name := s.h.browse.template
	source, err := readTemplate(name)
	if err != nil {
		return fmt.Errorf("reading the template for listings: %w", err)
	}
	l.Context = engine.NewContext(s.w, s.r, s.root, loggerName)
	if err := s.h.browse.engine().Execute(out, name, source, l.Context, l); err != nil {
		return fmt.Errorf("executing the template for listings: %w", err)
	}
	return nil
}

func readTemplate(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	if err == nil && len(source) > maxTemplate {
		err = fmt.Errorf("%s has more than %d bytes", name, maxTemplate)
	}
	return string(source), err
}

// SortLink leads to the same listing sorted in another way: by a column, and the
// other way round if it is by that already. Limit and offset stay.
func (l *Listing) SortLink(by string) string {
	order := ascending
	if (l.Sort == by || by == byName && l.Sort == byNameDirsFirst) && l.Order != descending {
		order = descending
	}
	if by == byName && l.Sort != byName {
		by = byNameDirsFirst
	}
	return l.query(by, order, l.Layout)
}

// LayoutLink leads to the same listing in another layout.
func (l *Listing) LayoutLink(layout string) string { return l.query(l.Sort, l.Order, layout) }

func (l *Listing) query(sort, order, layout string) string {
	q := "?sort=" + url.QueryEscape(sort) + "&order=" + url.QueryEscape(order)
	if l.Limit > 0 {
		q += "&limit=" + strconv.Itoa(l.Limit)
	}
	if l.Offset > 0 {
		q += "&offset=" + strconv.Itoa(l.Offset)
	}
	if layout != "" {
		q += "&layout=" + layout
	}
	return q
}

// Mark is how the listing is sorted by a column: "ascending", "descending", or
// "none".
func (l *Listing) Mark(by string) string {
	switch {
	case l.Sort != by && !(by == byName && l.Sort == byNameDirsFirst):
		return "none"
	case l.Order == descending:
		return "descending"
	}
	return "ascending"
}

// Icon is the name of an item's picture.
func (it Item) Icon() string {
	switch {
	case it.IsDir:
		return "dir"
	case it.HasExt(".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".svg", ".ico", ".bmp", ".tif", ".tiff", ".heic"):
		return "image"
	case it.HasExt(".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ogv"):
		return "video"
	case it.HasExt(".mp3", ".flac", ".ogg", ".opus", ".wav", ".m4a", ".aac"):
		return "audio"
	case it.HasExt(".zip", ".gz", ".tgz", ".zst", ".br", ".xz", ".bz2", ".7z", ".tar", ".rar", ".deb", ".rpm", ".apk", ".iso", ".img", ".dmg"):
		return "archive"
	case it.HasExt(".txt", ".md", ".pdf", ".html", ".htm", ".log", ".csv", ".json", ".xml", ".yaml", ".yml", ".toml", ".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".epub"):
		return "text"
	}
	return "file"
}

// IsPicture reports whether browsers show the item as a picture.
func (it Item) IsPicture() bool {
	return !it.IsDir && it.HasExt(".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".svg", ".ico", ".bmp")
}
