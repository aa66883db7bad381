package admin

import (
	"net/http/pprof"

	"github.com/sluiceproxy/sluice/schema"
)

// Patterns that the code must know.
const (
	configPattern = "/config/*"
	idPattern     = "/id/*"
	pkiTree       = "/pki/"
	healthPattern = "/healthz"
	readyPattern  = "/readyz"
	revisionParam = "revision"
)

// route is a route and its description, side by side.
type route struct {
	RouteDoc
	handle handler
}

// routes is every route of the API. It can be called on a nil API for the
// descriptions.
func (a *API) routes() []route {
	list := a.valueRoutes(configPattern, "the value at a path of the document",
		"Object keys and array indexes, separated by slashes.", a.getConfig, a.writeConfig)
	list = append(list, a.valueRoutes(idPattern, "the object with an @id, or a value below it",
		"The @id, and a path below the object.", a.getID, a.writeID)...)
	list = append(list, a.loadRoutes()...)
	list = append(list, a.revisionRoutes()...)
	list = append(list, a.upstreamRoutes()...)
	list = append(list, a.certificateRoutes()...)
	list = append(list, a.stateRoutes()...)
	return append(list, a.debugRoutes()...)
}

// valueRoutes are the five methods of /config/ and of /id/.
func (a *API) valueRoutes(pattern, what, rest string, get, write handler) []route {
	where := ParamDoc{Name: "*", In: "path", Required: true, Description: rest, Schema: kind("string")}
	doc := func(method, summary, description string, responses []ResponseDoc, params ...ParamDoc) RouteDoc {
		return RouteDoc{Method: method, Pattern: pattern, Summary: summary, Description: description,
			Params: append([]ParamDoc{where}, params...), Responses: responses}
	}
	changing := []ParamDoc{dryRunParam(), ifMatchParam(), forceParam()}
	value := &BodyDoc{Description: "The new value. An empty body is null.", Types: []string{"application/json"}, Schema: anyValue()}
	post := doc("POST", "Set "+what+", or append to it",
		"Sets the value, replacing it whole. If the value or what it stands in is an array, the body is appended to that array; with a final `...` in the path each element of the body is.",
		done(400, 404, 408, 412, 413, 503, 507), changing...)
	put := doc("PUT", "Create "+what,
		"Creates the value, which must not exist yet, and the objects on the way to it. An index of an array inserts before that element.",
		done(400, 404, 408, 409, 412, 413, 503, 507), changing...)
	patch := doc("PATCH", "Replace "+what, "Replaces the value, which must exist, whole.",
		done(400, 404, 408, 412, 413, 503, 507), changing...)
	post.RequestBody, put.RequestBody, patch.RequestBody = value, value, value
	const inOrder = "The value, in canonical form."
	read := doc("GET", "Get "+what, "A last key that does not exist gives null.", answer(inOrder, "application/json", anyValue(), 400, 404))
	if pattern == configPattern {
		read.Params = append(read.Params, formatParam("`caddyfile`, on /config/ only, gives the Caddyfile that the document was made from. Files that it imports are not part of it."))
		read.Responses = asText(answer(inOrder, "application/json", anyValue(), 400, 404, 409, 410),
			"With `format`: the document was changed since it was made from a text.")
	}
	read.Responses[0].Headers = []ParamDoc{etagHeader("For If-Match of a later change.")}
	return []route{
		{read, get},
		{post, write}, {put, write}, {patch, write},
		{doc("DELETE", "Remove "+what, "Removes the value, which must exist.",
			done(400, 404, 412, 503, 507), changing...), write},
	}
}

func etagHeader(description string) ParamDoc {
	return ParamDoc{Name: "Etag", Description: description, Schema: kind("string")}
}

func (a *API) loadRoutes() []route {
	text := &BodyDoc{Description: "A document. The content type `text/caddyfile` is a Caddyfile; one that ends in `/json`, or none, is JSON. An empty body is null in JSON.",
		Types: []string{"application/json", textType}, Schema: anyValue()}
	loaded := done(400, 408, 413, 503, 507)
	loaded[0].Description += " The body is empty, or a JSON list of what an adapter warns of."
	loaded[0].Also = []ContentDoc{{Type: "text/plain", Schema: notesSchema()}}
	result := object(map[string]any{"warnings": notesSchema(), "result": anyValue()})
	return []route{
		{RouteDoc{Method: "POST", Pattern: "/load", Summary: "Replace the whole document",
			Description: "A Caddyfile is kept with the revision that it makes, and GET /config/?format=caddyfile gives it back until the document changes.",
			Params:      []ParamDoc{dryRunParam(), forceParam(), sourceParam()}, RequestBody: text, Responses: loaded}, a.load},
		{RouteDoc{Method: "POST", Pattern: "/adapt", Summary: "Turn a text into a document, and load nothing", Params: []ParamDoc{sourceParam()},
			RequestBody: text, Responses: answer("The document.", "application/json", result, 400, 408, 413, 503)}, a.adaptOnly},
		{RouteDoc{Method: "POST", Pattern: "/stop", Summary: "Stop the process gracefully",
			Params: []ParamDoc{dryRunParam()}, Responses: answer("The process is about to stop.", "", nil, 400)}, a.stop},
		a.upgradeRoute(),
	}
}

