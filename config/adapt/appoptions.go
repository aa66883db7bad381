package adapt

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/events"
)

// appReaders is the global options about apps of their own.
var appReaders = map[string]option{
	"events":     readEvents,
	"filesystem": readFilesystem,
}

// subscriptions is the block of the option events.
type subscriptions struct {
	use  *module.Use
	list []*config.Node
}

var eventLines = caddyfile.Options[subscriptions]{Unknown: "unrecognized events option '%s'", Lines: []caddyfile.Option[subscriptions]{
	{Name: "on", Args: caddyfile.AtLeast(2), Block: true, Set: func(s *subscriptions, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		name := args[0].Text
		if name == "*" {
			name = ""
		}
		d.Back(len(args) - 2)
		handler, err := s.use.Module(d, events.Namespace, events.InlineKey)
		if err != nil {
			return err
		}
		s.list = append(s.list, config.NewObject(members{"events": config.NewStrings([]string{name}), "handlers": config.NewArray([]*config.Node{handler})}))
		return nil
	}},
}}

func readEvents(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	s := &subscriptions{use: u}
	if err := eventLines.Parse(d, s); err != nil {
		return err
	}
	if len(s.list) > 0 {
		r.options.apps[events.ID] = config.NewObject(members{"subscriptions": config.NewArray(s.list)})
	}
	return nil
}

func readFilesystem(r *run, u *module.Use, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if !d.NextArg() {
		return d.ArgErr()
	}
	backend, err := u.Module(d, "caddy.fs", "backend")
	if err != nil {
		return err
	}
	const app = "caddy.filesystems"
	var list []*config.Node
	for _, n := range r.options.apps[app].Get("filesystems").Elements() {
		list = append(list, n)
	}
	list = append(list, config.NewObject(members{"name": config.NewString(name), "file_system": backend}))
	r.options.apps[app] = config.NewObject(members{"filesystems": config.NewArray(list)})
	return nil
}
