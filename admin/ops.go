package admin

import (
	"encoding/json"
	"expvar"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
)

// stop is POST /stop (section 9.3).
func (a *API) stop(c *call) error {
	dry, err := dryRun(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	if a.deps.Stop == nil {
		return failf(http.StatusNotFound, "this process cannot be stopped through the API")
	}
	c.Header().Set("Content-Length", "0")
	if dry {
		c.Header().Set("Sluice-Dry-Run", "true")
		c.WriteHeader(http.StatusOK)
		return nil
	}
	c.Header().Set("Connection", "close")
	c.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(c.ResponseWriter).Flush() // a client that is gone wants the stop all the same
	if a.stopping.CompareAndSwap(false, true) {
		go a.deps.Stop()
	}
	return nil
}

// metrics is /metrics.
func (a *API) metrics(c *call) error {
	if a.deps.Metrics == nil {
		return failf(http.StatusNotFound, "this process has no metrics")
	}
	a.deps.Metrics.Handler().ServeHTTP(c, c.r)
	return nil
}

// plain makes a handler of one that knows nothing of this package.
func plain(h http.HandlerFunc) handler {
	return func(c *call) error {
		h(c, c.r)
		return nil
	}
}

func profileIndex(c *call) error {
	pprof.Index(c, c.r)
	return nil
}

func variables(c *call) error {
	expvar.Handler().ServeHTTP(c, c.r)
	return nil
}

// encodeSchema prints the published schema.
func (a *API) encodeSchema() ([]byte, error) {
	var published schema.Schema
	switch {
	case a.deps.Schema != nil:
		published = a.deps.Schema()
	case a.deps.Table != nil:
		published = a.deps.Table.Document(server.RootID, "sluice configuration", nil)
	default:
		return nil, failf(http.StatusNotFound, "this process publishes no schema")
	}
	text, err := json.Marshal(published)
	if err != nil {
		return nil, fmt.Errorf("encoding the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// showSchema is GET /schema.
func (a *API) showSchema(c *call) error {
	text, err := a.schema()
	if err != nil {
		return err
	}
	c.Header().Set("Content-Type", "application/schema+json")
	_, _ = c.Write(text)
	return nil
}

// health is what /healthz and /readyz answer.
type health struct {
	Status   string `json:"status"`
	Version  string `json:"version,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
}

// healthz is GET /healthz: that it is answered is the answer.
func (a *API) healthz(c *call) error {
	h := health{Status: "ok"}
	if !c.anonymous {
		h.Version = a.deps.Version
	}
	c.Header().Set("Cache-Control", "no-store")
	c.answerJSON(h)
	return nil
}

// readyz is GET /readyz. Who has no token does not learn the reasons.
func (a *API) readyz(c *call) error {
	c.Header().Set("Cache-Control", "no-store")
	ready, reasons := true, []string(nil)
	if a.deps.Ready != nil {
		ready, reasons = a.deps.Ready()
	}
	if !ready {
		e := failf(http.StatusServiceUnavailable, "not ready")
		if !c.anonymous {
			for _, reason := range reasons {
				e.Problems = append(e.Problems, schema.Problem{Message: reason})
			}
			if len(reasons) > 0 {
				e.Msg += ": " + reasons[0]
			}
		}
		return e
	}
	h := health{Status: "ready"}
	if !c.anonymous {
		_, h.Revision = a.deps.Engine.Document()
	}
	c.answerJSON(h)
	return nil
}
