package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/storage"
)

// language finds the adapter for the content type of a request; none means
// JSON (section 9.1).
func (a *API) language(c *call) (name string, adapter Adapter, err error) {
	text := c.r.Header.Get("Content-Type")
	if text == "" {
		return "", nil, nil
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil {
		return "", nil, failf(http.StatusBadRequest, "invalid Content-Type: %v", err)
	}
	_, name, ok := strings.Cut(kind, "/")
	if !ok {
		return "", nil, failf(http.StatusBadRequest, "malformed Content-Type")
	}
	if name == "json" {
		return "", nil, nil
	}
	adapter = a.deps.Adapters[name]
	if adapter == nil {
		return "", nil, failf(http.StatusBadRequest, "unrecognized config adapter '%s'", name)
	}
	return name, adapter, nil
}

// adaptText runs an adapter.
func adaptText(name string, adapter Adapter, text []byte) ([]byte, []AdaptWarning, error) {
	result, warnings, err := adapter.Adapt(text)
	if err == nil {
		return result, warnings, nil
	}
	e := failf(http.StatusBadRequest, "adapting config using %s adapter: %v", name, err)
	var ps schema.Problems
	if errors.As(err, &ps) {
		e.Problems = ps
	}
	return nil, nil, e
}

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
	var notes []AdaptWarning
	var warnings []config.Warning
	text := b.text
	if adapter != nil {
		var result []byte
		if result, notes, err = adaptText(name, adapter, b.text); err != nil {
			return err
		}
		if change.Edit.Value, err = a.parseAdapted(c, b, name, result); err != nil {
			return err
		}
		change.Source, change.SourceType, text = b.text, name, nil
	} else if change.Edit.Value, warnings, err = a.parse(c, b); err != nil {
		return under("loading config: ", err)
	}
	report, err := a.applyWhole(c, change, text)
	if err != nil {
		return under("loading config: ", err)
	}
	a.accepted(c, change, report, asProblems(warnings))
	a.log.Info("load complete")
	if len(notes) > 0 {
		// The reference lets the type be sniffed.
		c.Header().Set("Content-Type", "text/plain; charset=utf-8")
		writeJSON(c, notes)
	}
	return nil
}

func (a *API) applyWhole(c *call, change server.Change, text []byte) (server.Report, error) {
	return a.apply(c, change, text)
}

// parseAdapted reads what an adapter made of b.
func (a *API) parseAdapted(c *call, b *body, name string, result []byte) (*config.Node, error) {
	if err := b.weigh(c.r.Context(), int64(len(result))); err != nil {
		return nil, err
	}
	n, _, err := config.Parse(result, config.Limits{})
	if err != nil {
		return nil, failf(http.StatusInternalServerError, "the %s adapter made a document that is not JSON: %v", name, err)
	}
	return n, nil
}

// adapted is the answer of POST /adapt.
type adapted struct {
	Warnings []AdaptWarning  `json:"warnings,omitempty"`
	Result   json.RawMessage `json:"result"`
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
		result, notes, err := adaptText(name, adapter, b.text)
		if err != nil {
			return err
		}
		c.answerJSON(adapted{notes, result})
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
	c.answerJSON(adapted{Result: compact.Bytes()})
	return nil
}
