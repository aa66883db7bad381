package issuance

import (
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// ProviderOf is the DNS provider of an issuer.
func ProviderOf(i Issuer) dnsproviders.Provider { return i.(*acmeIssuer).dns.provider }

// AskForEAB makes an issuer get its external account as if its CA were ZeroSSL's.
func AskForEAB(i Issuer, endpoint string) { i.(*acmeIssuer).eab = endpoint }

// EAB is where an issuer gets an external account.
func EAB(i Issuer) string { return i.(*acmeIssuer).eab }
