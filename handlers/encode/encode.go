// Package encode compresses responses on their way to the client: the handler
// encode, and the encoders that it uses.
package encode

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
	"github.com/sluiceproxy/sluice/schema"
)

// Config is the handler encode.
type Config struct {
	// Encodings are the encodings to offer, by name: gzip, zstd, br. Without any,
	// responses stay as they are.
	Encodings map[string]module.Ref[*Encoding] `json:"encodings,omitempty" module:"http.encoders" keyed:"true"`
	// Prefer is the order of preference among encodings that a client likes equally;
	// those that are not named come last. Default: those of zstd, br and gzip, in
	// this order, that are offered.
	Prefer []string `json:"prefer,omitempty"`
	// MinimumLength is the number of bytes that a response must exceed to be
	// encoded: by its Content-Length, or else by the first piece that is written of
	// it. A negative number turns encoding off for all but event streams. Default:
	// 512.
	MinimumLength int `json:"minimum_length,omitempty"`
	// Match limits encoding to responses that match. Default: those with a
	// Content-Type of text, fonts, icons, SVG or one of the common formats of
	// applications, such as JSON, JavaScript and WebAssembly.
	Match *respmatch.Config `json:"match,omitempty"`
}

const defaultMinimumLength = 512

// Specs describes the handler and its encoders.
func Specs() []module.Spec {
	handler := module.New("http.handlers.encode", "Compresses responses for clients that accept it.", nil, compile, module.Examples(
		module.Example{Title: "Compress what is worth it", JSON: `{"handler": "encode", "encodings": {"zstd": {}, "gzip": {}}}`},
		module.Example{Title: "Offer Brotli first", JSON: `{"handler": "encode", "encodings": {"br": {"quality": 5}, "zstd": {}, "gzip": {}}, "prefer": ["br", "zstd", "gzip"]}`},
		module.Example{Title: "Only large JSON", JSON: `{"handler": "encode", "encodings": {"gzip": {"level": 7}}, "minimum_length": 4096, "match": {"headers": {"Content-Type": ["application/json*"]}}}`},
	), directives())
	return []module.Spec{handler, gzipSpec(), zstdSpec(), brotliSpec()}
}

type handler struct {
	offers  []offer
	known   map[string]*Encoding // the outcome for common lines
	minimum int64
	match   *respmatch.Matcher
}

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{minimum: int64(cfg.MinimumLength), match: defaultMatcher}
	if h.minimum == 0 {
		h.minimum = defaultMinimumLength
	}
	if cfg.Match != nil {
		h.match = respmatch.Compile(cfg.Match)
	}
	prefer, problems := preference(cfg)
	if len(problems) > 0 {
		return nil, problems
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Encodings)) {
		rank := slices.Index(prefer, name)
		if rank < 0 {
			rank = len(prefer)
		}
		h.offers = append(h.offers, offer{cfg.Encodings[name].Value(), rank})
	}
	h.prepare()
	return h, nil
}

func preference(cfg *Config) ([]string, schema.Problems) {
	if len(cfg.Prefer) == 0 {
		return []string{"zstd", "br", "gzip"}, nil
	}
	var problems schema.Problems
	for i, name := range cfg.Prefer {
		p := schema.Problem{Pointer: "/prefer/" + strconv.Itoa(i), Found: name}
		if _, ok := cfg.Encodings[name]; !ok {
			p.Message = fmt.Sprintf("prefer names the encoding %q, which is not among the encodings; add it there or take it out here", name)
			problems = append(problems, p)
		} else if slices.Index(cfg.Prefer, name) < i {
			p.Message = fmt.Sprintf("prefer names the encoding %q twice", name)
			problems = append(problems, p)
		}
	}
	return cfg.Prefer, problems
}

// defaultMatcher knows the types that are worth compressing, the most common
// ones first.
var defaultMatcher = respmatch.Compile(&respmatch.Config{Headers: map[string][]string{"Content-Type": {
	"text/*",
	"application/json*", "application/javascript*", "application/x-javascript*", "image/svg+xml*", "application/wasm*",
	"application/xml*", "application/xhtml+xml*", "application/rss+xml*", "application/atom+xml*", "application/manifest+json*",
	"application/ld+json*", "application/geo+json*", "application/graphql+json*", "application/graphql-response+json*", "application/vnd.api+json*",
	"application/eot*", "application/font*", "application/opentype*", "application/otf*", "application/truetype*", "application/ttf*",
	"application/vnd.ms-fontobject*", "application/x-opentype*", "application/x-otf*", "application/x-ttf*", "font/ttf*", "font/otf*",
	"application/x-httpd-cgi*", "application/x-perl*", "application/x-protobuf*",
	"image/vnd.microsoft.icon*", "image/x-icon*", "multipart/bag*", "multipart/mixed*",
}}})

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	encoding := h.choose(r)
	if encoding == nil {
		return next.ServeHTTP(w, r)
	}
	encoding.restoreTags(r.Header)
	e := &writer{
		under: w, handler: h, encoding: encoding, declared: -1,
		head: r.Method == http.MethodHead, connect: r.Method == http.MethodConnect,
	}
	err := next.ServeHTTP(e, r)
	e.finish(err != nil)
	return err
}
