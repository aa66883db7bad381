package server

import (
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/nameset"
)

// nameKeeper tells the certificates of the process which names servers have. It
// looks at the names that came and left, not at those that stay. The applier
// alone uses it.
type nameKeeper struct {
	certificates Certificates
	globals      vars.Scope
	servers      map[string]servedNames
	// those that are managed unless a loaded certificate covers them, and those
	// that always are
	usual, always nameset.Set
}

// servedNames is what a server had last.
type servedNames struct {
	hosts nameset.Set
	https AutoHTTPSConfig
}

// update takes the servers of a new generation.
func (k *nameKeeper) update(app *App) {
	if k.certificates == nil {
		return
	}
	k.certificates.SetPorts(app.httpPort, app.httpsPort)
	now := map[string]servedNames{}
	for name, b := range app.servers {
		if b.decision.manages {
			now[name] = servedNames{b.Server.routes.Hosts(), b.https}
		}
	}
	usual, always := k.usual, k.always
	for name, old := range k.servers {
		if next, ok := now[name]; !ok || !reflect.DeepEqual(next.https, old.https) {
			for host := range old.hosts.All() {
				k.count(old.https, host, -1)
			}
		}
	}
	for name, next := range now {
		if old, ok := k.servers[name]; ok && reflect.DeepEqual(next.https, old.https) {
			nameset.Diff(old.hosts, next.hosts,
				func(host string) { k.count(next.https, host, -1) }, func(host string) { k.count(next.https, host, 1) })
			continue
		}
		for host := range next.hosts.All() {
			k.count(next.https, host, 1)
		}
	}
	k.servers = now
	tell(usual, k.usual, k.certificates.Manage)
	tell(always, k.always, k.certificates.ManageAlways)
	k.certificates.Serves(app.served(k.globals))
}

// tell tells of the difference between two sets.
func tell(before, now nameset.Set, manage func(added, removed []string)) {
	var added, removed []string
	nameset.Diff(before, now, func(n string) { removed = append(removed, n) }, func(n string) { added = append(added, n) })
	if len(added)+len(removed) > 0 {
		manage(added, removed)
	}
}

// count enters a host of a server n times more.
func (k *nameKeeper) count(c AutoHTTPSConfig, host string, n int) {
	name := host
	if strings.Contains(host, "{") {
		name = strings.ToLower(vars.Parse(host).Expand(k.globals, vars.Known, ""))
	}
	if slices.Contains(c.Skip, name) || slices.Contains(c.SkipCertificates, name) {
		return
	}
	if !certmagic.SubjectQualifiesForCert(name) {
		return
	}
	if c.IgnoreLoadedCertificates {
		k.always = k.always.Add(name, n)
	} else {
		k.usual = k.usual.Add(name, n)
	}
}
