package automation

import (
	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
	"github.com/sluiceproxy/sluice/server/tls/automation/permission"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
)

// IDs of the modules of this package.
const (
	AppID    = "tls"
	PolicyID = "tls.automation_policy"
)

// Config is the app tls: certificates, how they come about, and what connections of all servers share.
type Config struct {
	// Certificates is where certificates come from, by loader; automate lists names whose certificates are obtained and
	// renewed. Names of sites need not be listed.
	Certificates map[string]module.Ref[*loaders.Source] `json:"certificates" module:"tls.certificates" keyed:"true"`
	// Automation is how certificates are obtained and renewed. Default: public names from Let's Encrypt, internal ones from
	// the own certificate authority.
	Automation *Automation `json:"automation"`
	// SessionTickets is how sessions are resumed. Default: with keys that are renewed every 12h.
	SessionTickets *handshake.SessionTickets `json:"session_tickets"`
	// Cache bounds the certificates in memory.
	Cache *Cache `json:"cache"`
	// DisableOCSPStapling turns the stapling of OCSP responses to loaded certificates off; policies have a field of their
	// own for the others. Default: false.
	DisableOCSPStapling bool `json:"disable_ocsp_stapling"`
	// DisableStorageCheck leaves out the test of the storage, by writing, reading and removing a value, before a certificate
	// is obtained or renewed. Default: false.
	DisableStorageCheck bool `json:"disable_storage_check"`
	// DisableStorageClean keeps what has expired in the storage. Default: false.
	DisableStorageClean bool `json:"disable_storage_clean"`
	// EncryptedClientHello hides the names of sites in the handshakes of clients that know how.
	EncryptedClientHello *EncryptedClientHello `json:"encrypted_client_hello"`
	// DNS is the DNS provider for challenges and for the publication of Encrypted ClientHello where none is named.
	DNS module.Ref[dnsproviders.Provider] `json:"dns" module:"dns.providers" inline:"name"`
	// Resolvers is the DNS servers for challenges where none are named, such as "9.9.9.9" or "tcp/1.1.1.1:53". Default:
	// those of the system.
	Resolvers []string `json:"resolvers"`
}

// Automation is how certificates are obtained and renewed.
type Automation struct {
	// Policies says what applies to which names; the first whose subjects have a name counts.
	Policies []module.Ref[*Policy] `json:"policies" module:"=tls.automation_policy" null:"refuse"`
	// OnDemand says for which names a certificate may be obtained when a client asks for it.
	OnDemand *OnDemand `json:"on_demand"`
	// OCSPInterval is the time between looks at OCSP responses. What counts is the value of the first document after the
	// process starts. Default: 1h.
	OCSPInterval module.Duration `json:"ocsp_interval" check:"min=0"`
	// RenewInterval is the time between looks at which certificates need to be renewed. Default: 10m.
	RenewInterval module.Duration `json:"renew_interval" check:"min=0"`
	// StorageCleanInterval is the time between removals of what has expired from the storage. Default: 24h.
	StorageCleanInterval module.Duration `json:"storage_clean_interval" check:"min=0"`
}

// OnDemand says for which names a certificate may be obtained when a client asks for it.
type OnDemand struct {
	// Permission is asked for each name before a certificate is obtained or renewed.
	Permission module.Ref[permission.Permission] `json:"permission" module:"tls.permission" inline:"module"`
	// Ask is the URL of a permission http. It is the older way to write it.
	Ask string `json:"ask"`
}

// PolicyConfig is one automation policy.
type PolicyConfig struct {
	// Subjects is the names that the policy is for; "*.example.com" is all names with one label more. Placeholders {env.*},
	// {file.*} and {system.*} are expanded. Default: all names.
	Subjects []string `json:"subjects"`
	// Issuers is who is asked for a certificate, in this order. Default: Let's Encrypt, or the own certificate authority if
	// all subjects are internal names.
	Issuers []module.Ref[Issuer] `json:"issuers" module:"tls.issuance" inline:"module"`
	// GetCertificate is who is asked for a certificate in each handshake for which there is none; it implies on_demand.
	GetCertificate []module.Ref[certmagic.Manager] `json:"get_certificate" module:"tls.get_certificate" inline:"via"`
	// MustStaple asks for certificates that are only valid with an OCSP response. Default: false.
	MustStaple bool `json:"must_staple"`
	// RenewalWindowRatio is the last part of a certificate's life, in which it is renewed. Default: 1/3.
	RenewalWindowRatio float64 `json:"renewal_window_ratio" check:"min=0,max=1"`
	// KeyType is the kind of private keys: ed25519, p256, p384, rsa2048 or rsa4096. Placeholders are expanded. Default: p256.
	KeyType string `json:"key_type"`
	// Storage is where the certificates are kept. Default: the storage of the document.
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
	// OnDemand obtains a certificate when a client first asks for it, and not before. For all names, or with wildcards, it
	// needs a permission, unless the own certificate authority issues. Default: false.
	OnDemand bool `json:"on_demand"`
	// ReusePrivateKeys keeps the private key when a certificate is renewed. Default: false.
	ReusePrivateKeys bool `json:"reuse_private_keys"`
	// DisableOCSPStapling turns the stapling of OCSP responses off. Default: false.
	DisableOCSPStapling bool `json:"disable_ocsp_stapling"`
	// OCSPOverrides replaces URLs of OCSP servers; "" never asks that one.
	OCSPOverrides map[string]string `json:"ocsp_overrides"`
}

// Cache bounds the certificates in memory.
type Cache struct {
	// Capacity is how many certificates are kept in memory. One more takes the place of any other, which is read from the
	// storage again when a client asks for it. Default: 10000.
	Capacity int `json:"capacity" check:"min=0"`
}

// EncryptedClientHello hides the names of sites. It needs TLS 1.3.
type EncryptedClientHello struct {
	// Configs is the outer names, each with keys that are renewed every 30 days.
	Configs []ECHConfig `json:"configs"`
	// Publication is how clients learn of the keys. Default: all of them are published for all domains with the provider of
	// the field dns; if there is none, they have to be published by other means. An empty list publishes nothing.
	Publication []ECHPublication `json:"publication"`
}

// ECHPublication is keys that clients of some domains are to use. It is done once for each domain and each renewal of the
// keys; what fails is tried again.
type ECHPublication struct {
	// Configs is the public names whose keys are published. Default: all.
	Configs []string `json:"configs"`
	// Domains is the domains whose clients learn of them. Default: all that servers handle with TLS, but for internal names
	// and IP addresses.
	Domains []string `json:"domains"`
	// Publishers is by what means they are published. Default: dns, with the provider of the field dns.
	Publishers map[string]module.Ref[publishers.Publisher] `json:"publishers" module:"tls.ech.publishers" keyed:"true"`
}

// ECHConfig is one outer name.
type ECHConfig struct {
	// PublicName is the name that others see in handshakes, of 1 to 255 bytes. It gets a certificate.
	PublicName string `json:"public_name"`
}
