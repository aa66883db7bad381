// Package salvage finds out what must be left out of a document so that the rest
// of it runs.
package salvage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
)

// maxRounds bounds how often it looks for more problems.
const maxRounds = 64

// Part returns the part of a document that runs, and what it is less than the
// whole: single routes, servers, apps or top-level objects. Nothing is put into
// force; eng only tries documents. The problems are those of the whole document.
// Where its admin object keeps somebody out but cannot be used, admin takes its
// place.
func Part(ctx context.Context, eng *server.Engine, whole *config.Doc, problems schema.Problems, admin *config.Node) (*config.Doc, []Omission, error) {
	part, out := whole, []Omission(nil)
	for round := 0; len(problems) > 0; round++ {
		cut, err := places(ctx, eng, part, problems)
		if err != nil || round == maxRounds {
			return nil, nil, errors.Join(problems, err)
		}
		for _, c := range cut {
			if part, err = leaveOut(part, c.Path, admin); err != nil {
				return nil, nil, err
			}
		}
		out = append(out, cut...)
		if problems, err = try(ctx, eng, part); err != nil {
			return nil, nil, err
		}
	}
	return part, out, nil
}

// Omission is something that is left out, and why.
type Omission struct {
	Path config.Path
	Why  string
}

// try finds the problems of a document without running it.
func try(ctx context.Context, eng *server.Engine, doc *config.Doc) (schema.Problems, error) {
	_, err := eng.Apply(ctx, server.Change{Edit: config.Edit{Whole: true, Value: doc.Root().Clone()}, DryRun: true, Force: true})
	var rejected *server.Rejected
	if errors.As(err, &rejected) {
		return rejected.Problems, nil
	}
	return nil, err
}

// places says what to leave out because of problems, deepest and last first, so
// that each path holds when its turn comes.
func places(ctx context.Context, eng *server.Engine, doc *config.Doc, problems schema.Problems) ([]Omission, error) {
	var cut []Omission
	add := func(path config.Path, why string) {
		if !slices.ContainsFunc(cut, func(c Omission) bool { return slices.Equal(c.Path, path) }) {
			cut = append(cut, Omission{path, why})
		}
	}
	unplaced := false
	for _, one := range problems {
		if path, ok := placeOf(one.Pointer); ok {
			add(path, one.String())
		} else {
			unplaced = true
		}
	}
	if unplaced && len(cut) == 0 {
		if err := blame(ctx, eng, doc, add); err != nil {
			return nil, err
		}
	}
	if len(cut) == 0 {
		return nil, errors.New("no server or route is to blame alone")
	}
	slices.SortStableFunc(cut, deepestFirst)
	return cut, nil
}

// deepestFirst orders what lies deeper before what lies above it, and routes of
// one list from the last to the first.
func deepestFirst(a, b Omission) int {
	if n := len(b.Path) - len(a.Path); n != 0 {
		return n
	}
	return routeIndex(b.Path) - routeIndex(a.Path)
}

// placeOf is the route, server, app or top-level object that a problem is in.
func placeOf(pointer string) (config.Path, bool) {
	path, ok := config.SplitPointer(pointer)
	if !ok || len(path) == 0 {
		return nil, false
	}
	switch {
	case path[0] != "apps":
		return path[:1], true
	case len(path) < 2:
		return nil, false
	case path[1] != "http":
		return path[:2], true
	case len(path) < 4 || path[2] != "servers":
		if len(path) == 2 {
			return nil, false
		}
		return path[:3], true
	case len(path) >= 6 && path[4] == "routes":
		return path[:6], true
	}
	return path[:4], true
}

func routeIndex(path config.Path) int {
	n, err := strconv.Atoi(path[len(path)-1])
	if err != nil {
		return 0
	}
	return n
}

// serversPath is where the servers stand in a document.
func serversPath(more ...string) config.Path {
	return append(config.Path{"apps", "http", "servers"}, more...)
}

// blame finds out by trying what is to blame for problems without a place, such
// as a port that is taken: single servers, or the admin object.
func blame(ctx context.Context, eng *server.Engine, doc *config.Doc, add func(config.Path, string)) error {
	servers := doc.Root().Get("apps").Get("http").Get("servers")
	none := doc
	if servers.Len() > 0 {
		var err error
		if none, err = without(doc, serversPath()); err != nil {
			return err
		}
	}
	problems, err := try(ctx, eng, none)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		if none.Root().Get("admin") != nil {
			add(config.Path{"admin"}, problems.Error())
		}
		return nil
	}
	for key := range servers.Members() {
		one := config.NewObject(map[string]*config.Node{key: servers.Get(key).Clone()})
		alone, err := none.Apply(config.Edit{Verb: config.Post, Path: serversPath(), Value: one})
		if err != nil {
			return fmt.Errorf("trying server %q alone: %w", key, err)
		}
		if problems, err = try(ctx, eng, alone); err != nil {
			return err
		}
		for _, each := range problems {
			add(serversPath(key), each.Message)
		}
	}
	return nil
}

// leaveOut returns the document less the value at a path. The admin object is
// replaced by one that opens an endpoint to nobody whom it kept out.
func leaveOut(doc *config.Doc, path config.Path, admin *config.Node) (*config.Doc, error) {
	if len(path) > 1 || path[0] != "admin" {
		return without(doc, path)
	}
	object := config.NewObject(nil)
	if old := doc.Root().Get("admin"); old.Get("tokens") != nil || old.Len() == 0 || config.Equal(old, object) {
		object = admin.Clone()
	}
	next, err := doc.Apply(config.Edit{Verb: config.Post, Path: path, Value: object})
	if err != nil {
		return nil, fmt.Errorf("leaving out %s: %w", path.Pointer(), err)
	}
	return next, nil
}

func without(doc *config.Doc, path config.Path) (*config.Doc, error) {
	next, err := doc.Apply(config.Edit{Verb: config.Delete, Path: path})
	if err != nil {
		return nil, fmt.Errorf("leaving out %s: %w", path.Pointer(), err)
	}
	return next, nil
}
