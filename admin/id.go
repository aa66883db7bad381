package admin

import (
	"net/http"
	"path"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// idTarget is what an /id/ request is about.
type idTarget struct {
	id   string
	rest config.Path
}

func targetOf(c *call) (idTarget, error) {
	segs := strings.Split(strings.Trim(strings.TrimPrefix(c.r.URL.Path, "/id"), "/"), "/")
	if segs[0] == "" {
		return idTarget{}, failf(http.StatusBadRequest, "request path is missing object ID")
	}
	// The rest is cleaned, as that of a path that was not encoded would be.
	rest, err := config.ParsePath(path.Clean("/" + strings.Join(segs[1:], "/")))
	return idTarget{segs[0], rest}, err
}

// find returns the path of the object and that of the target.
func (t idTarget) find(doc *config.Doc) (object, target config.Path, err error) {
	object, ok := doc.PathOf(t.id)
	if !ok {
		return nil, nil, failf(http.StatusNotFound, "unknown object ID '%s'", t.id)
	}
	target = append(append(make(config.Path, 0, len(object)+len(t.rest)), object...), t.rest...)
	return object, target, nil
}

func requestPathOf(p config.Path) string {
	if len(p) == 0 {
		return "/config/"
	}
	return "/config" + p.String()
}

// getID is GET /id/* (section 8).
func (a *API) getID(c *call) error {
	t, err := targetOf(c)
	if err != nil {
		return err
	}
	if language, err := a.format(c); err != nil {
		return err
	} else if language != jsonLanguage {
		return onlyWhole(language)
	}
	doc, _ := a.deps.Engine.Document()
	_, p, err := t.find(doc)
	if err != nil {
		return err
	}
	if err := c.allowValue(p); err != nil {
		return err
	}
	return answerValue(c, doc, requestPathOf(p), p)
}

// writeID is POST, PUT, PATCH and DELETE /id/*. The object is looked up again
// when the change has its turn, since changes before it may move it, and with
// it, whether the client may reach it.
func (a *API) writeID(c *call) error {
	t, err := targetOf(c)
	if err != nil {
		return err
	}
	doc, _ := a.deps.Engine.Document()
	resolve := func(doc *config.Doc) (config.Path, error) {
		_, target, err := t.find(doc)
		if err != nil {
			return nil, err
		}
		return target, c.allowValue(target)
	}
	if _, err := resolve(doc); err != nil {
		return err
	}
	return a.writeValue(c, func(change server.Change, show locator) (server.Report, error) {
		change.Resolve = resolve
		return a.apply(c, change, show)
	})
}