func (a *API) revisionRoutes() []route {
	number := ParamDoc{Name: revisionParam, In: "path", Required: true, Schema: kind("string"), Description: "The number of a revision."}
	either := number
	either.Description += " Two of them, as in `3..7`, compare their documents."
	meta := map[string]any{"number": kind("integer"), "time": schema.Schema{"type": "string", "format": "date-time"},
		"origin": kind("string"), "verb": kind("string"), "path": kind("string"), "digest": kind("string"),
		"bytes": kind("integer"), "source_type": kind("string")}
	full := object(map[string]any{"value": anyValue(), "source": kind("string"), "document": anyValue()})
	diff := object(map[string]any{"from": kind("integer"), "to": kind("integer"), "changes": listOf(object(map[string]any{
		"op": schema.Schema{"enum": []any{"add", "remove", "replace"}}, "pointer": kind("string"), "old": anyValue(), "new": anyValue()}))})
	shown := schema.Schema{"anyOf": []any{schema.Schema{"allOf": []any{object(meta), full}}, diff}}
	showing := asText(answer("The revision, or the differences.", "application/json", shown, 400, 404, 409, 410),
		"With `format`: the document was changed between the last text and this revision.")
	showing[0].Headers = []ParamDoc{etagHeader("With `format`: the Etag that GET /config/ has for the document of this revision.")}
	return []route{
		{RouteDoc{Method: "GET", Pattern: "/revisions", Summary: "List the revisions, newest first",
			Params: []ParamDoc{
				{Name: "before", In: "query", Description: "Only revisions with smaller numbers.", Schema: kind("integer")},
				{Name: "limit", In: "query", Description: "At most so many, from 1 to 1000; 100 if not given.", Schema: kind("integer")}},
			Responses: answer("The revisions.", "application/json", listOf(object(meta)), 400, 404)}, a.listRevisions},
		{RouteDoc{Method: "GET", Pattern: "/revisions/{revision}", Summary: "Get a revision with its document, or compare two",
			Params:    []ParamDoc{either, formatParam("`caddyfile` gives only the Caddyfile that the document of the revision was made from.")},
			Responses: showing}, a.showRevision},
		{RouteDoc{Method: "POST", Pattern: "/revisions/{revision}/restore", Summary: "Load the document of a revision again, as a new revision",
			Params: []ParamDoc{number, dryRunParam(), ifMatchParam(), forceParam()}, Responses: done(400, 404, 410, 412, 503, 507)}, a.restore},
	}
}

func (a *API) stateRoutes() []route {
	state := object(map[string]any{"status": kind("string"), "version": kind("string"), "revision": kind("integer")})
	live := answer("The process answers.", "application/json", state)
	ready := answer("Everything in the document is being served.", "application/json", state, 503)
	return []route{
		{RouteDoc{Method: "GET", Pattern: "/schema", Summary: "Get the JSON Schema of documents",
			Responses: answer("The schema.", "application/schema+json", kind("object"), 404)}, a.showSchema},
		{RouteDoc{Method: "GET", Pattern: healthPattern, Summary: "Whether the process is alive", Description: "Needs no token.",
			Responses: live}, a.healthz},
		{RouteDoc{Method: "GET", Pattern: readyPattern, Summary: "Whether the process serves what it should", Description: "Needs no token; the reasons are shown only to who has one.",
			Responses: ready}, a.readyz},
	}
}

func (a *API) debugRoutes() []route {
	doc := func(pattern, summary, contentType string) RouteDoc {
		d := RouteDoc{Method: AnyMethod, Pattern: pattern, Summary: summary, Responses: answer("The answer.", contentType, nil)}
		if pattern == "/debug/pprof/*" {
			d.Params = []ParamDoc{{Name: "*", In: "path", Required: true, Description: "The name of a profile; none lists them.", Schema: kind("string")}}
		}
		return d
	}
	return []route{
		{doc("/metrics", "Metrics for Prometheus", "text/plain"), a.metrics},
		{doc("/debug/pprof/*", "Profiles of the process", "application/octet-stream"), profileIndex},
		{doc("/debug/pprof/cmdline", "The command line", "text/plain"), plain(pprof.Cmdline)},
		{doc("/debug/pprof/profile", "A CPU profile", "application/octet-stream"), plain(pprof.Profile)},
		{doc("/debug/pprof/symbol", "Names of program counters", "text/plain"), plain(pprof.Symbol)},
		{doc("/debug/pprof/trace", "An execution trace", "application/octet-stream"), plain(pprof.Trace)},
		{doc("/debug/vars", "Variables of the process", "application/json"), variables},
	}
}
