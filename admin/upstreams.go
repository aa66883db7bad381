package admin

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/upstream"
)

const (
	drainPattern  = "/reverse_proxy/upstreams/{address}/drain"
	streamPattern = "/reverse_proxy/streams/{stream}"
)

// Numbers of streams in one answer: the default, and the most that can be asked for.
const (
	defaultStreams = 1000
	maxStreams     = 100_000
)

func (a *API) upstreamRoutes() []route {
	address := ParamDoc{Name: "address", In: "path", Required: true, Schema: kind("string"),
		Description: "The address as the list of upstreams shows it; a slash in it is written %2F."}
	after := ParamDoc{Name: "close_after", In: "query", Schema: kind("string"),
		Description: "When streams that still run are ended, such as 30s; 0 at once. Without it they end by themselves."}
	filter := []ParamDoc{
		{Name: "upstream", In: "query", Schema: kind("string"), Description: "Only those of this upstream: as the list of upstreams shows it, or as host:port."},
		{Name: "route", In: "query", Schema: kind("string"), Description: "Only those of handlers at or below this path of the document, such as /config/apps/http/servers/main/routes/0 or /id/shop."},
	}
	paging := []ParamDoc{
		{Name: "after", In: "query", Schema: kind("integer"), Description: "Only streams with larger ids."},
		{Name: "limit", In: "query", Schema: kind("integer"), Description: "At most so many, up to 100000; 1000 if not given."},
	}
	all := ParamDoc{Name: "all", In: "query", Schema: kind("boolean"), Description: "true ends every stream where no other parameter says which."}
	closed := object(map[string]any{"closed": kind("integer")})
	id := ParamDoc{Name: "stream", In: "path", Required: true, Schema: kind("string"), Description: "The id of a stream."}
	return []route{
		{RouteDoc{Method: "GET", Pattern: "/reverse_proxy/upstreams", Summary: "List the upstreams with their requests, failures, health, latency, connections and streams",
			Description: "Upstreams of the configuration come first, then addresses with running requests that are none of them. What is zero, false or unknown is left out, the first three members excepted. Latencies are in seconds, of the last one to two minutes.",
			Responses:   answer("The upstreams.", "application/json", listOf(hostSchema()))}, a.upstreams},
		{RouteDoc{Method: "POST", Pattern: drainPattern, Summary: "Take an upstream out of service without changing the configuration",
			Description: "No handler sends it another request; what runs goes on, and num_requests shows how much that is. It lasts over changes of the configuration, until it is undone, the upstream leaves the configuration, or the process ends.",
			Params:      []ParamDoc{address, after}, Responses: answer("The upstream.", "application/json", hostSchema(), 400, 404)}, a.drain},
		{RouteDoc{Method: "DELETE", Pattern: drainPattern, Summary: "Put an upstream back into service", Params: []ParamDoc{address},
			Responses: answer("The upstream.", "application/json", hostSchema(), 404)}, a.undrain},
		{RouteDoc{Method: "GET", Pattern: "/reverse_proxy/streams", Summary: "List open streams: upgraded connections, and responses that are passed on as they come",
			Params: append(filter, paging...), Responses: answer("The streams, in order of their ids.", "application/json", listOf(streamSchema()), 400, 404)}, a.streams},
		{RouteDoc{Method: "DELETE", Pattern: "/reverse_proxy/streams", Summary: "End the streams of an upstream or a route",
			Description: "The ends of a WebSocket are told with a close frame of code 1001. Which streams are meant has to be said.",
			Params:      append(filter, all), Responses: answer("How many.", "application/json", closed, 400, 404)}, a.closeStreams},
		{RouteDoc{Method: "DELETE", Pattern: streamPattern, Summary: "End one stream", Params: []ParamDoc{id},
			Responses: answer("How many: 1.", "application/json", closed, 400, 404)}, a.closeStream},
	}
}

func hostSchema() schema.Schema {
	moment := schema.Schema{"type": "string", "format": "date-time"}
	verdict := object(map[string]any{"kind": kind("string"), "rule": kind("string"), "healthy": kind("boolean"), "state": kind("string"),
		"since": moment, "checked": moment, "reason": kind("string"), "handlers": kind("integer")})
	latency := object(map[string]any{"p50": kind("number"), "p99": kind("number"), "count": kind("integer")})
	return object(map[string]any{"address": kind("string"), "num_requests": kind("integer"), "fails": kind("integer"), "healthy": kind("boolean"),
		"health": listOf(verdict), "draining": kind("boolean"), "latency": latency, "connections": kind("integer"), "streams": kind("integer")})
}

func streamSchema() schema.Schema {
	return object(map[string]any{"id": kind("integer"), "kind": schema.Schema{"enum": []any{"websocket", "upgrade", "response"}},
		"upstream": kind("string"), "address": kind("string"), "route": kind("string"), "client": kind("string"), "target": kind("string"),
		"opened": schema.Schema{"type": "string", "format": "date-time"}, "bytes_down": kind("integer"), "bytes_up": kind("integer")})
}

// pool is the upstreams of the process; one that has none has an empty pool.
func (a *API) pool() *upstream.Pool { return a.deps.Upstreams }

// upstreams is GET /reverse_proxy/upstreams (section 10).
func (a *API) upstreams(c *call) error {
	c.answerJSON(a.pool().List())
	return nil
}

// drain is POST /reverse_proxy/upstreams/{address}/drain.
func (a *API) drain(c *call) error {
	closeAfter := time.Duration(-1)
	if text := c.r.URL.Query().Get("close_after"); text != "" {
		var err error
		if closeAfter, err = parseWait(text); err != nil {
			return failf(http.StatusBadRequest, "close_after is %q; want how long to wait, such as 30s, 5m or 0", text)
		}
	}
	return a.answerHost(c, func(address string) (upstream.Status, error) { return a.pool().Drain(address, closeAfter) })
}

