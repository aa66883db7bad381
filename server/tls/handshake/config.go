package handshake

import (
	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/trust"
)

// IDs of the modules that have a fixed place, and namespaces of the others.
const (
	// ListID is the list tls_connection_policies of a server: a slot for it is a
	// module.Ref[*Policies] with the tag `module:"=tls.connection_policies"`.
	ListID = "tls.connection_policies"
	// PolicyID is one element of it.
	PolicyID = "tls.connection_policy"

	matcherNamespace  = "tls.handshake_match"
	verifierNamespace = "tls.client_auth.verifier"
	loaderNamespace   = "tls.leaf_cert_loader"
	stekNamespace     = "tls.stek"
)

// Config is one TLS connection policy: which handshakes it is for, and how they are made. The first policy of a server whose
// matchers all match is the one that counts; a handshake that none matches fails.
type Config struct {
	// Match is which handshakes the policy is for; all matchers must match. Default: all handshakes.
	Match map[string]module.Ref[Matcher] `json:"match" module:"tls.handshake_match" keyed:"true"`
	// CertificateSelection chooses among the certificates for a name. Default: the first that the client can use and that has
	// not expired.
	CertificateSelection *Selection `json:"certificate_selection"`
	// CipherSuites is the cipher suites of TLS 1.2, by their names in Go, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256. Those of
	// TLS 1.3 cannot be chosen, and neither can the order. Default: the six of ECDHE with AES-GCM or ChaCha20-Poly1305.
	CipherSuites []string `json:"cipher_suites"`
	// Curves is the key exchanges: x25519mlkem768, x25519, secp256r1, secp384r1, secp521r1. Default: x25519mlkem768, x25519 and
	// secp256r1.
	Curves []string `json:"curves"`
	// ALPN is the application protocols, the preferred ones first, such as h2 and http/1.1. A protocol of HTTP that the server
	// does not speak is left out. acme-tls/1 is always added. Default: what the server speaks.
	ALPN []string `json:"alpn"`
	// ProtocolMin is the lowest version of TLS: tls1.2 or tls1.3. Default: tls1.2.
	ProtocolMin string `json:"protocol_min" check:"enum=|tls1.2|tls1.3"`
	// ProtocolMax is the highest version of TLS: tls1.2 or tls1.3. Default: tls1.3.
	ProtocolMax string `json:"protocol_max" check:"enum=|tls1.2|tls1.3"`
	// Drop refuses the handshake. Default: false.
	Drop bool `json:"drop"`
	// ClientAuthentication asks clients for certificates. An empty object counts as none. With it the policy has no session
	// tickets, and the server requires that the Host header is the name of the handshake unless strict_sni_host is set.
	ClientAuthentication *ClientAuth `json:"client_authentication"`
	// DefaultSNI is the name that a client is taken to want which names none. Default: none.
	DefaultSNI string `json:"default_sni"`
	// FallbackSNI is the name whose certificate is used where there is none for the name that the client wants. Default: none.
	FallbackSNI string `json:"fallback_sni"`
	// InsecureSecretsLog is a file to which the secrets of each connection are appended, in the format of NSS, so that who reads
	// it can decrypt what was recorded. Placeholders {env.*}, {file.*} and {system.*} are expanded. For debugging only. Default:
	// none.
	InsecureSecretsLog string `json:"insecure_secrets_log"`
	// HandshakeContext prepares the context of a handshake. There are no modules for it so far.
	HandshakeContext module.Ref[any] `json:"handshake_context" module:"tls.context" inline:"module"`
}

// Selection chooses a certificate. All criteria that are given must hold; within one criterion any value will do, except for
// all_tags. Of the certificates that are left, the first counts that the client can use and that has not expired. If there is
// no certificate for the name that the client wants, any certificate may be chosen.
type Selection struct {
	// SerialNumber is serial numbers, as texts of decimal digits.
	SerialNumber []string `json:"serial_number"`
	// SubjectOrganization is organizations of the subject.
	SubjectOrganization []string `json:"subject_organization"`
	// PublicKeyAlgorithm is the kind of key: rsa, dsa or ecdsa.
	PublicKeyAlgorithm string `json:"public_key_algorithm" check:"enum=|rsa|dsa|ecdsa"`
	// AnyTag is tags of which the certificate must have one. Tags are given where certificates are loaded.
	AnyTag []string `json:"any_tag"`
	// AllTags is tags that the certificate must have all.
	AllTags []string `json:"all_tags"`
}

