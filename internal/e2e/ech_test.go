package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// publishedAt is the keys for Encrypted ClientHello, and the protocols, of the HTTPS record of a name.
func publishedAt(t *testing.T, d *acmetest.DNS, name string) (list []byte, alpn string) {
	t.Helper()
	answer, err := dns.Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeHTTPS), d.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range answer.Answer {
		h, ok := rr.(*dns.HTTPS)
		if !ok {
			continue
		}
		for _, kv := range h.Value {
			switch kv := kv.(type) {
			case *dns.SVCBECHConfig:
				list = kv.ECH
			case *dns.SVCBAlpn:
				alpn = strings.Join(kv.Alpn, ",")
			}
		}
	}
	return list, alpn
}

// TestECHIsPublished: the program publishes its keys for Encrypted ClientHello at a name server, a client that knows only what
// is there uses them, and a site that an edit brings is published as well.
func TestECHIsPublished(t *testing.T) {
	t.Parallel()
	d := acmetest.StartDNS(t)
	d.Add(t, "hidden.ech.test. 60 IN A 127.0.0.1", "later.ech.test. 60 IN A 127.0.0.1")
	x := newSecured(t, func(x *secured) object {
		doc := x.config(helloRoute("hidden", "hidden.ech.test"))
		doc["apps"].(object)["tls"] = object{
			"dns":                    object{"name": "rfc2136", "server": d.Address, "key_name": d.KeyName, "key_alg": d.KeyAlg, "key": d.Key},
			"resolvers":              []string{d.Address},
			"automation":             object{"policies": []any{object{"issuers": []any{object{"module": "internal"}}}}},
			"encrypted_client_hello": object{"configs": []any{object{"public_name": "outer.ech.test"}}},
		}
		return doc
	})
	wait := func(name string) (list []byte) {
		t.Helper()
		poll(t, "keys of "+name, func() error {
			var alpn string
			if list, alpn = publishedAt(t, d, name); len(list) == 0 || alpn != "h3,h2,http/1.1" {
				return errors.New("nothing is published, or with other protocols: " + alpn)
			}
			return nil
		})
		return list
	}
	c := x.trust()
	c.EncryptedClientHelloConfigList, c.MinVersion = wait("hidden.ech.test"), tls.VersionTLS13
	for _, proto := range protocols {
		p := x.visitor(proto, c.Clone()).expect(x, "hidden.ech.test", "hidden "+proto)
		if p.TLS == nil || !p.TLS.ECHAccepted {
			t.Errorf("%s: the key was not taken", proto)
		}
	}
	route, err := json.Marshal(helloRoute("later", "later.ech.test"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := x.e.client.Post(x.admin+"/config/apps/http/servers/s/routes", "application/json", bytes.NewReader(route))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	if !bytes.Equal(wait("later.ech.test"), c.EncryptedClientHelloConfigList) {
		t.Error("another name has other keys")
	}
	x.noSecrets()
}
