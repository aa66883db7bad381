package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
)

// keptText is a text in another language than JSON, and the document that it
// was adapted to.
type keptText struct {
	language, filename string
	sum                [sha256.Size]byte
	// text is nil if the revision has it.
	text []byte
	// digest is that of the document, and revision the one that was current
	// when it had been loaded.
	digest, revision uint64
	// pure and warnings are the adapter's; see Adapted.
	pure     bool
	warnings []AdaptWarning
}

func newKeptText(language, filename string, text []byte) keptText {
	return keptText{language: language, filename: filename, sum: sha256.Sum256(text)}
}

func (k *keptText) sameText(o *keptText) bool {
	return k.language == o.language && k.filename == o.filename && k.sum == o.sum
}

// textKeeper remembers the last text that was loaded.
//
// A text is kept by the revision that it made. But one that makes just the
// document that is there already makes no revision, and without a store there
// are none; such a text lives only here, as long as the process.
type textKeeper struct {
	mu   sync.Mutex
	last *keptText
}

func (t *textKeeper) get() *keptText {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// put remembers a text; source is nil if a revision has it.
func (t *textKeeper) put(k keptText, source []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := t.last; last != nil {
		if last.revision > k.revision {
			return
		}
		if last.digest == k.digest && last.sameText(&k) && (last.text != nil || last.revision == k.revision) {
			k.text, source = last.text, nil // there already, here or in the revision
		}
	}
	if source != nil {
		k.text = bytes.Clone(source)
	}
	t.last = &k
}

// remember keeps what an accepted change was made of.
func (a *API) remember(change server.Change, report server.Report, k keptText) {
	if change.DryRun {
		return
	}
	if k.language == "" {
		k = newKeptText(change.SourceType, "", change.Source)
	}
	k.digest, k.revision = change.Edit.Value.Digest(), report.Revision
	source := change.Source
	if report.Changed && a.deps.Store != nil {
		source = nil
	} else if source == nil {
		source = []byte{}
	}
	a.texts.put(k, source)
}

// KeepText tells the API of a text that was loaded by other means than a
// request, the document that it was adapted to, and the report of the load, so
// that GET /config/?format=LANGUAGE has it even if the load changed nothing.
func (a *API) KeepText(language string, text []byte, root *config.Node, report server.Report) {
	change := server.Change{Edit: config.Edit{Value: root}, Source: text, SourceType: language}
	a.remember(change, report, keptText{})
}

// adaptAgain returns what an adapter would make of the text that made the
// current document, if that is known without asking it, or else nil.
func (a *API) adaptAgain(c *call, change server.Change, text keptText, b *body) (*Adapted, error) {
	last := a.texts.get()
	doc, _ := a.deps.Engine.Document()
	root := doc.Root()
	if change.Force || last == nil || !last.pure || root == nil || last.digest != root.Digest() || !last.sameText(&text) {
		return nil, nil
	}
	if err := b.reweigh(c.r.Context(), printedSize(root)); err != nil {
		return nil, err
	}
	return &Adapted{Root: root.Clone(), Warnings: last.warnings, Pure: true}, nil
}

// format reads the query parameter of that name: the language of the answer.
func (a *API) format(c *call) (string, error) {
	query := c.r.URL.RawQuery
	if !strings.Contains(query, "format") {
		return jsonLanguage, nil
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", failf(http.StatusBadRequest, "malformed query: %v", err)
	}
	values := q["format"]
	if len(values) == 0 {
		return jsonLanguage, nil
	}
	known := a.languages()
	for _, v := range values {
		if !slices.Contains(known, v) {
			return "", failf(http.StatusBadRequest, "unknown format %q; it must be one of: %s", cut(v), strings.Join(known, ", "))
		}
		if v != values[0] {
			return "", failf(http.StatusBadRequest, "malformed query: format is both %s and %s", values[0], v)
		}
	}
	return values[0], nil
}

// onlyWhole is the answer to a part of a document in another language.
func onlyWhole(language string) error {
	return failf(http.StatusBadRequest, "only the whole document can be given as %s, at /config/?format=%s", language, language)
}

// getText is GET /config/?format=LANGUAGE: the text that the document was made
// from, unless the document is another by now.
func (a *API) getText(c *call, language string) error {
	doc, revision := a.deps.Engine.Document()
	etag, err := doc.Etag(c.r.URL.Path, nil)
	if err != nil {
		return err
	}
	digest := doc.Root().Digest()
	kept := a.texts.get()
	if kept != nil && kept.language != language {
		kept = nil
	}
	mine := kept != nil && kept.digest == digest && kept.text != nil
	if mine && kept.revision >= revision {
		answerText(c, language, etag, kept.text)
		return nil
	}
	from, newest, err := a.findText(c.r.Context(), language, revision, digest)
	switch {
	case err != nil:
		return err
	case mine && kept.revision >= from:
		answerText(c, language, etag, kept.text)
		return nil
	case from > 0:
		snap, err := a.snapshot(c, strconv.FormatUint(from, 10))
		if err != nil {
			return err
		}
		answerText(c, language, etag, snap.Revision.Edit.Source)
		return nil
	case newest > 0:
		return edited("the document", language, newest)
	case kept != nil:
		return failf(http.StatusConflict, "the document was changed since it was loaded from a %s; /config/ gives it as JSON", language)
	}
	return failf(http.StatusNotFound, "the document was not made from a %s; /config/ gives it as JSON", language)
}

// edited is the answer if there is a text, but not of what was asked for.
func edited(what, language string, newest uint64) error {
	return failf(http.StatusConflict, "%s was changed since revision %d, which was the last that was made from a %s; "+
		"/revisions/%d?format=%s gives that text", what, newest, language, newest, language)
}

// revisionText is GET /revisions/N?format=LANGUAGE.
func (a *API) revisionText(c *call, snap storage.Snapshot, language string) error {
	n := snap.Revision.Number
	etag := config.BodyEtag("/config/", slices.Concat(raw(snap.Document, "null"), []byte("\n")))
	if snap.Revision.Edit.SourceType != language {
		from, newest, err := a.findText(c.r.Context(), language, n, snap.Revision.Digest)
		switch {
		case err != nil:
			return err
		case newest == 0:
			return failf(http.StatusNotFound, "revision %d was not made from a %s; /revisions/%d gives it as JSON", n, language, n)
		case from == 0:
			return edited(fmt.Sprintf("revision %d", n), language, newest)
		}
		if snap, err = a.snapshot(c, strconv.FormatUint(from, 10)); err != nil {
			return err
		}
	}
	answerText(c, language, etag, snap.Revision.Edit.Source)
	return nil
}

func answerText(c *call, language, etag string, text []byte) {
	h := c.Header()
	h.Set("Content-Type", "text/"+language+"; charset=utf-8")
	h.Set("Etag", etag)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = c.Write(text)
}

// maxSearch is how many pages of the history are searched for a text.
const maxSearch = 10

// findText looks through the revisions up to one with this digest, newest
// first. From is the first of them that was made from a text in that language
// and has the same document, and newest the first that was made from one at
// all. They are 0 if there is none.
func (a *API) findText(ctx context.Context, language string, upTo, digest uint64) (from, newest uint64, err error) {
	if a.deps.Store == nil {
		return 0, 0, nil
	}
	before := upTo + 1
	for range maxSearch {
		page, err := a.deps.Store.History(ctx, before, maxPage)
		if err != nil && !errors.Is(err, storage.ErrEmpty) {
			return 0, 0, fmt.Errorf("looking for the text of revision %d: %w", upTo, err)
		}
		for _, r := range page {
			before = r.Number
			if r.Edit.SourceType != language {
				continue
			}
			if newest == 0 {
				newest = r.Number
			}
			if r.Digest == digest && digest != 0 {
				return r.Number, newest, nil
			}
		}
		if len(page) < maxPage {
			break
		}
	}
	return 0, newest, nil
}
