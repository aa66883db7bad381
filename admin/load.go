package admin

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
)

// load is POST /load (section 9.1).
func (a *API) load(c *call) error {
	change, err := newChange(c, storage.VerbLoad)
	if err != nil {
		return err
	}
	change.IfMatch = "" // rule 4 of section 7
	change.Edit = config.Edit{Whole: true, RequestPath: c.r.URL.Path}
	name, adapter, err := a.language(c)
	if err != nil {
		return err
	}
	b, err := a.readBody(c)
	if err != nil {
		return err
	}
	defer b.close()
	if adapter != nil {
		return a.loadAdapted(c, change, name, adapter, b)
	}
	var warnings []config.Warning
	if change.Edit.Value, warnings, err = a.parse(c, b); err != nil {
		return under("loading config: ", err)
	}
	return a.finishLoad(c, change, inText(b.text), asProblems(warnings), nil)
}

// loadAdapted is a load in another language than JSON. The answer to one that
// is accepted lists what the adapter warns of.
func (a *API) loadAdapted(c *call, change server.Change, name string, adapter Adapter, b *body) error {
	text := newKeptText(name, sourceFile(c.r.Header), b.text)
	out, err := a.adaptAgain(c, change, text, b)
	if out == nil && err == nil {
		out, err = a.adaptBody(c.r.Context(), name, adapter, b, text.filename)
	}
	if err != nil {
		return err
	}
	text.pure, text.warnings = out.Pure, out.Warnings
	change.Edit.Value, change.Source, change.SourceType = out.Root, b.text, name
	return a.finishLoad(c, change, inSource(out), asWarnings(out.Warnings), func(report server.Report) {
		a.remember(change, report, text)
		if len(out.Warnings) > 0 {
			// The reference lets the type be sniffed.
			c.Header().Set("Content-Type", "text/plain; charset=utf-8")
			writeJSON(c, out.Warnings)
		}
	})
}

// finishLoad applies a load and answers; what is set is called after the
// headers are.
func (a *API) finishLoad(c *call, change server.Change, show locator, warnings schema.Problems, what func(server.Report)) error {
	report, err := a.apply(c, change, show)
	if err != nil {
		return under("loading config: ", err)
	}
	a.accepted(c, change, report, warnings)
	a.log.Info("load complete")
	if what != nil {
		what(report)
	}
	return nil
}

// adaptOnly is POST /adapt (section 9.2).
func (a *API) adaptOnly(c *call) error {
	name, adapter, err := a.language(c)
	if err != nil {
		return err
	}
	b, err := a.readBody(c)
	if err != nil {
		return err
	}
	defer b.close()
	if adapter != nil {
		out, err := a.adaptBody(c.r.Context(), name, adapter, b, sourceFile(c.r.Header))
		if err != nil {
			return err
		}
		answerAdapted(c, out)
		return nil
	}
	if err := b.admit(c.r.Context()); err != nil {
		return err
	}
	if _, _, err := config.Parse(b.text, config.Limits{}); err != nil {
		return syntaxError(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b.text); err != nil {
		return failf(http.StatusBadRequest, "decoding request body: %v", err)
	}
	c.answerJSON(struct {
		Result json.RawMessage `json:"result"`
	}{compact.Bytes()})
	return nil
}

// answerAdapted answers with what an adapter made, printed on its way out.
func answerAdapted(c *call, out *Adapted) {
	var head bytes.Buffer
	head.WriteByte('{')
	if len(out.Warnings) > 0 {
		head.WriteString(`"warnings":`)
		writeJSONTo(&head, out.Warnings)
		head.Truncate(head.Len() - 1) // the newline
		head.WriteByte(',')
	}
	head.WriteString(`"result":`)
	c.Header().Set("Content-Type", "application/json")
	_, _ = c.Write(head.Bytes())
	if out.Root.WriteJSON(c) == nil { // it fails only if the client is gone
		_, _ = c.Write([]byte("}\n"))
	}
}
