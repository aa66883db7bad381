package pki

import (
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
)

const (
	// AppID is the ID of the app.
	AppID = "pki"
	// DefaultID is the authority that exists without being configured.
	DefaultID = "local"
	// DefaultName is the name of an authority that has none.
	DefaultName = "Caddy Local Authority"
	// DefaultLifetime is how long a certificate of a leaf is valid where nothing else is asked for.
	DefaultLifetime = 12 * time.Hour
	// MinLifetime is the shortest validity of a leaf.
	MinLifetime = 5 * time.Minute
)

const (
	defaultRootName             = "{pki.ca.name} - {time.now.year} ECC Root"
	defaultIntermediateName     = "{pki.ca.name} - ECC Intermediate"
	defaultIntermediateLifetime = 7 * 24 * time.Hour
	defaultInterval             = 10 * time.Minute
	defaultRatio                = 0.2
	rootLifetime                = 3600 * 24 * time.Hour
	formatPEM                   = "pem_file"
)

// Config is the app pki: certificate authorities of one's own, for the issuer internal, the handler acme_server and whoever
// asks for certificates of hosts that are not public.
type Config struct {
	// CertificateAuthorities is the authorities by their IDs. The authority local exists without being configured. It is
	// made when it is first needed.
	CertificateAuthorities map[string]CA `json:"certificate_authorities"`
}

// CA is one certificate authority: a root, which should be trusted by clients, and an intermediate, which the root has signed
// and which signs the certificates of hosts.
type CA struct {
	// Name is what people call the authority. Default: Caddy Local Authority.
	Name string `json:"name"`
	// RootCommonName is the common name of a root that is generated. Besides the placeholders that do not depend on a request
	// there are {pki.ca.id} and {pki.ca.name}. Default: {pki.ca.name} - {time.now.year} ECC Root.
	RootCommonName string `json:"root_common_name"`
	// IntermediateCommonName is the common name of intermediates that are generated, with the same placeholders.
	// Default: {pki.ca.name} - ECC Intermediate.
	IntermediateCommonName string `json:"intermediate_common_name"`
	// IntermediateLifetime is how long intermediates that are generated are valid. It must be less than what is left of the
	// root's life. Default: 168h, which is 7 days.
	IntermediateLifetime module.Duration `json:"intermediate_lifetime" check:"min=0"`
	// InstallTrust has the root put into the trust stores of the system, of Java and of Firefox when the authority is first
	// used, unless the system trusts it already. That needs privileges; a failure is logged and changes nothing else.
	// Default: true.
	InstallTrust *bool `json:"install_trust"`
	// Root is a root of one's own, for a generated one. It needs its private key unless there is an intermediate of one's own
	// as well. It is not renewed; a warning is logged when it soon expires.
	Root *KeyPair `json:"root"`
	// Intermediate is an intermediate of one's own, with its private key, for a generated one. It is not renewed; a warning is
	// logged when it soon expires.
	Intermediate *KeyPair `json:"intermediate"`
	// MaintenanceInterval is the time between looks at what needs to be renewed. Default: 10m.
	MaintenanceInterval module.Duration `json:"maintenance_interval" check:"min=0"`
	// RenewalWindowRatio is the last part of an intermediate's life in which it is renewed, above 0 and at most 1. Other
	// numbers stand for the default. Default: 0.2.
	RenewalWindowRatio float64 `json:"renewal_window_ratio"`
	// Storage is where generated certificates and their keys are kept, below pki/authorities/ID. Default: the storage of the
	// document.
	Storage module.Ref[certmagic.Storage] `json:"storage" module:"caddy.storage" inline:"module"`
}

// KeyPair is a certificate and its private key in files.
type KeyPair struct {
	// Certificate is the name of a file with the certificate in PEM. Certificates that follow it in the file are those that
	// have signed it, each the one before. A forced load notices when the file has changed.
	Certificate string `json:"certificate" check:"required"`
	// PrivateKey is the name of a file with the private key of the first certificate in PEM: ECDSA, RSA or Ed25519,
	// not encrypted.
	PrivateKey string `json:"private_key"`
	// Format is how the files are written; pem_file is the only one. Default: pem_file.
	Format string `json:"format"`
}
