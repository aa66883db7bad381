package handshake

import (
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// versions are the versions of TLS by name.
var versions = map[string]uint16{"tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13}

// defaultCiphers are the suites of TLS 1.2 with forward secrecy and authenticated encryption. Go orders them by what the
// hardware does well.
var defaultCiphers = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

var defaultCurves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}

var curveNames = []string{"x25519mlkem768", "x25519", "secp256r1", "secp384r1", "secp521r1"}

var curves = map[string]tls.CurveID{
	"x25519mlkem768": tls.X25519MLKEM768,
	"x25519":         tls.X25519,
	"secp256r1":      tls.CurveP256,
	"secp384r1":      tls.CurveP384,
	"secp521r1":      tls.CurveP521,
}

// Protocols lists the versions of TLS that a policy may name, the lowest first.
func Protocols() []string { return []string{"tls1.2", "tls1.3"} }

// Curves lists the key exchanges that a policy may name.
func Curves() []string { return slices.Clone(curveNames) }

// CipherSuites lists the cipher suites that a policy may name.
func CipherSuites() []string {
	var names []string
	for _, s := range tls.CipherSuites() {
		names = append(names, s.Name)
	}
	return names
}

func cipherSuites(env *module.Env, names []string) (ids []uint16, problems schema.Problems) {
	if len(names) == 0 {
		return defaultCiphers, nil
	}
	known := tls.CipherSuites()
	for i, name := range names {
		at := slices.IndexFunc(known, func(s *tls.CipherSuite) bool { return s.Name == name })
		if at < 0 {
			problems = append(problems, schema.Problem{Pointer: index(i), Found: name,
				Message: "unsupported cipher suite: " + name, Expected: "a suite that Go has and regards as secure, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"})
			continue
		}
		if !slices.Contains(known[at].SupportedVersions, tls.VersionTLS12) {
			env.Warn("/cipher_suites"+index(i), name+" is a suite of TLS 1.3, which cannot be chosen; it has no effect")
		}
		ids = append(ids, known[at].ID)
	}
	return ids, problems
}

func curveIDs(names []string) (ids []tls.CurveID, problems schema.Problems) {
	if len(names) == 0 {
		return defaultCurves, nil
	}
	for i, name := range names {
		id, ok := curves[name]
		switch {
		case !ok:
			problems = append(problems, schema.Problem{Pointer: index(i), Found: name,
				Message: fmt.Sprintf("unknown curve %q; the curves are x25519mlkem768, x25519, secp256r1, secp384r1 and secp521r1", name)})
		case !slices.Contains(ids, id):
			ids = append(ids, id)
		}
	}
	return ids, problems
}

// protocolNames checks names for ALPN (RFC 7301 section 3.1).
func protocolNames(names []string) (list []string, problems schema.Problems) {
	for i, name := range names {
		if name == "" || len(name) > 255 {
			problems = append(problems, schema.Problem{Pointer: index(i), Message: "the name of a protocol has to have from 1 to 255 bytes", Found: name})
			continue
		}
		list = append(list, name)
	}
	return list, problems
}
