// Package templates executes responses as text templates. Its module is named
// templates; what templates can do is in package engine.
package templates

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"text/template"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/templates/engine"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Config is the handler templates. It executes the responses of the handlers that
// follow as Go text templates. Whoever can write such a response can read all
// files below the root and the environment. Output is not escaped.
//
// A template that fails gives error 500, and nothing of it is sent. A response of
// more than 32 MiB is an error, and so is one that is only a range of a page.
// Compressed responses are left alone.
//
// A template knows of the request .Req, .OriginalReq (before rewrites), .Host,
// .RemoteIP, .ClientIP and .Cookie "name", and of the response .RespHeader with Add,
// Set, Del and Get. Its functions, beside those of Go and all text functions of
// Sprig 3.3, are: include "file" args... (a template, which sees .Args), import
// "file" (its definitions), readFile, fileExists, fileStat and listFiles;
// httpInclude "/uri" (what this site answers); placeholder "name", or ph, and env
// "NAME"; markdown, splitFrontMatter (.Meta and .Body), stripHTML, pathEscape;
// humanize "size" or "time" and the value; httpError status, which ends the page;
// maybe "name" args..., which calls a function if there is one.
type Config struct {
	// FileRoot is the folder that file functions read below; placeholders are
	// replaced. Default: {http.vars.root}, and the working directory if that is
	// not set.
	FileRoot string `json:"file_root,omitempty"`
	// MIMETypes are the content types that are executed: those that have one of
	// these texts in them. Default: text/html, text/plain, text/markdown.
	MIMETypes []string `json:"mime_types,omitempty"`
	// Delimiters are the two texts around actions. Default: {{ and }}.
	Delimiters []string `json:"delimiters,omitempty"`
	// Match adds functions to templates, by the names of modules. In spite of its
	// name it is no matcher.
	Match map[string]module.Ref[Functions] `json:"match,omitempty" module:"http.handlers.templates.functions" keyed:"true"`
}

// Functions adds functions to templates. Its modules are
// http.handlers.templates.functions.*; none is built in.
type Functions interface {
	// TemplateFunctions returns the functions, which must be safe for concurrent
	// use.
	TemplateFunctions() template.FuncMap
}

const (
	functionsNamespace = "http.handlers.templates.functions"
	loggerName         = "http.handlers.templates"
)

var (
	defaultTypes = []string{"text/html", "text/plain", "text/markdown"}
	defaultRoot  = vars.Parse("{http.vars.root}")
)

// Spec describes the handler.
func Spec() module.Spec {
	return module.New("http.handlers.templates", "Executes responses as text templates.", nil, compile, module.Examples(
		module.Example{Title: "Pages with parts in other files", JSON: `{"handler": "templates", "file_root": "/srv/www"}`},
		module.Example{Title: "Other delimiters, and only HTML", JSON: `{"handler": "templates", "mime_types": ["text/html"], "delimiters": ["[[", "]]"]}`},
	), module.Directives(module.Directive{Name: "templates", Read: readTemplates}))
}

type handler struct {
	root   vars.Text
	types  []string
	engine func() *engine.Engine // made at its first use
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{root: defaultRoot, types: defaultTypes}
	if cfg.FileRoot != "" {
		h.root = vars.Parse(cfg.FileRoot)
		if err := h.root.Err(); err != nil {
			return nil, module.Problem("/file_root", err.Error())
		}
	}
	if cfg.MIMETypes != nil {
		h.types = cfg.MIMETypes
	}
	var o engine.Options
	switch {
	case cfg.Delimiters == nil:
	case len(cfg.Delimiters) != 2:
		return nil, module.Problem("/delimiters", "delimiters must be exactly two texts, such as [\"{{\", \"}}\"]")
	default:
		o.Delimiters = [2]string(cfg.Delimiters)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Match)) {
		if o.Functions == nil {
			o.Functions = template.FuncMap{}
		}
		maps.Copy(o.Functions, cfg.Match[name].Value().TemplateFunctions())
	}
	h.engine = sync.OnceValue(func() *engine.Engine { return engine.New(o) })
	return h, nil
}

var (
	errTooLong = errors.New("the response is too long to be a template; it may have 32 MiB")
	errRange   = errors.New("the response is a range of a template")
)

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	b := newBuffer(w, h.types)
	defer b.free()
	err := next.ServeHTTP(b, r)
	switch {
	case !b.held:
		return err
	case b.tooLong:
		err = handlers.NewError(http.StatusInternalServerError, errTooLong)
	case err == nil && b.status == http.StatusPartialContent:
		w.Header().Del("Content-Range")
		err = handlers.NewError(http.StatusRequestedRangeNotSatisfiable, errRange)
	}
	if err != nil {
		engine.ForgetBody(w.Header())
		return err
	}
	return h.execute(w, r, b)
}

// responseName is what errors call the template that a response is.
const responseName = "response"

func (h *handler) execute(w http.ResponseWriter, r *http.Request, b *buffer) error {
	header := w.Header()
	for _, name := range []string{"Content-Length", "Accept-Ranges", "Last-Modified", "Etag"} {
		header.Del(name)
	}
	if r.Method == http.MethodHead && b.body.Len() == 0 {
		w.WriteHeader(b.status) // the length of what a GET would get is not known
		return nil
	}
	root := h.root.Expand(handlers.Of(r), vars.All, ".")
	out := getBuffer()
	defer putBuffer(out)
	c := engine.NewContext(w, r, root, loggerName)
	if err := h.engine().Execute(out, responseName, b.body.String(), c, c); err != nil {
		engine.ForgetBody(header)
		var own *handlers.Error
		if errors.As(err, &own) {
			return own
		}
		return handlers.NewError(http.StatusInternalServerError, err)
	}
	header.Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(b.status)
	_, err := w.Write(out.Bytes())
	return err
}
