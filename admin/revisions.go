package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/storage"
)

// maxPage is the most revisions that one listing has.
const maxPage = 1000

// revision is a storage.Revision as clients see it.
type revision struct {
	Number     uint64    `json:"number"`
	Time       time.Time `json:"time"`
	Origin     string    `json:"origin"`
	Verb       string    `json:"verb"`
	Path       string    `json:"path"`
	Digest     string    `json:"digest"`
	Bytes      int64     `json:"bytes"`
	SourceType string    `json:"source_type,omitempty"`
}

func newRevision(r storage.Revision) revision {
	return revision{Number: r.Number, Time: r.Time, Origin: r.Origin, Verb: r.Edit.Verb, Path: r.Edit.Path,
		Digest: fmt.Sprintf("%016x", r.Digest), Bytes: r.Bytes, SourceType: r.Edit.SourceType}
}

// fullRevision is a revision with its edit and its document.
type fullRevision struct {
	revision
	Value    json.RawMessage `json:"value,omitempty"`
	Source   string          `json:"source,omitempty"`
	Document json.RawMessage `json:"document"`
}

func (a *API) store() (storage.Store, error) {
	if a.deps.Store == nil {
		return nil, failf(http.StatusNotFound, "revisions are not available: this process runs without a store")
	}
	return a.deps.Store, nil
}

// listRevisions is GET /revisions.
func (a *API) listRevisions(c *call) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return failf(http.StatusBadRequest, "malformed query: %v", err)
	}
	before, err := queryNumber(q, "before", 0, math.MaxUint64)
	if err != nil {
		return err
	}
	limit, err := queryNumber(q, "limit", storage.DefaultHistoryLimit, maxPage)
	if err != nil {
		return err
	}
	found, err := store.History(c.r.Context(), before, int(limit))
	if err != nil {
		return err
	}
	list := make([]revision, len(found))
	for i, r := range found {
		list[i] = newRevision(r)
	}
	c.answerJSON(list)
	return nil
}

func queryNumber(q url.Values, name string, def, most uint64) (uint64, error) {
	text := q.Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > most {
		return 0, failf(http.StatusBadRequest, "malformed query: %s is %q; it must be a number from 1 to %d", name, text, most)
	}
	return n, nil
}

// showRevision is GET /revisions/N and GET /revisions/A..B.
func (a *API) showRevision(c *call) error {
	name := chi.URLParam(c.r, revisionParam)
	language, err := a.format(c)
	if err != nil {
		return err
	}
	if from, to, ok := strings.Cut(name, ".."); ok {
		if language != jsonLanguage {
			return failf(http.StatusBadRequest, "revisions are compared as JSON only, not as %s", language)
		}
		return a.compareRevisions(c, from, to)
	}
	snap, err := a.snapshot(c, name)
	if err != nil {
		return err
	}
	if language != jsonLanguage {
		return a.revisionText(c, snap, language)
	}
	c.answerJSON(fullRevision{
		revision: newRevision(snap.Revision),
		Value:    raw(snap.Revision.Edit.Body, ""),
		Source:   string(snap.Revision.Edit.Source),
		Document: raw(snap.Document, "null"),
	})
	return nil
}

func raw(text []byte, empty string) json.RawMessage {
	if len(text) == 0 {
		text = []byte(empty)
	}
	return text
}

func (a *API) snapshot(c *call, name string) (storage.Snapshot, error) {
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return storage.Snapshot{}, failf(http.StatusBadRequest, "malformed revision %q: it must be a number, or two with .. between them to compare", name)
	}
	store, err := a.store()
	if err != nil {
		return storage.Snapshot{}, err
	}
	snap, err := store.Revision(c.r.Context(), n)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		err = failf(http.StatusNotFound, "there is no revision %d", n)
	case errors.Is(err, storage.ErrPruned):
		err = failf(http.StatusGone, "revision %d is no longer kept", n)
	}
	return snap, err
}

// compareRevisions answers with what turns one document into another.
func (a *API) compareRevisions(c *call, from, to string) error {
	var snaps [2]storage.Snapshot
	var docs [2]*config.Node
	var weight int64
	for i, name := range []string{from, to} {
		var err error
		if snaps[i], err = a.snapshot(c, name); err != nil {
			return err
		}
		weight += int64(len(snaps[i].Document))
	}
	weight = min(weight, a.limits.Parsing) // both at once: two who wait with one in hand could wait for ever
	if err := a.parsing.Acquire(c.r.Context(), weight); err != nil {
		return err
	}
	defer a.parsing.Release(weight)
	for i, snap := range snaps {
		var err error
		if docs[i], err = documentOf(snap); err != nil {
			return err
		}
	}
	c.Header().Set("Content-Type", "application/json")
	w := bufio.NewWriterSize(c, 32<<10)
	fmt.Fprintf(w, `{"from":%d,"to":%d,"changes":[`, snaps[0].Revision.Number, snaps[1].Revision.Number)
	for i, ch := range config.Diff(docs[0], docs[1]) {
		if i > 0 {
			w.WriteByte(',')
		}
		writeDifference(w, ch)
	}
	w.WriteString("]}\n")
	_ = w.Flush() // it fails only if the client is gone
	return nil
}

func writeDifference(w *bufio.Writer, ch config.Change) {
	fmt.Fprintf(w, `{"op":%q,"pointer":`, ch.Op)
	_ = config.NewString(ch.Pointer).WriteJSON(w)
	if ch.Op != "add" {
		w.WriteString(`,"old":`)
		_ = ch.Old.WriteJSON(w)
	}
	if ch.Op != "remove" {
		w.WriteString(`,"new":`)
		_ = ch.New.WriteJSON(w)
	}
	w.WriteByte('}')
}

func documentOf(snap storage.Snapshot) (*config.Node, error) {
	if len(snap.Document) == 0 {
		return config.NewNull(), nil
	}
	n, _, err := config.Parse(snap.Document, config.Limits{})
	if err != nil {
		return nil, failf(http.StatusInternalServerError, "the document of revision %d is damaged: %v", snap.Revision.Number, err)
	}
	return n, nil
}

// restore is POST /revisions/N/restore.
func (a *API) restore(c *call) error {
	change, err := newChange(c, storage.VerbRestore)
	if err != nil {
		return err
	}
	snap, err := a.snapshot(c, chi.URLParam(c.r, revisionParam))
	if err != nil {
		return err
	}
	weight := min(int64(len(snap.Document)), a.limits.Parsing)
	if err := a.parsing.Acquire(c.r.Context(), weight); err != nil {
		return err
	}
	defer a.parsing.Release(weight)
	change.Edit = config.Edit{Whole: true, RequestPath: c.r.URL.Path}
	if change.Edit.Value, err = documentOf(snap); err != nil {
		return err
	}
	change.Source, change.SourceType = snap.Revision.Edit.Source, snap.Revision.Edit.SourceType
	report, err := a.apply(c, change, nil)
	if err != nil {
		return under(fmt.Sprintf("restoring revision %d: ", snap.Revision.Number), err)
	}
	if change.SourceType != "" {
		a.remember(change, report, keptText{})
	}
	a.accepted(c, change, report, nil)
	return nil
}
