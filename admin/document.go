package admin

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// wholeAnswer is the longest value that is printed in memory; a longer one is
// hashed first and then printed on its way out.
const wholeAnswer = 256 << 10

var errLong = errors.New("the answer is long")

// shortBuffer takes up to wholeAnswer bytes.
type shortBuffer struct{ bytes.Buffer }

// Write fails if the buffer would become too long.
func (b *shortBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > wholeAnswer {
		return 0, errLong
	}
	return b.Buffer.Write(p)
}

var buffers = sync.Pool{New: func() any { return new(shortBuffer) }}

// getConfig is GET /config/* (section 6.2).
func (a *API) getConfig(c *call) error {
	p, err := configPath(c)
	if err != nil {
		return err
	}
	language, err := a.format(c)
	if err != nil {
		return err
	}
	if language != jsonLanguage {
		if len(p) > 0 {
			return onlyWhole(language)
		}
		return a.getText(c, language)
	}
	doc, _ := a.deps.Engine.Document()
	return answerValue(c, doc, c.r.URL.Path, p)
}

func configPath(c *call) (config.Path, error) {
	return config.ParsePath(strings.TrimPrefix(c.r.URL.Path, "/config"))
}

// answerValue answers with the value at p. It works on an immutable document
// and waits for nobody but the client.
func answerValue(c *call, doc *config.Doc, requestPath string, p config.Path) error {
	n, err := doc.Get(p)
	if err != nil {
		return err
	}
	b := buffers.Get().(*shortBuffer)
	defer buffers.Put(b)
	b.Reset()
	h := c.Header()
	h.Set("Content-Type", "application/json")
	if err := n.WriteJSON(b); err == nil && b.WriteByte('\n') == nil {
		h.Set("Etag", config.BodyEtag(requestPath, b.Bytes()))
		h.Set("Content-Length", strconv.Itoa(b.Len()))
		_, _ = c.Write(b.Bytes())
		return nil
	}
	etag, err := doc.Etag(requestPath, p)
	if err != nil {
		return err
	}
	h.Set("Etag", etag)
	if n.WriteJSON(c) == nil { // it fails only if the client is gone
		_, _ = c.Write([]byte{'\n'})
	}
	return nil
}

// writeConfig is POST, PUT, PATCH and DELETE /config/* (sections 6.3, 6.4).
func (a *API) writeConfig(c *call) error {
	return a.writeValue(c, func(change server.Change, show locator) (server.Report, error) {
		p, err := configPath(c)
		if err != nil {
			return server.Report{}, err
		}
		change.Edit.Path, change.Edit.RequestPath = p, c.r.URL.Path
		return a.apply(c, change, show)
	})
}

// writeValue reads what a write brings and hands it to do, which knows where.
func (a *API) writeValue(c *call, do func(server.Change, locator) (server.Report, error)) error {
	change, err := newChange(c, c.r.Method)
	if err != nil {
		return err
	}
	change.Edit.Verb = verbOf(c.r.Method)
	var show locator
	var warnings []config.Warning
	if change.Edit.Verb != config.Delete {
		if ct := c.r.Header.Get("Content-Type"); !strings.Contains(ct, "/json") {
			return failf(http.StatusBadRequest, "unacceptable content-type: %s; 'application/json' required", ct)
		}
		b, err := a.readBody(c)
		if err != nil {
			return err
		}
		defer b.close()
		show = inText(b.text)
		if change.Edit.Value, warnings, err = a.parse(c, b); err != nil {
			return err
		}
	}
	report, err := do(change, show)
	if err != nil {
		return err
	}
	a.accepted(c, change, report, asProblems(warnings))
	return nil
}

func verbOf(method string) config.Verb {
	switch method {
	case http.MethodPost:
		return config.Post
	case http.MethodPut:
		return config.Put
	case http.MethodPatch:
		return config.Patch
	}
	return config.Delete
}
