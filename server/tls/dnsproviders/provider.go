// Package dnsproviders is the services that hold DNS zones: the modules dns.providers.*, through which sluice proves that
// it controls a name and publishes records.
package dnsproviders

import (
	"github.com/libdns/libdns"

	"github.com/sluiceproxy/sluice/config/module"
)

// Namespace is where the modules are, and InlineKey the field that names one.
const (
	Namespace = "dns.providers"
	InlineKey = "name"
)

// Provider is the value of the modules: it reads and changes the records of zones. It is safe for concurrent use.
type Provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
	libdns.RecordGetter
	libdns.RecordSetter
}

// Specs describes the modules.
func Specs() []module.Spec { return []module.Spec{rfc2136Spec()} }
