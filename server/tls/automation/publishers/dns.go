package publishers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// DNS is the config of the publisher dns. For each domain it sets the parameters ech and alpn of the HTTPS records (RFC 9460)
// and leaves the rest of them as it is; where there is none it makes one. Domains without any record in their zone, and
// those that are aliases (CNAME), are left alone. Records stay when the document changes.
type DNS struct {
	// Provider is where the zones are. Default: that of the tls app's field dns.
	Provider module.Ref[dnsproviders.Provider] `json:"provider" module:"dns.providers" inline:"name"`
}

// What records are like that were not there before, and how long all of them may be kept by resolvers.
const (
	newPriority = 2
	newTarget   = "."
	recordTTL   = 5 * time.Minute
)

// Bounds of what is done at a provider.
const (
	zoneTimeout   = 2 * time.Minute // to find and read a zone
	changeTimeout = time.Minute     // to change one record
	// maxFailures is after how many failures in a row a zone is given up for the time being.
	maxFailures = 3
)

type dnsPublisher struct {
	provider  Provider
	resolvers []string
}

func compileDNS(_ *module.Env, c *DNS) (Publisher, error) {
	return &dnsPublisher{provider: ProviderOf(c.Provider)}, nil
}

// NewDNS returns a publisher at the default provider.
func NewDNS() Publisher { return &dnsPublisher{} }

// Key implements [Publisher].
func (p *dnsPublisher) Key() string { return p.provider.Key }

// With implements [Publisher].
func (p *dnsPublisher) With(d Defaults) (Publisher, error) {
	full := *p
	full.resolvers = d.Resolvers
	if full.provider.Value == nil {
		full.provider = d.DNS
	}
	if full.provider.Value == nil {
		return nil, module.Problem("", "there is no DNS provider to publish with; give provider here, or dns in the tls app")
	}
	return &full, nil
}

// Publish implements [Publisher].
func (p *dnsPublisher) Publish(ctx context.Context, log *zap.Logger, domains []Domain, list []byte, report func(Result)) {
	r := &run{dnsPublisher: p, log: log, zones: map[string]*zone{}, ech: base64.StdEncoding.EncodeToString(list)}
	for _, d := range domains {
		skipped, err := r.publish(ctx, d)
		if ctx.Err() != nil {
			return
		}
		report(Result{Domain: d.Name, Skipped: skipped, Err: err})
	}
}

// run is one round of publishing.
type run struct {
	*dnsPublisher
	log   *zap.Logger
	zones map[string]*zone
	ech   string
}

// zone is a zone as it was when the round came to it.
type zone struct {
	name     string
	records  map[string][]libdns.Record // by name, relative to the zone and in lower case
	failures int
	err      error
}

