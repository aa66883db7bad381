package main

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/internal/bench/certs"
	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// named is what a server did with many names whose certificates are in a
// storage.
type named struct {
	start   time.Duration // until each name that is asked for has its certificate
	patches []time.Duration
	added   time.Duration // until the added name has one
	touched int           // names whose files are new or were written when one name was added
	rss     float64
}

func managedName(i int) string { return fmt.Sprintf("site%d.localhost", i) }

// names measures a start with many managed names, and what an edit costs then.
func (b *bench) names() error {
	for _, n := range b.managed {
		b.printf("names: start with the certificates of %d names in a storage, change one route, add one name\n", n)
		storage := filepath.Join(b.dir, "storage-"+strconv.Itoa(n))
		if err := certs.Fill(b.ctx, storage, n, managedName); err != nil {
			return err
		}
		var own *named
		for _, m := range b.models() {
			copied := filepath.Join(b.dir, m.name+"-storage")
			if err := os.CopyFS(copied, os.DirFS(storage)); err != nil {
				return err
			}
			g, err := b.manage(m, n, copied)
			if err != nil {
				return fmt.Errorf("%s with %d names: %w", m.name, n, err)
			}
			b.printf("%-8s start %8.1f ms  PATCH of one route %7.2f ms  one more name %8.1f ms, %d touched  resident %6.1f MB\n",
				m.name, ms(g.start), ms(median(g.patches)), ms(g.added), g.touched, g.rss)
			if own == nil {
				own = g
				if err := b.withoutTLS(m, n, own); err != nil {
					return err
				}
				continue
			}
			b.printf("sluice/%s: start %s  PATCH %s  resident %s\n", m.name, ratio(ms(own.start), ms(g.start)),
				ratio(ms(median(own.patches)), ms(median(g.patches))), ratio(own.rss, g.rss))
		}
	}
	return nil
}

// withoutTLS compares with the same document in clear text.
func (b *bench) withoutTLS(m *model, n int, own *named) error {
	plain := &model{name: m.name, bin: m.bin}
	if err := b.place(plain, fmt.Sprint("plain", n)); err != nil {
		return err
	}
	if err := b.boot(plain, namesSite(plain.admin.addr, plain.data, "", n)); err != nil {
		return err
	}
	defer plain.end()
	times, err := b.patchNames(plain, n)
	if err != nil {
		return err
	}
	with, without := ms(median(own.patches)), ms(median(times))
	b.printf("%-8s PATCH of one route without TLS %7.2f ms: with it %s%s\n", m.name, without, ratio(with, without), verdict(with/without, 3, "x%g"))
	return nil
}

// manage takes one server through the case.
func (b *bench) manage(m *model, n int, storage string) (*named, error) {
	if err := b.place(m, fmt.Sprint("names", n)); err != nil {
		return nil, err
	}
	defer os.RemoveAll(m.home)
	before := time.Now()
	if err := b.boot(m, namesSite(m.admin.addr, m.data, storage, n)); err != nil {
		return nil, err
	}
	defer m.end()
	g := &named{}
	for i := 0; i < n; i += max(1, n/200) {
		if err := b.untilServed(m.data, managedName(i), before.Add(time.Minute)); err != nil {
			return nil, err
		}
	}
	if err := b.untilServed(m.data, managedName(n-1), before.Add(time.Minute)); err != nil {
		return nil, err
	}
	g.start = time.Since(before)
	var err error
	if g.patches, err = b.patchNames(m, n); err != nil {
		return nil, err
	}
	if err := b.sleep(b.settle); err != nil {
		return nil, err
	}
	if g.rss, err = machine.ResidentMB(m.pid()); err != nil {
		return nil, err
	}
	return g, b.addName(m, n, storage, g)
}

// addName adds a route for one more name and waits for its certificate.
func (b *bench) addName(m *model, n int, storage string, g *named) error {
	start := time.Now()
	if _, err := m.admin.call(b, "POST", "/config/apps/http/servers/s/routes", encode(namedRoute(n))); err != nil {
		return err
	}
	if err := b.untilServed(m.data, managedName(n), start.Add(time.Minute)); err != nil {
		return err
	}
	g.added = time.Since(start)
	folders := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(storage, "certificates"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(start) {
			folders[filepath.Dir(path)] = true
		}
		return err
	})
	g.touched = len(folders)
	return err
}

func (b *bench) patchNames(m *model, n int) ([]time.Duration, error) {
	var out []time.Duration
	for k := range b.patches {
		d, err := m.admin.timed(b, "PATCH", "/id/r"+strconv.Itoa(n/2)+"/handle/0/body", encode("v"+strconv.Itoa(k)))
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// untilServed waits until a handshake for the name gives a certificate for it.
func (b *bench) untilServed(addr, name string, deadline time.Time) error {
	for {
		err := handshakeFor(addr, name)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no certificate for %s: %w", name, err)
		}
		if err := b.sleep(5 * time.Millisecond); err != nil {
			return err
		}
	}
}

func handshakeFor(addr, name string) error {
	raw, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	// Who signed it does not matter here; whether it is for the name does.
	conn := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		return err
	}
	return conn.ConnectionState().PeerCertificates[0].VerifyHostname(name)
}

func namedRoute(i int) object {
	return object{
		"@id": "r" + strconv.Itoa(i), "match": list{object{"host": list{managedName(i)}}},
		"handle": list{answer("v")}, "terminal": true,
	}
}

// namesSite is a document with n routes, each for a name of its own. With no
// storage it is served in clear text.
func namesSite(admin, data, storage string, n int) object {
	routes := make(list, n)
	for i := range routes {
		routes[i] = namedRoute(i)
	}
	server := httpServer(data, routes)
	d := document(admin, object{"s": server})
	if storage == "" {
		return d
	}
	server["automatic_https"] = object{"disable_redirects": true}
	d["storage"] = object{"module": "file_system", "root": storage}
	apps := d["apps"].(object)
	apps["tls"] = object{"automation": object{"policies": list{object{"issuers": list{object{"module": "internal"}}}}}, "cache": object{"capacity": 2 * n}}
	apps["pki"] = object{"certificate_authorities": object{"local": object{"install_trust": false}}}
	return d
}
