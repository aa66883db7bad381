package adapt

import (
	"slices"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/adapt/places"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// defaultAdmin is the address of the admin endpoint, which the document has
// where the option names none.
const defaultAdmin = "localhost:2019"

// adminOption is the option admin.
type adminOption struct {
	disabled      bool
	listen        string
	enforceOrigin bool
	origins       []string
	token         caddyfile.Token
}

var adminOptions = caddyfile.Options[adminOption]{Unknown: "unrecognized parameter '%s'", Lines: []caddyfile.Option[adminOption]{
	{Name: "enforce_origin", Set: caddyfile.Flag(func(a *adminOption) *bool { return &a.enforceOrigin })},
	{Name: "origins", Args: caddyfile.AtLeast(0), Set: func(a *adminOption, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		a.origins = nil
		for _, t := range args {
			a.origins = append(a.origins, t.Text)
		}
		return nil
	}},
}}

func readAdmin(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	a := &adminOption{listen: defaultAdmin, token: u.Token}
	r.options.admin, r.options.adminAt = a, r.places.Here(u.Token)
	if d.NextArg() {
		a.listen = d.Val()
		if a.listen == "off" {
			if d.Next() {
				return d.Errf("No more option is allowed after turning off admin config")
			}
			a.disabled = true
			return nil
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return adminOptions.Parse(d, a)
}

func readPersistConfig(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	var word string
	if !d.AllArgs(&word) {
		return d.ArgErr()
	}
	if word != "off" {
		return d.Errf("persist_config must be 'off'")
	}
	r.options.persist = new(bool)
	if r.options.admin == nil {
		r.options.adminAt = places.At(u.Token)
	}
	return nil
}

// adminNode is the document's admin, nil if nothing is said about it.
func (o *options) adminNode() *config.Node {
	m := members{}
	if a := o.admin; a != nil {
		if a.disabled {
			m["disabled"] = config.NewBool(true)
		} else {
			m["listen"] = config.NewString(a.listen)
		}
		if a.enforceOrigin {
			m["enforce_origin"] = config.NewBool(true)
		}
		if len(a.origins) > 0 {
			m["origins"] = config.NewStrings(a.origins)
		}
	}
	if o.persist != nil {
		m["config"] = config.NewObject(members{"persist": config.NewBool(false)})
	}
	if len(m) == 0 {
		return nil
	}
	return config.NewObject(m)
}

const defaultLogger = "default"

// loggingNode makes the document's logging of all loggers, nil if there are
// none. What other loggers include is excluded from the default one.
func (o *options) loggingNode(r *run, loggers map[string]*logger) *config.Node {
	configured := loggers[defaultLogger] != nil // be it empty
	var excluded []string
	nodes := map[string]members{}
	for name, l := range loggers {
		if l.node == nil {
			continue
		}
		m := members{}
		for k, v := range l.node.Members() {
			m[k] = v
		}
		if len(l.include) > 0 {
			m["include"] = config.NewStrings(l.include)
		}
		if o.debug && m["level"] == nil {
			m["level"] = config.NewString("DEBUG")
		}
		if name != defaultLogger {
			excluded = append(excluded, l.node.Get("include").Strings()...)
			excluded = append(excluded, l.include...)
		}
		nodes[name] = m
	}
	if o.debug && !configured {
		nodes[defaultLogger] = members{"level": config.NewString("DEBUG")}
	}
	if len(excluded) > 0 {
		m := nodes[defaultLogger]
		if m == nil {
			m = members{}
			nodes[defaultLogger] = m
		}
		if own := m["exclude"]; own != nil {
			for _, e := range own.Elements() {
				excluded = append(excluded, e.Str())
			}
		}
		slices.Sort(excluded)
		m["exclude"] = config.NewStrings(slices.Compact(excluded))
	}
	if len(nodes) == 0 {
		return nil
	}
	all := members{}
	for name, m := range nodes {
		n := config.NewObject(m)
		if l := loggers[name]; l != nil && l.node != nil {
			r.places.Moved(l.node, n)
		}
		all[name] = n
	}
	return config.NewObject(members{"logs": config.NewObject(all)})
}
