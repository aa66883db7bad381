package main

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// generated is the first line of each page.
const generated = "<!-- Written by `make generate` from the code. Do not edit. -->\n\n"

// book is the reference of all modules, one page for each.
type book struct {
	table    *module.Table
	comments map[string]string
	refused  map[string]string
	// places says where the modules of a namespace stand, or a fixed one, whose key
	// begins with "=".
	places map[string][]place
	shape  shaper
}

// place is a slot with what it belongs to.
type place struct {
	module, path string
	slot         slot
}

func newBook(table *module.Table, comments, refused map[string]string) *book {
	b := &book{table: table, comments: comments, refused: refused, places: map[string][]place{}}
	b.shape = shaper{one: b.slotPhrase(false), many: b.slotPhrase(true)}
	for _, id := range table.IDs() {
		s, _ := table.Schema(id)
		t := table.ConfigType(id)
		slotsIn(t, s, "", func(path string, sl slot) {
			key := sl.namespace
			if sl.fixed != "" {
				key = "=" + sl.fixed
			}
			b.places[key] = append(b.places[key], place{id, path, sl})
		})
	}
	return b
}

func (b *book) comment(name string) string { return b.comments[name] }

// namespaceOf splits a module ID. That of an app is whole.
func (b *book) namespaceOf(id string) (namespace, name string) {
	if spec, ok := b.table.Spec(id); ok && spec.App {
		return "", id
	}
	if i := strings.LastIndexByte(id, '.'); i >= 0 {
		return id[:i], id[i+1:]
	}
	return "", id
}

// page is the link to a module's page.
func page(id string) string { return "[`" + id + "`](" + id + ".md)" }

// kinds names what the modules of a namespace are: one of them, several, and
// the heading over all.
var kinds = map[string][3]string{
	"":                                      {"an object of apps", "apps", "Apps"},
	"http.handlers":                         {"a handler", "handlers", "Handlers"},
	"http.matchers":                         {"matchers", "sets of matchers", "Matchers"},
	"http.ip_sources":                       {"a source of IP ranges", "sources of IP ranges", "Sources of IP ranges"},
	"caddy.logging.writers":                 {"a log writer", "log writers", "Log writers"},
	"caddy.logging.encoders":                {"a log encoder", "log encoders", "Log encoders"},
	"http.reverse_proxy.selection_policies": {"a selection policy", "selection policies", "Selection policies of reverse_proxy"},
	"http.reverse_proxy.transport":          {"a transport", "transports", "Transports of reverse_proxy"},
	"http.reverse_proxy.upstreams":          {"a source of upstreams", "sources of upstreams", "Sources of upstreams"},
	"http.reverse_proxy.circuit_breakers":   {"a circuit breaker", "circuit breakers", "Circuit breakers of reverse_proxy"},
	"http.encoders":                         {"an encoder", "encoders", "Encoders of responses"},
	"http.precompressed":                    {"a precompressed format", "precompressed formats", "Precompressed formats"},
	"http.authentication.providers":         {"a provider", "providers", "Providers of authentication"},
	"http.authentication.hashes":            {"a hash algorithm", "hash algorithms", "Hash algorithms"},
	"caddy.listeners":                       {"a listener wrapper", "listener wrappers", "Listener wrappers"},
	"caddy.logging.encoders.filter":         {"a log filter", "log filters", "Log filters"},
	"tls.ca_pool.source":                    {"a source of CA certificates", "sources of CA certificates", "Sources of CA certificates"},
	"caddy.network_proxy":                   {"a network proxy", "network proxies", "Network proxies"},
	"caddy.storage":                         {"a storage", "storages", "Storages of certificates"},
	"caddy.config_loaders":                  {"a loader", "loaders", "Loaders of documents"},
	"tls.handshake_match":                   {"matchers of handshakes", "sets of matchers of handshakes", "Matchers of handshakes"},
	"tls.client_auth.verifier":              {"a verifier", "verifiers", "Verifiers of client certificates"},
	"tls.leaf_cert_loader":                  {"a loader", "loaders", "Loaders of client certificates"},
	"tls.stek":                              {"a source of keys", "sources of keys", "Sources of session ticket keys"},
	"dns.providers":                         {"a DNS provider", "DNS providers", "DNS providers"},
	"tls.issuance":                          {"an issuer", "issuers", "Issuers of certificates"},
	"tls.get_certificate":                   {"a manager", "managers", "Managers of certificates"},
	"tls.certificates":                      {"loaders by name", "loaders", "Loaders of certificates"},
	"tls.permission":                        {"a permission", "permissions", "Permissions for certificates on demand"},
	"tls.ech.publishers":                    {"a publisher", "publishers", "Publishers of Encrypted ClientHello"},
}

