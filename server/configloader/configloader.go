// Package configloader is the modules caddy.config_loaders.*, which get the
// configuration from elsewhere.
//
// A loader only gets a text; what language it is in, and what becomes of the
// document, is for whoever asks it.
package configloader

import (
	"context"
	"crypto/tls"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "caddy.config_loaders"
	InlineKey = "module"
)

// Loader gets the text of a configuration. It is safe for concurrent use and
// holds nothing open between two calls.
type Loader interface {
	// Load gets the text once, with as many tries as that takes. No error holds
	// a secret of the loader's settings.
	Load(ctx context.Context, c Call) (Text, error)
	// Source is where the text comes from, for people: without placeholders
	// filled in, credentials and query.
	Source() string
	// NeedsIdentity reports whether a call must bring an identity.
	NeedsIdentity() bool
}

// Identity is who this instance is.
type Identity interface {
	// ClientCertificate returns the certificate by which this instance makes
	// itself known. It may wait for it, until ctx ends.
	ClientCertificate(ctx context.Context) (*tls.Certificate, error)
}

// Call is what a loader is told for one load.
type Call struct {
	// Limit is the longest text in bytes that is accepted. Required.
	Limit int64
	// Identity is for loaders that need one.
	Identity Identity
}

// Text is what a loader got.
type Text struct {
	// ContentType says what language the body is in, by the rules of POST /load.
	ContentType string
	Body        []byte
}
