package admin

import "github.com/sluiceproxy/sluice/schema"

// AnyMethod is the method of a route that does not look at the method.
const AnyMethod = "*"

// RouteDoc describes one route of the API, for the OpenAPI description.
type RouteDoc struct {
	// Method is the HTTP method, or AnyMethod.
	Method string
	// Pattern is the path in the notation of the router: {name} is one segment,
	// a final /* any rest, also none.
	Pattern string
	// Summary is one short sentence, Description the rest that a user must know.
	Summary, Description string
	// Params are path, query and header parameters. The rest of a pattern that
	// ends in /* is the path parameter "*".
	Params []ParamDoc
	// RequestBody is nil if there is none.
	RequestBody *BodyDoc
	// Responses are the possible answers, in order of status.
	Responses []ResponseDoc
}

// ParamDoc describes a parameter of a request, or a header of a response.
type ParamDoc struct {
	Name string
	// In is "path", "query" or "header".
	In          string
	Description string
	Required    bool
	Schema      schema.Schema
}

// BodyDoc describes a request body.
type BodyDoc struct {
	Description string
	Required    bool
	// Types are the content types that are understood.
	Types  []string
	Schema schema.Schema
}

// ResponseDoc describes an answer.
type ResponseDoc struct {
	Status      int
	Description string
	// Type is the content type, "" for an empty body.
	Type   string
	Schema schema.Schema
	// Also are other content types that the body may have instead.
	Also    []ContentDoc
	Headers []ParamDoc
}

// ContentDoc describes a body of one content type.
type ContentDoc struct {
	Type   string
	Schema schema.Schema
}

// Routes lists all routes, in the order in which a reader wants them.
func Routes() []RouteDoc {
	var list []RouteDoc
	for _, rt := range (*API)(nil).routes() {
		list = append(list, rt.RouteDoc)
	}
	return list
}

func object(props map[string]any) schema.Schema {
	return schema.Schema{"type": "object", "properties": props}
}

func listOf(s schema.Schema) schema.Schema { return schema.Schema{"type": "array", "items": s} }

func kind(t string) schema.Schema { return schema.Schema{"type": t} }

func anyValue() schema.Schema { return schema.Schema{} }

func problemSchema() schema.Schema {
	return object(map[string]any{
		"pointer": kind("string"), "line": kind("integer"), "column": kind("integer"), "file": kind("string"),
		"message": kind("string"), "found": kind("string"), "expected": kind("string"), "nearest": kind("string"),
	})
}

// ErrorSchema is the schema of the body of every error but "404 page not found".
func ErrorSchema() schema.Schema {
	s := object(map[string]any{"error": kind("string"), "problems": listOf(problemSchema())})
	s["required"] = []any{"error"}
	return s
}

// failures are the answers with these statuses.
func failures(statuses ...int) []ResponseDoc {
	words := map[int]string{
		400: "The request is malformed, or the document it would lead to cannot run.",
		401: "A token is required.",
		403: "The Host or the Origin of the request is not allowed.",
		404: "There is no such place or object.",
		405: "The path does not have this method.",
		408: "The body did not arrive in time.",
		409: "The key exists already.",
		410: "The revision is no longer kept.",
		412: "The value named in If-Match is not what it was.",
		413: "The body is too large.",
		500: "Something went wrong that should not.",
		503: "There is too much to do; try again after the time in Retry-After.",
		507: "The change is valid but could not be stored, so it was not applied.",
	}
	var list []ResponseDoc
	for _, s := range statuses {
		r := ResponseDoc{Status: s, Description: words[s], Type: "application/json", Schema: ErrorSchema()}
		switch s {
		case 401:
			r.Headers = []ParamDoc{{Name: "WWW-Authenticate", Description: "Asks for a bearer token.", Schema: kind("string")}}
		case 503:
			r.Headers = []ParamDoc{{Name: "Retry-After", Description: "Seconds to wait.", Schema: kind("integer")}}
		}
		list = append(list, r)
	}
	return list
}

func answer(description, contentType string, s schema.Schema, more ...int) []ResponseDoc {
	ok := ResponseDoc{Status: 200, Description: description, Type: contentType, Schema: s}
	return append([]ResponseDoc{ok}, failures(append([]int{401, 403}, more...)...)...)
}

// done is the answer to a successful change.
func done(more ...int) []ResponseDoc {
	list := answer("The change is live and on disk.", "", nil, more...)
	list[0].Headers = []ParamDoc{
		{Name: "Sluice-Revision", Description: "The revision that is current now.", Schema: kind("integer")},
		{Name: "Sluice-Cost", Description: "What the change cost: `reused=…, built=…, closed=…, ms=…`, modules taken over, compiled and left behind, and milliseconds of work.", Schema: kind("string")},
		{Name: "Sluice-Warnings", Description: "How many things were accepted that are likely not meant; the log has them. Absent if none.", Schema: kind("integer")},
		{Name: "Sluice-Dry-Run", Description: "`true` if nothing was persisted or put to use.", Schema: kind("string")},
	}
	return list
}

func dryRunParam() ParamDoc {
	return ParamDoc{Name: "dry_run", In: "query", Schema: kind("boolean"),
		Description: "Do everything but persist the change and put it to use."}
}

// textType is the content type of the language that ships.
const textType = "text/caddyfile"

func formatParam(description string) ParamDoc {
	return ParamDoc{Name: "format", In: "query", Description: description,
		Schema: schema.Schema{"type": "string", "enum": []any{"json", "caddyfile"}, "default": "json"}}
}

// asText adds to an answer that it may be the text of a Caddyfile.
func asText(list []ResponseDoc, conflict string) []ResponseDoc {
	list[0].Also = []ContentDoc{{Type: textType, Schema: kind("string")}}
	for i := range list {
		switch list[i].Status {
		case 404:
			list[i].Description = "There is no such place, or, with `format`, there was never such a text."
		case 409:
			list[i].Description = conflict
		}
	}
	return list
}

func sourceParam() ParamDoc {
	return ParamDoc{Name: "Caddy-Config-Source-File", In: "header", Schema: kind("string"),
		Description: "The file that the body was read from: places in it are named so, and files that it imports are looked for next to it. `Caddyfile` if not given."}
}

// notesSchema is a list of AdaptWarning.
func notesSchema() schema.Schema {
	return listOf(object(map[string]any{"file": kind("string"), "line": kind("integer"), "directive": kind("string"), "message": kind("string")}))
}

func forceParam() ParamDoc {
	return ParamDoc{Name: "Cache-Control", In: "header", Schema: kind("string"),
		Description: "`must-revalidate` applies the change even if the document stays the same, and reads files and variables again."}
}

func ifMatchParam() ParamDoc {
	return ParamDoc{Name: "If-Match", In: "header", Schema: kind("string"),
		Description: "An `Etag` of any path, as a GET gave it: the change is made only if the value there is still the same."}
}