func kindOf(namespace string) [3]string {
	if k, ok := kinds[namespace]; ok {
		return k
	}
	return [3]string{"a module of `" + namespace + "`", "modules of `" + namespace + "`", "Modules of " + namespace}
}

// anchor is the link target that a heading gets.
func anchor(heading string) string {
	return strings.ToLower(strings.NewReplacer(" ", "-", ",", "", ".", "").Replace(heading))
}

func (b *book) slotPhrase(several bool) func(slot) string {
	return func(s slot) string {
		if s.fixed != "" {
			if several {
				return page(s.fixed) + " objects"
			}
			return page(s.fixed)
		}
		k := kindOf(s.namespace)
		text := k[0]
		if several {
			text = k[1]
		}
		if !b.ships(s.namespace) {
			return text + ", of which none comes with the program"
		}
		return "[" + text + "](index.md#" + anchor(k[2]) + ")"
	}
}

// ships reports whether a namespace has modules.
func (b *book) ships(namespace string) bool {
	return slices.ContainsFunc(b.table.IDs(), func(id string) bool {
		of, _ := b.namespaceOf(id)
		return of == namespace
	})
}

// pages returns the text of all pages by file name.
func (b *book) pages() map[string]string {
	out := map[string]string{"index.md": b.index()}
	for _, id := range b.table.IDs() {
		out[id+".md"] = b.module(id)
	}
	return out
}

func (b *book) module(id string) string {
	spec, _ := b.table.Spec(id)
	t := b.table.ConfigType(id)
	s := asObject(schema.Reflector{Comment: b.comment}.Reflect(t, reflect.Value{}))
	if own, ok := b.table.Schema(id); ok {
		s = merge(s, own)
	}
	var w strings.Builder
	w.WriteString(generated)
	fmt.Fprintf(&w, "# %s\n\n", id)
	w.WriteString(wrap(markdown(spec.Summary), ""))
	if text := withoutSubject(b.comments[typeName(t)]); text != "" {
		w.WriteString("\n" + wrap(markdown(text), ""))
	}
	w.WriteString("\n" + wrap(b.where(id), ""))
	w.WriteString(b.config(id, t, s))
	for i, e := range spec.Examples {
		if i == 0 {
			w.WriteString("\n## Examples\n")
		}
		text, err := pretty(e.JSON)
		if err != nil {
			text = e.JSON // the test of all examples says what is wrong with it
		}
		fmt.Fprintf(&w, "\n%s:\n\n```json\n%s\n```\n", strings.TrimSuffix(e.Title, "."), text)
	}
	return w.String()
}

// merge takes defaults from the schema that a module is checked by.
func merge(with, own map[string]any) map[string]any {
	props, from := asObject(with["properties"]), asObject(own["properties"])
	for name := range props {
		p, o := asObject(props[name]), asObject(from[name])
		if o == nil {
			continue
		}
		if def, ok := o["default"]; ok {
			p["default"] = def
		}
		merge(p, o)
	}
	return with
}

