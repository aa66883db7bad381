package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/internal/memory"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
)

// partMark makes the root of a document that is only a part of what is stored
// unequal to any other document. It is never shown or stored.
const partMark = "part of the document, as --best-effort runs it"

// maxRounds bounds how often a best-effort start looks for more problems.
const maxRounds = 64

// startPart runs what can be run of the last revision. The stored document
// stays as it is: it is what the admin API shows and edits, and as soon as an
// edit makes all of it run, all of it does.
func (p *process) startPart(ctx context.Context, whole *config.Doc, revision uint64, problems schema.Problems) error {
	p.logs.Flush()
	part, reasons := whole, []string(nil)
	eng := p.host.engine
	for round := 0; len(problems) > 0; round++ {
		cut, err := p.places(ctx, eng, part, problems)
		if err != nil || round == maxRounds {
			return fmt.Errorf("--best-effort: revision %d does not start: %w", revision, errors.Join(problems, err))
		}
		for _, c := range cut {
			p.log.Error("left out of a best-effort start", zap.String("pointer", c.path.Pointer()), zap.String("problem", c.why))
			reasons = append(reasons, "left out "+c.path.Pointer()+": "+c.why)
			if part, err = p.leaveOut(part, c.path); err != nil {
				return fmt.Errorf("--best-effort: %w", err)
			}
		}
		if problems, err = tryDocument(ctx, eng, part); err != nil {
			return fmt.Errorf("--best-effort: %w", err)
		}
	}
	if err := eng.Shutdown(ctx); err != nil { // it has never run anything
		return fmt.Errorf("--best-effort: %w", err)
	}
	marked, err := part.Apply(config.Edit{Verb: config.Post, Path: config.Path{"@id"}, Value: config.NewString(partMark)})
	if err != nil {
		return fmt.Errorf("--best-effort: %w", err)
	}
	if p.host.engine, err = p.newEngine(marked, revision); err != nil {
		return err
	}
	// From the moment the admin endpoint opens it shows the whole document.
	p.host.partial.Store(&partial{whole, revision})
	p.host.trouble.Store(&reasons)
	report, err := p.host.engine.Apply(ctx, server.Change{Edit: config.Edit{Whole: true, Value: marked.Root().Clone()}, Force: true})
	if err != nil {
		return fmt.Errorf("--best-effort: %w", err)
	}
	memory.GiveBack(report.Built)
	p.log.Warn(fmt.Sprintf("running revision %d without %d parts that have problems; the stored document stays as it is, and runs whole as soon as it is repaired", revision, len(reasons)))
	return nil
}

// omission is something that is left out, and why.
type omission struct {
	path config.Path
	why  string
}

// tryDocument finds the problems of a document without running it.
func tryDocument(ctx context.Context, eng *server.Engine, doc *config.Doc) (schema.Problems, error) {
	_, err := eng.Apply(ctx, server.Change{Edit: config.Edit{Whole: true, Value: doc.Root().Clone()}, DryRun: true, Force: true})
	var rejected *server.Rejected
	if errors.As(err, &rejected) {
		return rejected.Problems, nil
	}
	return nil, err
}

// places says what to leave out because of problems, deepest and last first, so
// that each path holds when its turn comes.
func (p *process) places(ctx context.Context, eng *server.Engine, doc *config.Doc, problems schema.Problems) ([]omission, error) {
	var cut []omission
	add := func(path config.Path, why string) {
		if !slices.ContainsFunc(cut, func(c omission) bool { return slices.Equal(c.path, path) }) {
			cut = append(cut, omission{path, why})
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
		if err := p.blame(ctx, eng, doc, add); err != nil {
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
func deepestFirst(a, b omission) int {
	if n := len(b.path) - len(a.path); n != 0 {
		return n
	}
	return routeIndex(b.path) - routeIndex(a.path)
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
func (p *process) blame(ctx context.Context, eng *server.Engine, doc *config.Doc, add func(config.Path, string)) error {
	servers := doc.Root().Get("apps").Get("http").Get("servers")
	none := doc
	if servers.Len() > 0 {
		var err error
		if none, err = without(doc, serversPath()); err != nil {
			return err
		}
	}
	problems, err := tryDocument(ctx, eng, none)
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
		if problems, err = tryDocument(ctx, eng, alone); err != nil {
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
func (p *process) leaveOut(doc *config.Doc, path config.Path) (*config.Doc, error) {
	if len(path) > 1 || path[0] != "admin" {
		return without(doc, path)
	}
	object := config.NewObject(nil)
	if old := doc.Root().Get("admin"); old.Get("tokens") != nil || old.Len() == 0 || config.Equal(old, object) {
		object = ownerEndpoint(p.dirs)
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