// ClientAuth is how clients prove who they are.
type ClientAuth struct {
	// CA is who may have signed the certificates of clients. Default: none, so that a mode that verifies asks whom the system
	// trusts.
	CA module.Ref[*trust.Pool] `json:"ca" module:"tls.ca_pool.source" inline:"provider"`
	// TrustedCACerts is the older way to write ca with the source inline: certificates in DER and base64.
	TrustedCACerts []string `json:"trusted_ca_certs"`
	// TrustedCACertPEMFiles is the older way to write ca with the source file.
	TrustedCACertPEMFiles []string `json:"trusted_ca_certs_pem_files"`
	// TrustedLeafCerts is the older way to write the verifier leaf with the loader pem: certificates of clients, in DER and
	// base64, besides which none is taken.
	TrustedLeafCerts []string `json:"trusted_leaf_certs"`
	// Verifiers are further checks of what clients send, in any mode. Each must be content. One that wants a certificate is not
	// content with none.
	Verifiers []module.Ref[Verifier] `json:"verifiers" module:"tls.client_auth.verifier" inline:"verifier"`
	// Mode is what is asked of clients: request (a certificate may come, whatever it is), require (one must come, whatever it
	// is), verify_if_given (one that comes must be signed by an authority), require_and_verify (one must come, and be signed by
	// an authority). Default: require_and_verify if ca or a certificate of a client is given, else require.
	Mode string `json:"mode"`
}

// SessionTickets is how sessions are resumed: the keys of the tickets that the process hands out.
type SessionTickets struct {
	// KeySource is where the keys come from. Default: standard.
	KeySource module.Ref[KeySource] `json:"key_source" module:"tls.stek" inline:"provider"`
	// RotationInterval is how long a key is used for new tickets. Default: 12h.
	RotationInterval module.Duration `json:"rotation_interval" check:"min=0"`
	// MaxKeys is how many keys are kept, so that older tickets are still understood; at most 64. Default: 4.
	MaxKeys int `json:"max_keys" check:"min=0,max=64"`
	// DisableRotation keeps the first key for good. Default: false.
	DisableRotation bool `json:"disable_rotation"`
	// Disabled turns tickets off, so that every handshake is a full one. Default: false.
	Disabled bool `json:"disabled"`
}

// DistributedConfig is the key source distributed.
type DistributedConfig struct {
	// Storage is where the keys are kept, under stek/stek.bin. Default: the storage of the document.
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
}

// SNIRegexp is the matcher sni_regexp. Its captures are placeholders of requests on the connection: the capture 1 of the
// matcher named x is {tls.regexp.x.1} and {tls.regexp.1}, and its group id is {tls.regexp.x.id}.
type SNIRegexp struct {
	// Name is the name of the captures. Default: none.
	Name string `json:"name"`
	// Pattern is a regular expression in RE2 syntax, which may match anywhere in the name. An empty one matches everything.
	Pattern string `json:"pattern"`
}

// RemoteIP is the matcher remote_ip. Placeholders {env.*}, {file.*} and {system.*} are expanded.
type RemoteIP struct {
	// Ranges is IP addresses and CIDR prefixes, in one of which the address of the peer must be. Default: any.
	Ranges []string `json:"ranges"`
	// NotRanges is those in which it must not be, even if it is in ranges.
	NotRanges []string `json:"not_ranges"`
}

// LocalIP is the matcher local_ip. Placeholders {env.*}, {file.*} and {system.*} are expanded.
type LocalIP struct {
	// Ranges is IP addresses and CIDR prefixes, in one of which the address must be that the peer has connected to. Default: any.
	Ranges []string `json:"ranges"`
}

// Leaf is the verifier leaf: it takes the certificates that its loaders find, and no others.
type Leaf struct {
	// LeafCertsLoaders is where the certificates come from.
	LeafCertsLoaders []module.Ref[Leaves] `json:"leaf_certs_loaders" module:"tls.leaf_cert_loader" inline:"loader"`
}

// LeafFiles is the loader file.
type LeafFiles struct {
	// Files is the names of PEM files. Placeholders {env.*}, {file.*} and {system.*} are expanded. A forced load notices when one
	// has changed.
	Files []string `json:"files"`
}

// LeafFolders is the loader folder.
type LeafFolders struct {
	// Folders is the names of folders, of which the files that end in .pem are read, those of folders within too. Placeholders
	// {env.*}, {file.*} and {system.*} are expanded. A forced load notices when a file has changed.
	Folders []string `json:"folders"`
}

// LeafPEM is the loader pem.
type LeafPEM struct {
	// Certificates is certificates in PEM, or in DER and base64.
	Certificates []string `json:"certificates"`
}

// LeafStorage is the loader storage.
type LeafStorage struct {
	// Certificates is the keys in the storage under which certificates stand in PEM. Placeholders {env.*}, {file.*} and
	// {system.*} are expanded.
	Certificates []string `json:"certificates"`
	// Storage is the storage. Default: the storage of the document.
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
}
