package issuance

import (
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// ACMEConfig is the config of the issuer acme: certificates of a certificate authority that speaks ACME (RFC 8555), such as
// Let's Encrypt. Its terms of service are accepted by using it.
type ACMEConfig struct {
	// CA is the URL of the authority's ACME directory. Placeholders are expanded when the document is loaded. Default: Let's
	// Encrypt's, https://acme-v02.api.letsencrypt.org/directory.
	CA string `json:"ca"`
	// TestCA is the URL of another directory, which is used after a failure until it has issued a certificate, so as to spare
	// the limits of the first. Its certificates are thrown away. Placeholders are expanded when the document is loaded.
	// Default: Let's Encrypt's staging directory if ca is its default, else none.
	TestCA string `json:"test_ca"`
	// Email is where the authority may write to; it is a part of the account. Placeholders are expanded when the document is
	// loaded. Default: none.
	Email string `json:"email"`
	// Profile is the kind of certificate to ask for, one of those that the directory lists. Default: the authority's choice.
	Profile string `json:"profile"`
	// AccountKey is the private key, in PEM, of an account that exists. Placeholders are expanded when the document is loaded,
	// so that the key can stay in a file. Default: an account of its own, made when it is first needed and kept in storage.
	AccountKey string `json:"account_key"`
	// ExternalAccount ties the ACME account to one that the authority knows otherwise. Default: none.
	ExternalAccount *ExternalAccount `json:"external_account"`
	// ACMETimeout bounds the waiting for the authority to check and to issue. Default: 0, five minutes.
	ACMETimeout module.Duration `json:"acme_timeout" check:"min=0"`
	// Challenges is the ways to prove that a name is ours.
	Challenges ChallengesConfig `json:"challenges"`
	// TrustedRootsPEMFiles is the names of files with certificates in PEM: who may have signed the certificate of the
	// authority's server. Default: those whom the system trusts.
	TrustedRootsPEMFiles []string `json:"trusted_roots_pem_files"`
	// PreferredChains chooses among the chains that the authority offers. Default: the first.
	PreferredChains *PreferredChains `json:"preferred_chains"`
	// CertificateLifetime asks for certificates that are valid for so long; not every authority can do that. Default: 0, the
	// authority decides.
	CertificateLifetime module.Duration `json:"certificate_lifetime" check:"min=0"`
	// NetworkProxy is the forward proxy between sluice and the authority. Default: what HTTP_PROXY, HTTPS_PROXY and NO_PROXY in
	// the environment of the process say.
	NetworkProxy module.Ref[networkproxy.Proxy] `json:"network_proxy" module:"caddy.network_proxy" inline:"from"`
}

// ExternalAccount is an external account binding: what an authority has handed out to say who its customer is.
type ExternalAccount struct {
	// KeyID names the key. Placeholders are expanded when the document is loaded.
	KeyID string `json:"key_id" check:"required"`
	// MACKey is the key in base64url. It is a secret. Placeholders are expanded when the document is loaded, so that it can
	// stay in a file or in the environment.
	MACKey string `json:"mac_key" check:"required"`
}

// ChallengesConfig is the ways to prove that a name is ours.
type ChallengesConfig struct {
	// HTTP answers a request to port 80 of the name.
	HTTP HTTPChallenge `json:"http"`
	// TLSALPN answers a TLS handshake at port 443 of the name.
	TLSALPN TLSALPNChallenge `json:"tls-alpn"`
	// DNS puts a record into the zone of the name, which also gets certificates for wildcards and needs no open port. If it is
	// set the other ways are not used. Default: not used.
	DNS *DNSChallenge `json:"dns"`
	// BindHost is the address to listen at, without a port, where nobody listens yet at the port of a challenge. Default: all.
	BindHost string `json:"bind_host"`
	// Distributed keeps challenges in storage, so that any instance that shares the storage can answer them. Default: true.
	Distributed *bool `json:"distributed"`
}

// HTTPChallenge is the challenge http-01.
type HTTPChallenge struct {
	// Disabled does without it. Default: false.
	Disabled bool `json:"disabled"`
	// AlternatePort is where port 80 is forwarded to. Default: http_port of the http app.
	AlternatePort int `json:"alternate_port" check:"min=0,max=65535"`
}

// TLSALPNChallenge is the challenge tls-alpn-01.
type TLSALPNChallenge struct {
	// Disabled does without it. Default: false.
	Disabled bool `json:"disabled"`
	// AlternatePort is where port 443 is forwarded to. Default: https_port of the http app.
	AlternatePort int `json:"alternate_port" check:"min=0,max=65535"`
}

// DNSChallenge is a proof by a record in the zone of a name.
type DNSChallenge struct {
	// Provider holds the zone. Default: dns of the tls app.
	Provider module.Ref[dnsproviders.Provider] `json:"provider" module:"dns.providers" inline:"name"`
	// TTL is how long others may remember the record. Default: 0, the provider's.
	TTL module.Duration `json:"ttl" check:"min=0"`
	// PropagationDelay is the wait before the first look whether the record can be seen. Default: 0.
	PropagationDelay module.Duration `json:"propagation_delay" check:"min=0"`
	// PropagationTimeout bounds the wait until the record can be seen; -1 does not look at all. Default: 2m.
	PropagationTimeout module.Duration `json:"propagation_timeout" check:"min=-1"`
	// Resolvers is the DNS servers, as host or host:port, that are asked for the zone of a name and for the record. Default:
	// resolvers of the tls app, or else the system's, which are then only asked for the servers of the zone.
	Resolvers []string `json:"resolvers"`
	// OverrideDomain is the name of the record, for names whose challenge is delegated to another zone with a CNAME.
	// Placeholders are expanded when the document is loaded. Default: _acme-challenge before the name.
	OverrideDomain string `json:"override_domain"`
}

// PreferredChains chooses among the chains that an authority offers.
type PreferredChains struct {
	// Smallest takes the one with the fewest bytes, or with false the one with the most. The lists must be empty then.
	// Default: not asked for.
	Smallest *bool `json:"smallest"`
	// RootCommonName takes the first chain whose root has one of these common names, the first name counting most.
	RootCommonName []string `json:"root_common_name"`
	// AnyCommonName takes the first chain in which a certificate was issued by one of these common names, the first name
	// counting most. It comes before root_common_name.
	AnyCommonName []string `json:"any_common_name"`
}

// InternalConfig is the config of the issuer internal: certificates of an authority of this process, see the app pki. Names
// are not checked, and nobody is asked. Clients have to trust the authority's root.
type InternalConfig struct {
	// CA is the id of the authority in the app pki. Default: local.
	CA string `json:"ca"`
	// Lifetime is how long certificates are valid. It is cut to end before that of the authority's own. Default: 12h.
	Lifetime module.Duration `json:"lifetime" check:"min=0"`
	// SignWithRoot signs with the root instead of the intermediate. Default: false.
	SignWithRoot bool `json:"sign_with_root"`
}

// ZeroSSLConfig is the config of the issuer zerossl: certificates over the REST API of ZeroSSL, which asks for a paid plan.
// Its ACME server, https://acme.zerossl.com/v2/DV90, is for the issuer acme.
type ZeroSSLConfig struct {
	// APIKey is the access key of the account. It is a secret. Placeholders are expanded when the document is loaded, so that
	// it can stay in a file or in the environment.
	APIKey string `json:"api_key" check:"required"`
	// ValidityDays is how many days certificates are valid. Default: 0, the service's 90.
	ValidityDays int `json:"validity_days" check:"min=0"`
	// ListenHost is the address to listen at, without a port, where nobody listens yet at the HTTP port. Default: all.
	ListenHost string `json:"listen_host"`
	// AlternateHTTPPort is where port 80 is forwarded to. Default: http_port of the http app.
	AlternateHTTPPort int `json:"alternate_http_port" check:"min=0,max=65535"`
	// CNAMEValidation proves names by records in their zones. Default: by requests to port 80.
	CNAMEValidation *DNSChallenge `json:"cname_validation"`
}