// parseWait reads a duration that is not negative.
func parseWait(text string) (time.Duration, error) {
	d, err := vars.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

// undrain is DELETE /reverse_proxy/upstreams/{address}/drain.
func (a *API) undrain(c *call) error { return a.answerHost(c, a.pool().Undrain) }

func (a *API) answerHost(c *call, do func(address string) (upstream.Status, error)) error {
	address, err := url.PathUnescape(chi.URLParam(c.r, "address"))
	if err != nil {
		return failf(http.StatusBadRequest, "the address of the upstream: %v", err)
	}
	status, err := do(address)
	var unknown *upstream.UnknownHostError
	if errors.As(err, &unknown) {
		return failf(http.StatusNotFound, "%v", err)
	}
	if err != nil {
		return err
	}
	c.answerJSON(status)
	return nil
}

// streams is GET /reverse_proxy/streams.
func (a *API) streams(c *call) error {
	q := c.r.URL.Query()
	filter, _, err := a.streamFilter(q)
	if err != nil {
		return err
	}
	after, err := queryNumber(q, "after", 0, 1<<62)
	if err != nil {
		return err
	}
	limit, err := queryNumber(q, "limit", defaultStreams, maxStreams)
	if err != nil {
		return err
	}
	list := a.pool().Streams(filter, after, int(limit))
	a.placeStreams(list)
	c.answerJSON(list)
	return nil
}

// placeStreams says where the handlers of streams stand now.
func (a *API) placeStreams(list []upstream.StreamStatus) {
	wanted := map[*config.Node]string{}
	for i := range list {
		if n := list[i].Node(); n != nil {
			wanted[n] = ""
		}
	}
	doc, _ := a.deps.Engine.Document()
	findNodes(doc.Root(), "/config", wanted, len(wanted))
	for i := range list {
		list[i].Route = wanted[list[i].Node()]
	}
}

// findNodes writes the paths of nodes into wanted, of which left have none yet. It returns how many still have none.
func findNodes(n *config.Node, at string, wanted map[*config.Node]string, left int) int {
	if left == 0 {
		return 0
	}
	if path, ok := wanted[n]; ok && path == "" {
		wanted[n] = at
		left--
	}
	switch n.Kind() {
	case config.Object:
		for key, v := range n.Members() {
			if k := v.Kind(); k == config.Object || k == config.Array {
				left = findNodes(v, at+"/"+key, wanted, left)
			}
		}
	case config.Array:
		for i, v := range n.Elements() {
			left = findNodes(v, at+"/"+strconv.Itoa(i), wanted, left)
		}
	}
	return left
}

// streamFilter reads which streams are meant, and whether that was said at all.
func (a *API) streamFilter(q url.Values) (f upstream.StreamFilter, said bool, err error) {
	f.Upstream = q.Get("upstream")
	route := q.Get("route")
	if route == "" {
		return f, f.Upstream != "", nil
	}
	doc, _ := a.deps.Engine.Document()
	p, err := pathOfRoute(doc, route)
	if err != nil {
		return f, true, err
	}
	n, err := doc.Get(p)
	if err != nil {
		return f, true, err
	}
	f.Nodes = map[*config.Node]string{}
	collectObjects(n, f.Nodes)
	return f, true, nil
}

// collectObjects adds a node and the objects below it: a stream's handler is one.
func collectObjects(n *config.Node, into map[*config.Node]string) {
	switch n.Kind() {
	case config.Object:
		into[n] = ""
		for _, v := range n.Members() {
			collectObjects(v, into)
		}
	case config.Array:
		for _, v := range n.Elements() {
			collectObjects(v, into)
		}
	}
}

// pathOfRoute reads a path as the API writes it: of the document, or below an object with an @id.
func pathOfRoute(doc *config.Doc, text string) (config.Path, error) {
	if rest, ok := strings.CutPrefix(text, "/config/"); ok {
		return config.ParsePath("/" + rest)
	}
	rest, ok := strings.CutPrefix(text, "/id/")
	if !ok {
		return nil, failf(http.StatusBadRequest, "route is %q; want a path that begins with /config/ or /id/", text)
	}
	id, below, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	p, err := config.ParsePath("/" + below)
	if err != nil {
		return nil, err
	}
	_, target, err := idTarget{id, p}.find(doc)
	return target, err
}

// closeStreams is DELETE /reverse_proxy/streams.
func (a *API) closeStreams(c *call) error {
	q := c.r.URL.Query()
	filter, said, err := a.streamFilter(q)
	if err != nil {
		return err
	}
	if !said && q.Get("all") != "true" {
		return failf(http.StatusBadRequest, "say which streams to end: with upstream=ADDRESS, with route=PATH, or with all=true")
	}
	return a.answerClosed(c, filter)
}

// closeStream is DELETE /reverse_proxy/streams/{stream}.
func (a *API) closeStream(c *call) error {
	text := chi.URLParam(c.r, "stream")
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 {
		return failf(http.StatusBadRequest, "%q is no id of a stream; GET /reverse_proxy/streams lists them", text)
	}
	if len(a.pool().Streams(upstream.StreamFilter{ID: id}, 0, 1)) == 0 {
		return failf(http.StatusNotFound, "no stream %d is open", id)
	}
	return a.answerClosed(c, upstream.StreamFilter{ID: id})
}

func (a *API) answerClosed(c *call, f upstream.StreamFilter) error {
	c.answerJSON(struct {
		Closed int `json:"closed"`
	}{a.pool().CloseStreams(f)})
	return nil
}
