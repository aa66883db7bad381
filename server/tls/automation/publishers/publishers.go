// Package publishers is how the configs of Encrypted ClientHello become known to clients: the modules tls.ech.publishers.*.
package publishers

import (
	"context"
	"strconv"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// Namespace is where the modules are.
const Namespace = "tls.ech.publishers"

// Publisher is the value of the modules. It is immutable and safe for concurrent use.
type Publisher interface {
	// Key tells publishers apart, in every process. It goes into the storage.
	Key() string
	// With returns the publisher with what its own settings leave open. It fails if something that it needs is in neither; the
	// error is a schema.Problems that points into the publisher's config.
	With(d Defaults) (Publisher, error)
	// Publish makes a list of configs known for domains. What becomes of each is reported as soon as it is known; domains of
	// which nothing is reported were given up because ctx has ended.
	Publish(ctx context.Context, log *zap.Logger, domains []Domain, list []byte, report func(Result))
}

// Domain is a name to publish for.
type Domain struct {
	// Name is in lower case and ASCII, without a dot at the end.
	Name string
	// ALPN is the protocols that the servers speak there, the best first; none leaves open what they are.
	ALPN []string
}

// Result is what became of one domain.
type Result struct {
	Domain string
	// Skipped says why nothing is to be published for the domain, "" if it was.
	Skipped string
	// Err is why it is not published, nil if it is. Another attempt may help.
	Err error
}

// Defaults is what a document says for all publishers.
type Defaults struct {
	// DNS is the DNS provider of those that name none.
	DNS Provider
	// Resolvers is the DNS servers to ask where zones are, nil for the system's.
	Resolvers []string
}

// Provider is a DNS provider with a name by which it is known again.
type Provider struct {
	// Value is nil for none.
	Value dnsproviders.Provider
	// Key is that of the module and its settings.
	Key string
}

// ProviderOf reads a slot. Two providers with other settings have other keys, since they may have other zones; what the
// settings are cannot be told from the key.
func ProviderOf(r module.Ref[dnsproviders.Provider]) Provider {
	if !r.Set() {
		return Provider{}
	}
	return Provider{r.Value(), dnsproviders.Namespace + "." + r.Name() + "/" + strconv.FormatUint(r.Node().Digest(), 36)}
}

// Specs describes the modules.
func Specs() []module.Spec {
	return []module.Spec{module.New(Namespace+".dns", "Publishes in HTTPS records of DNS zones.", nil, compileDNS,
		module.Examples(module.Example{Title: "Change the zones at a name server of one's own.",
			JSON: `{"provider":{"name":"rfc2136","server":"192.0.2.53:53","key_name":"ech","key":"{env.TSIG_KEY}"}}`}))}
}
