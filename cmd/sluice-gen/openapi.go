package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/schema"
)

// The parts of an OpenAPI 3.1 description that are written. Structs keep the
// order in which a reader expects them.
type (
	openAPI struct {
		OpenAPI    string                    `json:"openapi"`
		Info       apiInfo                   `json:"info"`
		Servers    []apiServer               `json:"servers"`
		Security   []map[string][]string     `json:"security"`
		Paths      map[string]apiPath        `json:"paths"`
		Components map[string]map[string]any `json:"components"`
	}
	apiInfo struct {
		Title       string     `json:"title"`
		Version     string     `json:"version"`
		Description string     `json:"description"`
		License     apiLicense `json:"license"`
	}
	apiLicense struct {
		Name       string `json:"name"`
		Identifier string `json:"identifier"`
	}
	apiServer struct {
		URL         string `json:"url"`
		Description string `json:"description"`
	}
	apiPath      map[string]*apiOperation
	apiOperation struct {
		Summary     string                 `json:"summary"`
		Description string                 `json:"description,omitempty"`
		OperationID string                 `json:"operationId"`
		Security    *[]map[string][]string `json:"security,omitempty"`
		Parameters  []apiParam             `json:"parameters,omitempty"`
		RequestBody *apiBody               `json:"requestBody,omitempty"`
		Responses   map[string]apiResponse `json:"responses"`
	}
	apiParam struct {
		Name        string `json:"name"`
		In          string `json:"in"`
		Description string `json:"description,omitempty"`
		Required    bool   `json:"required,omitempty"`
		Schema      any    `json:"schema"`
	}
	apiBody struct {
		Description string              `json:"description,omitempty"`
		Required    bool                `json:"required,omitempty"`
		Content     map[string]apiMedia `json:"content"`
	}
	apiMedia struct {
		Schema any `json:"schema"`
	}
	apiResponse struct {
		Description string               `json:"description"`
		Headers     map[string]apiHeader `json:"headers,omitempty"`
		Content     map[string]apiMedia  `json:"content,omitempty"`
	}
	apiHeader struct {
		Description string `json:"description,omitempty"`
		Schema      any    `json:"schema"`
	}
)

const apiText = `The API through which the configuration of a running sluice is read and changed.

Every request is first checked: Host must be one of the names of the endpoint (403), requests of browsers must come from an allowed origin (403), WebSockets and requests whose answer cannot be read are refused (400), and where tokens are configured each request but /healthz and /readyz needs one (401).
A method that a path does not have is a 405, a path that does not exist a 404 in plain text, a path without the slash that it needs a redirect (307).
An error is a JSON object with the text in "error" and, where something in a document is wrong, each problem with its place in "problems".`

// describeAPI turns the admin package's route table into OpenAPI.
func describeAPI(routes []admin.RouteDoc) openAPI {
	api := openAPI{
		OpenAPI: "3.1.0",
		Info: apiInfo{Title: "sluice admin API", Version: "0", Description: apiText,
			License: apiLicense{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers:  []apiServer{{URL: "http://localhost:2019", Description: "the default address"}},
		Security: []map[string][]string{{}, {"token": {}}},
		Paths:    map[string]apiPath{},
		Components: map[string]map[string]any{
			"schemas": {
				"Document": map[string]any{"$ref": "schema.json"},
				"Error":    admin.ErrorSchema(),
			},
			"securitySchemes": {"token": map[string]any{"type": "http", "scheme": "bearer",
				"description": "Required only if the document has admin.tokens."}},
		},
	}
	for _, r := range routes {
		for _, path := range templates(r.Pattern) {
			if api.Paths[path] == nil {
				api.Paths[path] = apiPath{}
			}
			method := strings.ToLower(r.Method)
			if r.Method == admin.AnyMethod {
				method = "get"
			}
			api.Paths[path][method] = operation(r, path, method)
		}
	}
	return api
}

// templates are the OpenAPI paths of a route. A pattern that ends in /* is two:
// the path alone, and with a rest, because a parameter cannot be empty.
func templates(pattern string) []string {
	stem, tree := strings.CutSuffix(pattern, "*")
	if !tree {
		return []string{pattern}
	}
	return []string{stem, stem + "{path}"}
}

func operation(r admin.RouteDoc, path, method string) *apiOperation {
	o := &apiOperation{Summary: r.Summary, Description: r.Description, OperationID: operationID(method, path),
		Responses: map[string]apiResponse{}}
	if r.Method == admin.AnyMethod {
		o.Description = strings.TrimSpace(o.Description + " Other methods are answered in the same way.")
	}
	for _, p := range r.Params {
		if p.Name == "*" {
			if !strings.HasSuffix(path, "{path}") {
				continue
			}
			p.Name = "path"
			p.Description += " It may contain slashes."
		}
		o.Parameters = append(o.Parameters, apiParam{p.Name, p.In, p.Description, p.Required, p.Schema})
	}
	slices.SortStableFunc(o.Parameters, func(a, b apiParam) int { return cmp.Compare(rank(a.In), rank(b.In)) })
	if b := r.RequestBody; b != nil {
		o.RequestBody = &apiBody{Description: b.Description, Required: b.Required, Content: map[string]apiMedia{}}
		for _, t := range b.Types {
			o.RequestBody.Content[t] = apiMedia{bodySchema(path, t, b.Schema)}
		}
	}
	for _, res := range r.Responses {
		o.Responses[strconv.Itoa(res.Status)] = response(res)
	}
	return o
}

func rank(in string) int { return slices.Index([]string{"path", "query", "header"}, in) }

// operationID names an operation for generated clients: getConfigPath.
func operationID(method, path string) string {
	id := method
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}_", r) }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

// bodySchema is the schema of a request body: whole documents have a published
// one, and texts in other languages are text.
func bodySchema(path, contentType string, s schema.Schema) any {
	switch {
	case contentType != "application/json":
		return map[string]any{"type": "string"}
	case path == "/load":
		return map[string]any{"anyOf": []any{map[string]any{"$ref": "#/components/schemas/Document"}, map[string]any{"type": "null"}}}
	}
	return s
}

func response(r admin.ResponseDoc) apiResponse {
	out := apiResponse{Description: r.Description}
	for _, h := range r.Headers {
		if out.Headers == nil {
			out.Headers = map[string]apiHeader{}
		}
		out.Headers[h.Name] = apiHeader{h.Description, h.Schema}
	}
	if r.Type != "" {
		var s any = r.Schema
		switch {
		case r.Status >= 400 && isError(r.Schema):
			s = map[string]any{"$ref": "#/components/schemas/Error"}
		case r.Schema == nil:
			s = map[string]any{}
		}
		out.Content = map[string]apiMedia{r.Type: {s}}
	}
	for _, m := range r.Also {
		if out.Content == nil {
			out.Content = map[string]apiMedia{}
		}
		out.Content[m.Type] = apiMedia{m.Schema}
	}
	return out
}

// isError recognizes the schema of errors by its one required member.
func isError(s schema.Schema) bool {
	required, _ := s["required"].([]any)
	return slices.Equal(required, []any{"error"})
}
