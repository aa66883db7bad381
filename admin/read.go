package admin

import (
	"context"
	"net/http"
	"slices"

	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Limit is the longest text, in bytes, that can become a document.
func (a *API) Limit() int64 { return a.limits.MaxBody }

// Read makes a document of a text that did not come with a request, by the
// rules of POST /load: for content types, for languages and for how much may be
// in memory at a time. The result must be released.
func (a *API) Read(ctx context.Context, contentType string, text []byte) (*pulled.Document, error) {
	name, adapter, err := a.languageOf(contentType)
	if err != nil {
		return nil, err
	}
	size := int64(len(text))
	if size > a.limits.MaxBody {
		return nil, tooLarge(a.limits.MaxBody)
	}
	if !a.bodies.take(size) {
		return nil, overloaded("too much data is being read at once; try again in a moment")
	}
	b := &body{api: a, text: text, held: size}
	doc, err := a.readBodyAs(ctx, name, adapter, b)
	if err != nil {
		b.close()
		return nil, err
	}
	doc.Language, doc.Release = name, b.close
	return doc, nil
}

func (a *API) readBodyAs(ctx context.Context, name string, adapter Adapter, b *body) (*pulled.Document, error) {
	if adapter == nil {
		text := b.text // which outlives the room for it
		if err := b.admit(ctx); err != nil {
			return nil, err
		}
		root, warnings, err := config.Parse(text, config.Limits{})
		if err != nil {
			return nil, failf(http.StatusBadRequest, "decoding JSON: %v", err)
		}
		locate := func(ps schema.Problems) schema.Problems { return place{}.locate(ps, text) }
		return &pulled.Document{Root: root, Pure: true, Warnings: asProblems(warnings), Locate: locate}, nil
	}
	out, err := a.adaptBody(ctx, name, adapter, b, defaultFilename)
	if err != nil {
		return nil, err
	}
	doc := &pulled.Document{Root: out.Root, Pure: out.Pure, Warnings: asWarnings(out.Warnings)}
	if out.Place != nil {
		doc.Locate = func(ps schema.Problems) schema.Problems {
			n := min(len(ps), maxProblems)
			return slices.Concat(out.Place(slices.Clone(ps[:n])), ps[n:])
		}
	}
	return doc, nil
}
