package handlers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

func testCertificate(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	u, _ := url.Parse("spiffe://a/b")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "client", Organization: []string{"Org"}},
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test", "b.test"}, EmailAddresses: []string{"m@a.test"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, URIs: []*url.URL{u},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func tlsExchange(s *tls.ConnectionState) *Exchange {
	r := exampleRequest()
	r.TLS = s
	x, _ := begin(r)
	return x
}

func TestTLSPlaceholders(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := testCertificate(t, key)
	x := tlsExchange(&tls.ConnectionState{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, DidResume: true, ECHAccepted: true, HandshakeComplete: true,
		NegotiatedProtocol: "h2", ServerName: "a.test", PeerCertificates: []*x509.Certificate{cert},
	})
	point, _ := key.PublicKey.Bytes()
	checkName(t, x, "http.request.scheme", "https")
	for name, want := range map[string]any{
		"version": "tls1.3", "VERSION": "tls1.3", "cipher_suite": "TLS_AES_128_GCM_SHA256", "resumed": true, "ech": true,
		"proto": "h2", "proto_mutual": true, "server_name": "a.test",
		"client.fingerprint": sha256Hex(cert.Raw), "client.public_key": hex.EncodeToString(point),
		"client.public_key_sha256": sha256Hex(point), "client.issuer": "CN=client,O=Org", "client.Subject": "CN=client,O=Org",
		"client.serial": "4711", "client.certificate_der_base64": base64.StdEncoding.EncodeToString(cert.Raw),
		"client.san.dns_names.0": "a.test", "client.san.dns_names.1": "b.test", "client.san.dns_names.2": nil,
		"client.san.dns_names.x": none{}, "client.san.dns_names.-1": none{}, "client.san.emails.0": "m@a.test",
		"client.san.x": none{}, "client.x": none{}, "x": none{}, "client": none{}, "client.san": none{},
	} {
		checkName(t, x, "http.request.tls."+name, want)
	}
	for name, want := range map[string]string{
		"dns_names": "[a.test b.test]", "emails": "[m@a.test]", "ips": "[192.0.2.1]", "ips.0": "192.0.2.1",
		"uris": "[spiffe://a/b]", "uris.0": "spiffe://a/b",
	} {
		if got, known, _ := x.LookupString("http.request.tls.client.san." + name); got != want || !known {
			t.Errorf("%s = %q, %v; want %q", name, got, known, want)
		}
	}
	if v, _ := x.Lookup("http.request.tls.client.certificate_pem"); !strings.HasPrefix(v.(string), "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("certificate_pem = %v", v)
	}
}

func TestTLSPlaceholdersWithoutCertificate(t *testing.T) {
	x := tlsExchange(&tls.ConnectionState{Version: 0x0300})
	checkName(t, x, "http.request.tls.version", "0x0300")
	checkName(t, x, "http.request.tls.client.fingerprint", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	for _, name := range []string{
		"public_key", "public_key_sha256", "issuer", "subject", "serial", "certificate_pem", "certificate_der_base64",
		"san.dns_names", "san.emails", "san.ips", "san.uris", "san.dns_names.0", "san.uris.3",
	} {
		checkName(t, x, "http.request.tls.client."+name, nil)
	}
	checkName(t, x, "http.request.tls.client.san.ips.x", none{})
	// The handshake is not complete: whoever replays early data is not known.
	for _, name := range []string{"remote", "remote.host", "remote.host/24"} {
		checkName(t, x, "http.request."+name, nil)
	}
}

func TestTLSVersions(t *testing.T) {
	for v, want := range map[uint16]string{
		tls.VersionTLS10: "tls1.0", tls.VersionTLS11: "tls1.1", tls.VersionTLS12: "tls1.2", tls.VersionTLS13: "tls1.3", 0x7f1c: "0x7f1c",
	} {
		if got := tlsVersion(v); got != want {
			t.Errorf("%x = %q, want %q", v, got, want)
		}
	}
}

func TestPublicKeyBytes(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if got := publicKeyBytes(testCertificate(t, rsaKey).PublicKey); string(got) != string(x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)) {
		t.Error("an RSA key is not PKCS #1 DER")
	}
	if got := publicKeyBytes(testCertificate(t, edKey).PublicKey); string(got) != string(edPublic) {
		t.Error("an Ed25519 key is not its raw bytes")
	}
}
