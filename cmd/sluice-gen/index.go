package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// index is the page that leads to all others.
func (b *book) index() string {
	var w strings.Builder
	w.WriteString(generated + indexHead)
	groups := map[string][]string{}
	var order []string
	for _, id := range b.table.IDs() {
		namespace, _ := b.namespaceOf(id)
		if len(b.places[namespace]) == 0 || len(b.places["="+id]) > 0 || id == rootModule {
			namespace = "-"
		}
		if groups[namespace] == nil {
			order = append(order, namespace)
		}
		groups[namespace] = append(groups[namespace], id)
	}
	for _, namespace := range order {
		heading := "The frame of a document"
		if namespace != "-" {
			heading = kindOf(namespace)[2]
		}
		fmt.Fprintf(&w, "\n## %s\n\n| module | what it does |\n|---|---|\n", heading)
		for _, id := range groups[namespace] {
			spec, _ := b.table.Spec(id)
			_, name := b.namespaceOf(id)
			if namespace == "-" || namespace == "" {
				name = id
			}
			fmt.Fprintf(&w, "| [`%s`](%s.md) | %s |\n", name, id, strings.ReplaceAll(markdown(spec.Summary), "|", `\|`))
		}
	}
	w.WriteString("\n## Known, and refused in this version\n\n" +
		wrap("A document that names one of these is refused, with the module's name and what to do instead.", "") + "\n")
	byReason := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(b.refused)) {
		if _, ok := b.table.Spec(id); !ok {
			byReason[b.refused[id]] = append(byReason[b.refused[id]], "`"+id+"`")
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		w.WriteString("- " + strings.TrimPrefix(wrap(strings.Join(byReason[reason], ", ")+": "+markdown(reason)+".", "  "), "  "))
	}
	return w.String()
}

const indexHead = `# Configuration reference

A document is one JSON object. What stands in it is made of modules, and each module has a page here:
what it does, its fields, and examples that a test runs.

` + "```json" + `
{
  "admin": {"listen": "localhost:2019"},
  "logging": {"logs": {"default": {"level": "INFO"}}},
  "apps": {"http": {"servers": {"example": {
    "listen": [":8080"],
    "routes": [
      {"@id": "api", "match": [{"path": ["/api/*"]}],
       "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:9000"}]}]},
      {"handle": [{"handler": "static_response", "body": "hello"}]}
    ]
  }}}}
}
` + "```" + `

What holds everywhere:

- A field that is absent is off, empty or 0, unless its page names a default.
- An unknown field is an error, reported with its place and the nearest name that exists.
- A duration is an integer of nanoseconds or text such as ` + "`\"10s\"`, `\"1m30s\"`, `\"1.5d\"`" + `; units are ns, us, ms, s, m, h and d.
- Every object may have an ` + "`\"@id\"`" + `, a name under which the admin API reaches it: ` + "`/id/NAME`" + `.
- Where a page speaks of placeholders, ` + "`{name}`" + ` in a text is replaced, such as ` + "`{http.request.host}`, `{env.HOME}`" + ` or
  ` + "`{http.vars.x}`" + `.

[` + "`openapi.json`" + `](../openapi.json) describes the admin API, [` + "`schema.json`" + `](../schema.json) is the JSON Schema of a
document, and [` + "`deviations.md`" + `](../deviations.md) lists where sluice differs from Caddy.
`