// publish publishes for one domain.
func (r *run) publish(ctx context.Context, d Domain) (skipped string, err error) {
	fqdn := d.Name + "."
	z, err := r.zoneOf(ctx, fqdn)
	if err != nil {
		return "", err
	}
	if z.err != nil {
		return "", z.err
	}
	records, skipped := r.records(z, fqdn, d)
	if skipped != "" || len(records) == 0 {
		return skipped, nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if _, err = r.provider.Value.SetRecords(ctx, z.name, records); err != nil {
		err = fmt.Errorf("setting the HTTPS record of %s: %w", d.Name, err)
		if z.failures++; z.failures >= maxFailures {
			z.err = fmt.Errorf("zone %s is given up for now: %w", z.name, err)
		}
		return "", err
	}
	z.failures = 0
	return "", nil
}

// zoneOf finds the zone of a name, which is read once in a round.
func (r *run) zoneOf(ctx context.Context, fqdn string) (*zone, error) {
	if z := r.known(fqdn); z != nil {
		return z, nil
	}
	ctx, cancel := context.WithTimeout(ctx, zoneTimeout)
	defer cancel()
	name, err := certmagic.FindZoneByFQDN(ctx, r.log, fqdn, certmagic.RecursiveNameservers(r.resolvers))
	if err != nil {
		return nil, fmt.Errorf("finding the zone of %s: %w", fqdn, err)
	}
	name = strings.ToLower(name)
	if z := r.zones[name]; z != nil {
		return z, nil
	}
	z := &zone{name: name, records: map[string][]libdns.Record{}}
	r.zones[name] = z
	list, err := r.provider.Value.GetRecords(ctx, name)
	if err != nil {
		z.err = fmt.Errorf("reading the records of zone %s: %w", name, err)
	}
	for _, record := range list {
		at := relative(record.RR().Name, name)
		z.records[at] = append(z.records[at], record)
	}
	return z, nil
}

// known finds the zone of a name among those of the round: the one that ends nearest to it, unless it hands the name on
// to another one.
func (r *run) known(fqdn string) *zone {
	var z *zone
	for end := fqdn; end != "" && z == nil; _, end, _ = strings.Cut(end, ".") {
		z = r.zones[end]
	}
	if z == nil {
		return nil
	}
	for at := fqdn; at != z.name; _, at, _ = strings.Cut(at, ".") {
		if slices.ContainsFunc(z.records[relative(at, z.name)], isType("NS")) {
			return nil
		}
	}
	return z
}

// relative is a name without its zone, in lower case.
func relative(name, zone string) string {
	return strings.ToLower(libdns.RelativeName(libdns.AbsoluteName(name, zone), zone))
}

func isType(kind string) func(libdns.Record) bool {
	return func(r libdns.Record) bool { return strings.EqualFold(r.RR().Type, kind) }
}

// errRecord is that of an HTTPS record of which nothing can be said.
var errRecord = errors.New("the HTTPS record that is there cannot be read")

// records makes the records of a domain. There are none if they are as they should be.
func (r *run) records(z *zone, fqdn string, d Domain) (out []libdns.Record, skipped string) {
	name := relative(fqdn, z.name)
	there := z.records[name]
	switch {
	case len(there) == 0:
		return nil, "there is no record of this name in zone " + z.name
	case slices.ContainsFunc(there, isType("CNAME")):
		return nil, "the name is an alias (CNAME)"
	}
	changed := false
	for _, record := range there {
		if !isType("HTTPS")(record) {
			continue
		}
		old, err := binding(record)
		if err != nil {
			return nil, errRecord.Error()
		}
		if old.Priority == 0 {
			return nil, "the HTTPS record is an alias, to " + old.Target
		}
		b := r.with(old, d)
		changed = changed || old.TTL != b.TTL || !maps.EqualFunc(old.Params, b.Params, slices.Equal)
		out = append(out, b)
	}
	if len(out) == 0 {
		changed = true
		out = append(out, r.with(libdns.ServiceBinding{Scheme: "https", Name: name, Priority: newPriority, Target: newTarget}, d))
	}
	if !changed {
		return nil, ""
	}
	return out, ""
}

// binding takes an HTTPS record apart.
func binding(record libdns.Record) (libdns.ServiceBinding, error) {
	if b, ok := record.(libdns.ServiceBinding); ok {
		return b, nil
	}
	parsed, err := record.RR().Parse()
	if err != nil {
		return libdns.ServiceBinding{}, err
	}
	b, ok := parsed.(libdns.ServiceBinding)
	if !ok {
		return b, errRecord
	}
	return b, nil
}

// with is a record with what is published. The one that is given stays as it is.
func (r *run) with(b libdns.ServiceBinding, d Domain) libdns.ServiceBinding {
	params := libdns.SvcParams{}
	for key, values := range b.Params {
		params[key] = slices.Clone(values)
	}
	params["ech"] = []string{r.ech}
	if len(d.ALPN) > 0 {
		params["alpn"] = slices.Clone(d.ALPN)
	}
	b.Params, b.TTL = params, recordTTL
	return b
}
