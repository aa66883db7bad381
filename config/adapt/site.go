package adapt

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/address"
	"github.com/sluiceproxy/sluice/config/adapt/tlsadapt"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// site is a block with addresses.
type site struct {
	index int
	keys  []address.Address
	pile  *pile
	scope *scope
	used  bool // its routes are in the document already
}

// document makes the document of the blocks of a file.
func (r *run) document(blocks []caddyfile.ServerBlock) *config.Node {
	if len(blocks) > 0 && blocks[0].Kind == caddyfile.Global {
		r.readOptions(&blocks[0])
		blocks = blocks[1:]
	}
	r.completeTLS()
	if len(r.errs) > 0 {
		return nil
	}
	r.readNamedRoutes(blocks)
	var sites []*site
	for i := range blocks {
		if blocks[i].Kind == caddyfile.Site {
			if s := r.readSite(&blocks[i], len(sites)); s != nil {
				sites = append(sites, s)
			}
		}
		if len(r.errs) >= maxErrors {
			break
		}
	}
	if len(r.errs) > 0 {
		return nil
	}
	return r.assemble(sites)
}

func (r *run) readNamedRoutes(blocks []caddyfile.ServerBlock) {
	for i := range blocks {
		if blocks[i].Kind == caddyfile.NamedRoute && len(r.errs) < maxErrors {
			if err := r.named.read(r, &blocks[i]); err != nil {
				r.fail(err)
			}
		}
	}
}

// readSite runs the directives of a site.
func (r *run) readSite(b *caddyfile.ServerBlock, index int) *site {
	st := &site{index: index, pile: &pile{files: filesOf(b)}}
	for i, key := range b.Keys {
		if len(r.errs) >= maxErrors {
			break
		}
		if r.known(key.Text) {
			r.fail(key.ErrFirstf("parsed '%s' as a site address, but it is a known directive; directives must appear in a site block", caddyfile.Shorten(key.Text)))
			continue
		}
		a, err := address.Parse(key)
		if err != nil {
			r.fail(placed(key, err))
			continue
		}
		if a.Path != "" {
			r.warn(caddyfile.Warning{File: key.File(), Line: int(key.Line), Message: "paths in site addresses are an older spelling; use a path matcher in the site: " + caddyfile.Shorten(key.Text)})
		}
		a.Index = i
		st.keys = append(st.keys, a)
	}
	st.scope = &scope{run: r, groups: &r.groups, pile: st.pile}
	segments := make([]caddyfile.Segment, len(b.Segments))
	for i, seg := range b.Segments {
		segments[i] = expandShorthands(seg)
	}
	if err := st.scope.define(segments); err != nil {
		r.fail(err)
	}
	for _, seg := range segments {
		if len(r.errs) >= maxErrors {
			break
		}
		if !isDefinition(seg) {
			if err := st.scope.siteDirective(seg, b.Braces); err != nil {
				r.fail(err)
			}
		}
	}
	r.options.tls.Idle(&st.pile.tls, st.keys)
	return st
}

// siteDirective runs a directive that stands in a site itself.
func (s *scope) siteDirective(seg caddyfile.Segment, braces bool) error {
	name := seg[0]
	if s.directives[name.Text] == nil {
		if err := s.refusedDirective(name); err != nil {
			return err
		}
		sentence := "unrecognized directive: %s"
		if !braces {
			sentence += "\nDid you mean to define a second site? If so, you must use curly braces around each site to separate their configurations."
		}
		return name.ErrFirstf(sentence, caddyfile.Shorten(name.Text)).Suggest(name.Text, s.names)
	}
	made, err := s.directive(seg)
	if err != nil {
		return err
	}
	s.pile.bound = s.pile.bound || name.Text == "bind"
	for _, v := range made {
		s.pile.put(name, v)
	}
	return nil
}

// put sorts a value to its kind.
func (p *pile) put(name caddyfile.Token, v any) {
	switch v := v.(type) {
	case errorRoute:
		p.errors = append(p.errors, module.Route(v))
	case bind:
		if len(p.binds) == 0 {
			p.tls.BindHost = v.host
		}
		p.binds = append(p.binds, v)
	case accessLog:
		p.logs = append(p.logs, v)
	case *tlsadapt.Directive:
		p.tls.Directives = append(p.tls.Directives, v)
	default:
		if one, ok := routeValue(name.Text, v); ok {
			p.routes = append(p.routes, one)
		}
	}
}
