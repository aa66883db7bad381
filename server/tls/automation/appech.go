package automation

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
)

func (a *App) readECH(c *EncryptedClientHello, d publishers.Defaults) (problems schema.Problems) {
	if c == nil {
		return nil
	}
	for i, e := range c.Configs {
		at := "/encrypted_client_hello/configs/" + strconv.Itoa(i) + "/public_name"
		if n := len(e.PublicName); n < 1 || n > 255 {
			problems = append(problems, module.Problem(at, "public name length ("+strconv.Itoa(n)+") must be in the range 1-255")...)
			continue
		}
		name := normal(e.PublicName)
		if !certmagic.SubjectQualifiesForCert(name) || isIP(name) || strings.Contains(name, "*") {
			problems = append(problems, schema.Problem{Pointer: at, Found: name, Message: "the public name has to be a host name, without wildcards, since it gets a certificate"})
			continue
		}
		if slices.Contains(a.ech, name) {
			problems = append(problems, schema.Problem{Pointer: at, Found: name, Message: "this public name has a config already; one name has one"})
			continue
		}
		a.ech = append(a.ech, name)
	}
	return append(problems, a.readPublications(c, d)...)
}

// readPublications reads where configs are published. Where nothing is said of it, they are wherever the provider of the
// document can.
func (a *App) readPublications(c *EncryptedClientHello, d publishers.Defaults) (problems schema.Problems) {
	if c.Publication == nil && d.DNS.Value != nil && len(a.ech) > 0 {
		p, _ := publishers.NewDNS().With(d)
		a.publications = []publication{{publishers: []publishers.Publisher{p}}}
	}
	for i, entry := range c.Publication {
		at := "/encrypted_client_hello/publication/" + strconv.Itoa(i)
		p := publication{}
		for j, text := range entry.Configs {
			name := normal(text)
			if !slices.Contains(a.ech, name) {
				problems = append(problems, schema.Problem{Pointer: at + "/configs/" + strconv.Itoa(j), Found: text, Message: "no config has this public name", Expected: strings.Join(a.ech, ", ")})
			}
			p.configs = append(p.configs, name)
		}
		for j, text := range entry.Domains {
			name := normal(strings.TrimSuffix(text, "."))
			if !certmagic.SubjectQualifiesForCert(name) || isIP(name) || name == "*" {
				problems = append(problems, schema.Problem{Pointer: at + "/domains/" + strconv.Itoa(j), Found: text, Message: "this is no domain that could have records; want one such as example.com or *.example.com"})
			}
			p.domains = append(p.domains, name)
		}
		p.publishers, problems = a.readPublishers(at, entry, d, problems)
		a.publications = append(a.publications, p)
	}
	return problems
}

func (a *App) readPublishers(at string, entry ECHPublication, d publishers.Defaults, problems schema.Problems) ([]publishers.Publisher, schema.Problems) {
	var list []publishers.Publisher
	add := func(at string, p publishers.Publisher) {
		full, err := p.With(d)
		if err != nil {
			problems = append(problems, problemsOf(err).Under(at)...)
			return
		}
		list = append(list, full)
	}
	for _, name := range slices.Sorted(maps.Keys(entry.Publishers)) {
		add(at+"/publishers/"+name, entry.Publishers[name].Value())
	}
	if len(entry.Publishers) == 0 {
		add(at, publishers.NewDNS())
	}
	return list, problems
}

// problemsOf is an error as problems.
func problemsOf(err error) schema.Problems {
	var ps schema.Problems
	if !errors.As(err, &ps) {
		ps = module.Problem("", err.Error())
	}
	return ps
}
