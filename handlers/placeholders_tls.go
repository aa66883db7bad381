package handlers

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
)

// findTLS resolves {http.request.tls.NAME}, NAME in any case. Without TLS all
// are unknown; without a client certificate those about one have no value.
func findTLS(s *tls.ConnectionState, name string) found {
	if s == nil {
		return found{}
	}
	name = strings.ToLower(name)
	switch name {
	case "version":
		return textOf(tlsVersion(s.Version))
	case "cipher_suite":
		return textOf(tls.CipherSuiteName(s.CipherSuite))
	case "resumed":
		return valueOf(s.DidResume)
	case "ech":
		return valueOf(s.ECHAccepted)
	case "proto":
		return textOf(s.NegotiatedProtocol)
	case "proto_mutual":
		return valueOf(true)
	case "server_name":
		return textOf(s.ServerName)
	}
	name, ok := strings.CutPrefix(name, "client.")
	if !ok {
		return found{}
	}
	var cert *x509.Certificate
	if len(s.PeerCertificates) > 0 {
		cert = s.PeerCertificates[0]
	}
	if san, ok := strings.CutPrefix(name, "san."); ok {
		return findSAN(cert, san)
	}
	return findCertificate(cert, name)
}

func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "tls1.0"
	case tls.VersionTLS11:
		return "tls1.1"
	case tls.VersionTLS12:
		return "tls1.2"
	case tls.VersionTLS13:
		return "tls1.3"
	}
	return fmt.Sprintf("0x%04x", v)
}

func findCertificate(cert *x509.Certificate, name string) found {
	read, ok := certificateNames(name)
	switch {
	case !ok:
		return found{}
	case name == "fingerprint" && cert == nil:
		return textOf(sha256Hex(nil)) // as existing configs may compare with
	case cert == nil:
		return valueOf(nil)
	}
	return textOf(read(cert))
}

func certificateNames(name string) (read func(*x509.Certificate) string, ok bool) {
	switch name {
	case "fingerprint":
		return func(c *x509.Certificate) string { return sha256Hex(c.Raw) }, true
	case "public_key":
		return func(c *x509.Certificate) string { return hex.EncodeToString(publicKeyBytes(c.PublicKey)) }, true
	case "public_key_sha256":
		return func(c *x509.Certificate) string { return sha256Hex(publicKeyBytes(c.PublicKey)) }, true
	case "issuer":
		return func(c *x509.Certificate) string { return c.Issuer.String() }, true
	case "subject":
		return func(c *x509.Certificate) string { return c.Subject.String() }, true
	case "serial":
		return func(c *x509.Certificate) string { return c.SerialNumber.String() }, true
	case "certificate_pem":
		return func(c *x509.Certificate) string {
			return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}, true
	case "certificate_der_base64":
		return func(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }, true
	}
	return nil, false
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// publicKeyBytes is PKCS #1 DER for RSA, the uncompressed point for EC, and the
// raw key for Ed25519.
func publicKeyBytes(key any) []byte {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return x509.MarshalPKCS1PublicKey(k)
	case *ecdsa.PublicKey:
		if point, err := k.Bytes(); err == nil {
			return point
		}
	case ed25519.PublicKey:
		return k
	}
	return nil
}

// findSAN resolves a list of subject alternative names, or one element of it.
func findSAN(cert *x509.Certificate, name string) found {
	kind, rest, one := strings.Cut(name, ".")
	i, isIndex := 0, true
	if one {
		i, isIndex = index(rest)
	}
	if cert == nil {
		cert = new(x509.Certificate)
	}
	switch {
	case !isIndex:
		return found{}
	case kind == "dns_names":
		return listValue(cert.DNSNames, i, one)
	case kind == "emails":
		return listValue(cert.EmailAddresses, i, one)
	case kind == "ips":
		return listValue(cert.IPAddresses, i, one)
	case kind == "uris":
		return listValue(cert.URIs, i, one)
	}
	return found{}
}

func listValue[T any](list []T, i int, one bool) found {
	switch {
	case !one && len(list) == 0, one && i >= len(list):
		return valueOf(nil)
	case one:
		return valueOf(list[i])
	}
	return valueOf(list)
}
