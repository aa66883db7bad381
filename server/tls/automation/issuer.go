package automation

import (
	"slices"

	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// Issuer is a module tls.issuance.*: who signs certificates.
type Issuer = issuance.Issuer

// settle completes issuers with what the document says for all of them.
func settle(list []Issuer, d issuance.Defaults) ([]Issuer, error) {
	out := make([]Issuer, 0, len(list))
	for _, i := range list {
		full, err := i.With(d)
		if err != nil {
			return nil, err
		}
		out = append(out, full)
	}
	return out, nil
}

// keysOf is the names of issuers in a storage.
func keysOf(list []Issuer) []string {
	keys := make([]string, len(list))
	for i, issuer := range list {
		keys[i] = issuer.Key()
	}
	return keys
}

// sameIssuers reports whether certificates of one list are those of the other.
func sameIssuers(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(key string) bool { return !slices.Contains(b, key) })
}
