package automation

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

// asking is a server that asks for a certificate, with the signatures that it can check.
func asking(schemes ...tls.SignatureScheme) *tls.CertificateRequestInfo {
	return &tls.CertificateRequestInfo{Version: tls.VersionTLS13, SignatureSchemes: schemes}
}

func TestNeededNamesGetCertificates(t *testing.T) {
	r := newRig(t, newMemory())
	info := asking(tls.ECDSAWithP256AndSHA256)
	if _, err := r.m.ClientCertificate("me.example.com", info); err == nil || !strings.Contains(err.Error(), "no certificate for me.example.com yet") {
		t.Errorf("before it is needed: %v", err)
	}
	has := func(name, want string) {
		t.Helper()
		until(t, name+" has the certificate for "+want, func() bool {
			c, err := r.m.ClientCertificate(name, info)
			return err == nil && slices.Equal(c.Leaf.DNSNames, []string{want})
		})
	}
	r.m.Need("Me.Example.com")
	r.m.Need("me.example.com")
	r.m.Need("(no name)")
	has("me.example.com", "me.example.com")
	if got := r.managedNames(); !slices.Equal(got, []string{"me.example.com"}) {
		t.Errorf("managed: %v", got)
	}
	if _, err := r.m.ClientCertificate("me.example.com", asking(tls.Ed25519)); err == nil || !strings.Contains(err.Error(), "does not accept the certificate for me.example.com") {
		t.Errorf("of a server that cannot check it: %v", err)
	}
	// Servers and clients need a name independently.
	r.m.Manage([]string{"me.example.com"}, nil)
	r.m.Unneed("me.example.com")
	r.m.Unneed("me.example.com")
	has("me.example.com", "me.example.com")
	r.m.Need("me.example.com")
	r.m.Manage(nil, []string{"me.example.com"})
	has("me.example.com", "me.example.com")
	r.m.Unneed("me.example.com")
	r.m.Unneed("(no name)")
	if got := r.managedNames(); len(got) != 0 {
		t.Errorf("managed although nobody needs them: %v", got)
	}
	if _, err := r.m.ClientCertificate("me.example.com", info); err == nil {
		t.Error("it is still shown")
	}
	// What covers a name is enough.
	r.m.Need("a.example.com")
	has("a.example.com", "a.example.com")
	r.load(`{"certificates":{"automate":["*.example.com"]}}`)
	has("a.example.com", "*.example.com")
	if got := r.managedNames(); !slices.Equal(got, []string{"*.example.com"}) {
		t.Errorf("managed: %v", got)
	}
	r.load(`{}`)
	has("a.example.com", "a.example.com")
}
