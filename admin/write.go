package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
)

// mustRevalidate is the Cache-Control value that forces a change which changes
// nothing (section 6.3).
const mustRevalidate = "must-revalidate"

// newChange begins a change as the headers and the query of a request want it.
func newChange(c *call, verb string) (server.Change, error) {
	dry, err := dryRun(c.r.URL.RawQuery)
	if err != nil {
		return server.Change{}, err
	}
	origin := c.r.RemoteAddr
	if origin == "" || origin == "@" {
		origin = "unix socket"
	}
	if c.caller != "" {
		origin = c.caller + "@" + origin
	}
	tag := strings.Join(c.r.Header["If-Match"], ", ")
	// The value at the path in the tag is compared, which tells something of it.
	if fields := strings.Fields(strings.Trim(tag, `"`)); len(fields) > 0 {
		if err := c.allow(fields[0]); err != nil {
			return server.Change{}, err
		}
	}
	return server.Change{
		Verb:    verb,
		Force:   c.r.Header.Get("Cache-Control") == mustRevalidate,
		DryRun:  dry,
		Origin:  origin,
		IfMatch: tag,
	}, nil
}

// dryRun reads the query parameter dry_run. What is not understood is refused,
// because doing the real thing could be the opposite of what was meant.
func dryRun(query string) (bool, error) {
	if !strings.Contains(query, "dry_run") {
		return false, nil
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return false, failf(http.StatusBadRequest, "malformed query: %v", err)
	}
	values, given := q["dry_run"]
	if !given {
		return false, nil
	}
	dry := false
	for _, v := range values {
		switch v {
		case "true", "1", "":
			dry = true
		case "false", "0":
		default:
			return false, failf(http.StatusBadRequest, "malformed query: dry_run is %q; it must be true or false", v)
		}
	}
	return dry, nil
}

// parse reads a body as JSON; an empty one is null.
func (a *API) parse(c *call, b *body) (*config.Node, []config.Warning, error) {
	if len(b.text) == 0 {
		return config.NewNull(), nil, nil
	}
	if err := b.admit(c.r.Context()); err != nil {
		return nil, nil, err
	}
	n, warnings, err := config.Parse(b.text, config.Limits{})
	if err != nil {
		return nil, nil, syntaxError(err)
	}
	return n, warnings, nil
}

func syntaxError(err error) *Error {
	e := failf(http.StatusBadRequest, "decoding request body: %v", err)
	var syntax *config.SyntaxError
	if errors.As(err, &syntax) {
		e.Problems = schema.Problems{{Line: syntax.Line, Column: syntax.Column, Message: syntax.Msg}}
	}
	return e
}

// locator shows where problems of a document are in what the client sent. The
// document is the one before the edit.
type locator func(doc *config.Doc, e config.Edit, ps schema.Problems) schema.Problems

// inText is the locator of a text that is JSON.
func inText(text []byte) locator {
	if len(text) == 0 {
		return nil
	}
	return func(doc *config.Doc, e config.Edit, ps schema.Problems) schema.Problems {
		return placeOf(doc, e).locate(ps, text)
	}
}

// inSource is the locator of an adapted text.
func inSource(out *Adapted) locator {
	if out.Place == nil {
		return nil
	}
	return func(_ *config.Doc, _ config.Edit, ps schema.Problems) schema.Problems {
		n := min(len(ps), maxProblems)
		return append(out.Place(ps[:n:n]), ps[n:]...)
	}
}

// apply hands a change to the engine. Problems and warnings get their places by
// show, unless it is nil.
func (a *API) apply(c *call, change server.Change, show locator) (server.Report, error) {
	doc, _ := a.deps.Engine.Document()
	_ = change.Place(doc) // for the places of problems; the engine does it again
	report, err := a.deps.Engine.Apply(c.r.Context(), change)
	if show == nil {
		return report, err
	}
	if err == nil {
		if len(report.Warnings) > 0 {
			report.Warnings = show(doc, change.Edit, report.Warnings)
		}
		return report, nil
	}
	e := *asError(err)
	if len(e.Problems) == 0 {
		return report, err
	}
	e.Problems = show(doc, change.Edit, e.Problems)
	var rejected *server.Rejected
	if errors.As(err, &rejected) {
		e.Msg = "loading new config: " + e.Problems.Error()
	}
	return report, &located{&e, err}
}

// located is an Error that remembers what it was made of.
type located struct {
	shown *Error
	cause error
}

// Error is the message for the client.
func (l *located) Error() string { return l.shown.Msg }

// Unwrap returns both forms.
func (l *located) Unwrap() []error { return []error{l.shown, l.cause} }

// under puts words before the message of an error.
func under(prefix string, err error) error {
	e := *asError(err)
	e.Msg = prefix + e.Msg
	return &e
}

// accepted puts what a change led to into the headers of its answer.
func (a *API) accepted(c *call, change server.Change, report server.Report, warnings schema.Problems) {
	h := c.Header()
	h.Set("Sluice-Revision", fmt.Sprint(report.Revision))
	h.Set("Sluice-Cost", fmt.Sprintf("reused=%d, built=%d, closed=%d, ms=%.3f",
		report.Reused, report.Built, report.Closed, float64(report.Duration.Nanoseconds())/1e6))
	if change.DryRun {
		h.Set("Sluice-Dry-Run", "true")
	}
	warnings = append(warnings, report.Warnings...)
	if len(warnings) == 0 {
		return
	}
	h.Set("Sluice-Warnings", fmt.Sprint(len(warnings)))
	for i, w := range warnings {
		if i == maxProblems {
			break
		}
		a.log.Warn("config warning", zap.String("pointer", w.Pointer), zap.String("file", w.File),
			zap.Int("line", w.Line), zap.Int("column", w.Column), zap.String("warning", w.Message))
	}
}

// asProblems gives the warnings of the parser the form of all others.
func asProblems(warnings []config.Warning) schema.Problems {
	var ps schema.Problems
	for _, w := range warnings {
		ps = append(ps, schema.Problem{Pointer: w.Pointer, Line: w.Line, Column: w.Column, Message: w.Message})
	}
	return ps
}
