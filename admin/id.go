package admin

import (
	"errors"
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
	doc, _ := a.deps.Engine.Document()
	_, p, err := t.find(doc)
	if err != nil {
		return err
	}
	return answerValue(c, doc, requestPathOf(p), p)
}

// maxLookups is how often a target that moves is looked up before all other
// changes are held off.
const maxLookups = 8

// writeID is POST, PUT, PATCH and DELETE /id/*. The path of the object may
// become another's while the change waits for its turn, so the change carries
// a condition by which it can only meet the object that was asked for.
func (a *API) writeID(c *call) error {
	t, err := targetOf(c)
	if err != nil {
		return err
	}
	doc, _ := a.deps.Engine.Document()
	if _, _, err := t.find(doc); err != nil {
		return err
	}
	return a.writeValue(c, func(change server.Change, text []byte) (server.Report, error) {
		for range maxLookups {
			report, again, err := a.tryID(c, t, change, text)
			if !again {
				return report, err
			}
		}
		a.writes.Lock()
		defer a.writes.Unlock()
		doc, _ := a.deps.Engine.Document()
		_, p, err := t.find(doc)
		if err != nil {
			return server.Report{}, err
		}
		change.Edit.Path, change.Edit.RequestPath = p, requestPathOf(p)
		return a.apply(c, change, text)
	})
}

// tryID looks the object up and applies the change on condition that it is
// still there. If not, again is true.
func (a *API) tryID(c *call, t idTarget, change server.Change, text []byte) (report server.Report, again bool, err error) {
	doc, _ := a.deps.Engine.Document()
	object, p, err := t.find(doc)
	if err != nil {
		return report, false, err
	}
	change.Edit.Path, change.Edit.RequestPath = p, requestPathOf(p)
	theirs := change.IfMatch
	switch {
	case theirs == "":
		change.IfMatch, again = identityTag(doc, object)
		if !again {
			return report, true, nil
		}
	case !covers(theirs, object):
		return report, true, nil
	default:
		// Their condition includes the place of the object, if it holds now.
		if err := doc.CheckIfMatch(theirs); err != nil {
			return report, false, err
		}
	}
	a.writes.RLock()
	defer a.writes.RUnlock()
	report, err = a.apply(c, change, text)
	var failed *config.Error
	if err == nil || theirs != "" || !errors.As(err, &failed) {
		return report, false, err
	}
	if failed.Status == http.StatusPreconditionFailed {
		return report, true, err
	}
	// The place may be gone altogether, which the condition reports in its own way.
	now, _ := a.deps.Engine.Document()
	_, moved, lost := t.find(now)
	return report, lost != nil || requestPathOf(moved) != requestPathOf(p), err
}

// identityTag is an If-Match value which says that the object at p has the @id
// that it has. It is false if the path cannot be written in a header.
func identityTag(doc *config.Doc, p config.Path) (string, bool) {
	for _, seg := range p {
		if seg == "" || strings.ContainsAny(seg, "/ \t\r\n\v\f\"") || strings.ContainsFunc(seg, func(r rune) bool { return r > 126 }) {
			return "", false
		}
	}
	at := append(append(make(config.Path, 0, len(p)+1), p...), "@id")
	tag, err := doc.Etag(requestPathOf(at), at)
	return tag, err == nil
}

// covers reports whether the value that an If-Match header is about contains
// the object at p.
func covers(header string, p config.Path) bool {
	fields := strings.Fields(strings.Trim(header, `"`))
	if len(fields) == 0 {
		return true // malformed, which the check reports
	}
	named := strings.TrimSuffix(fields[0], "/")
	full := "/config" + p.String()
	return named == full || strings.HasPrefix(full, named+"/")
}