// where says in which fields a module stands.
func (b *book) where(id string) string {
	if id == rootModule {
		return "This is the document itself, what `/config/` is."
	}
	namespace, name := b.namespaceOf(id)
	list := b.places["="+id]
	if len(list) == 0 {
		list = b.places[namespace]
	}
	var parts []string
	for _, p := range list {
		at := "in `" + p.path + "` of " + page(p.module)
		if p.path == "" {
			at = "in the list " + page(p.module)
			if p.slot.keyed {
				at = "in " + page(p.module)
			}
		}
		if !slices.Contains(parts, at) {
			parts = append(parts, at)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	text := "Stands " + strings.Join(parts, ", ")
	switch {
	case list[0].slot.keyed:
		text += ", under the key `" + name + "`"
	case list[0].slot.inline != "":
		text += ", as the object with `\"" + list[0].slot.inline + "\": \"" + name + "\"`"
	}
	return text + "."
}

// config describes the value of a module.
func (b *book) config(id string, t reflect.Type, s map[string]any) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	namespace, _ := b.namespaceOf(id)
	if t.Kind() != reflect.Struct {
		if own, ok := b.table.Schema(id); ok {
			s = own
		}
		text := "\n" + wrap("The value is "+article(b.shape.phrase(s, false))+".", "")
		if inner, ok := elementStruct(t); ok {
			if fields := b.fields(inner, elementSchema(s), ""); fields != "" {
				text += "\nFields of each object:\n\n" + fields
			}
		}
		return text
	}
	if t.NumField() == 0 {
		inline := ""
		if list := b.places[namespace]; len(list) > 0 {
			inline = list[0].slot.inline
		}
		if inline != "" {
			return "\nIt has no fields beside `" + inline + "`.\n"
		}
		return "\nIt has no fields.\n"
	}
	text := "\n## Fields\n\n" + b.fields(t, s, "")
	if later := b.laterFields(t, ""); len(later) > 0 {
		text += "\n" + wrap("Known by name, and refused until a later version brings them: "+strings.Join(later, ", ")+".", "")
	}
	return text
}

func article(phrase string) string {
	if strings.HasPrefix(phrase, "list") {
		return "a " + phrase
	}
	if strings.HasPrefix(phrase, "object") {
		return "an " + phrase
	}
	return phrase
}

// fields lists the fields of a struct, those of inner objects indented.
func (b *book) fields(t reflect.Type, s map[string]any, indent string) string {
	var w strings.Builder
	props := asObject(s["properties"])
	for f := range schema.Fields(t) {
		if b.isLater(t, f) {
			continue
		}
		p := asObject(props[f.Name])
		w.WriteString(b.field(t, f, p, indent))
	}
	return w.String()
}

func (b *book) field(t reflect.Type, f schema.Field, p map[string]any, indent string) string {
	text, def := cutDefault(b.comments[typeName(ownerOf(t, f))+"."+f.GoName])
	if v, ok := p["default"]; ok {
		def = fmt.Sprint(v)
	}
	head := "**`" + f.Name + "`** — " + b.shape.phrase(p, false)
	if f.Rules.Required {
		head += ", required"
	}
	if def != "" {
		if !strings.Contains(def, " ") && !slices.Contains([]string{"none", "empty", "all", "off", "never"}, def) {
			def = "`" + strings.Trim(def, "`") + "`"
		} else {
			def = markdown(def)
		}
		head += " (default " + def + ")"
	}
	inner, nested := elementStruct(f.Type)
	if nested {
		if more := aboutType(b.comments, inner); more != "" {
			text += " " + more
		}
	}
	out := indent + "- " + strings.TrimPrefix(wrap(head+". "+markdown(text), indent+"  "), indent+"  ")
	if nested {
		out += b.fields(inner, elementSchema(p), indent+"  ")
	}
	return out
}

// aboutType is what the comments of a struct, and of those embedded in it, say
// beyond what it is.
func aboutType(comments map[string]string, t reflect.Type) string {
	var parts []string
	add := func(t reflect.Type) {
		if _, rest, ok := strings.Cut(comments[typeName(t)], ". "); ok {
			parts = append(parts, rest)
		}
	}
	add(t)
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Tag.Get("json") == "" {
			add(f.Type)
		}
	}
	return strings.Join(parts, " ")
}

// notYet is how the comment of a field says that a document with it is refused.
var notYet = regexp.MustCompile(`(?i)not supported yet\.$|comes? with a later version\.$`)

// isLater reports whether a field is known but not supported yet.
func (b *book) isLater(t reflect.Type, f schema.Field) bool {
	return f.Type == reflect.TypeFor[module.Later]() || notYet.MatchString(b.comments[typeName(ownerOf(t, f))+"."+f.GoName])
}

// laterFields names such fields of a struct, and of objects in it.
func (b *book) laterFields(t reflect.Type, path string) []string {
	var list []string
	for f := range schema.Fields(t) {
		if b.isLater(t, f) {
			list = append(list, "`"+path+f.Name+"`")
			continue
		}
		if inner, ok := elementStruct(f.Type); ok {
			list = append(list, b.laterFields(inner, path+f.Name+".")...)
		}
	}
	return list
}
