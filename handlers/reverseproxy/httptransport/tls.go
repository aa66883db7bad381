package httptransport

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/upstream"

	"github.com/caddyserver/certmagic"
)

// TLS is how TLS is spoken to upstreams.
type TLS struct {
	// CA is who may have signed the certificates of upstreams. Default: those whom the system trusts.
	CA module.Ref[*trust.Pool] `json:"ca" module:"tls.ca_pool.source" inline:"provider"`
	// RootCAPool is the older way to write ca with the source inline: certificates in DER and base64.
	RootCAPool []string `json:"root_ca_pool"`
	// RootCAPEMFiles is the older way to write ca with the source file.
	RootCAPEMFiles []string `json:"root_ca_pem_files"`
	// ClientCertificateFile is a PEM file with the certificate to show to upstreams that ask for one, and those between it and
	// its authority. A forced load notices when it or its key has changed. Default: none.
	ClientCertificateFile string `json:"client_certificate_file"`
	// ClientCertificateKeyFile is a PEM file with the key of that.
	ClientCertificateKeyFile string `json:"client_certificate_key_file"`
	// ClientCertificateAutomate is a name whose certificate is shown to upstreams that ask for one. The app tls obtains and renews
	// it as those of servers, by the policy that it has for the name; a new one is shown on new connections. As long as there is
	// none, or none that the upstream accepts, connections fail that ask for one. Placeholders such as {env.NAME} are replaced.
	// Default: none.
	ClientCertificateAutomate string `json:"client_certificate_automate"`
	// InsecureSkipVerify takes any certificate, so that the upstream may be anybody. Default: false.
	InsecureSkipVerify bool `json:"insecure_skip_verify"`
	// HandshakeTimeout bounds the handshake; after it the answer is 504. Default: 0, none.
	HandshakeTimeout module.Duration `json:"handshake_timeout" check:"min=0"`
	// ServerName is the name to send and to verify. Placeholders are expanded for each request; connections are shared by
	// requests for one name. Default: the upstream's host.
	ServerName string `json:"server_name"`
	// Renegotiation says whether an upstream may ask for another handshake, in TLS 1.2 and below: never, once or freely.
	// Default: never.
	Renegotiation string `json:"renegotiation"`
	// ExceptPorts is ports of upstreams that are spoken to in clear text all the same. Default: none.
	ExceptPorts []string `json:"except_ports"`
	// Curves is the key exchanges to offer: x25519mlkem768, x25519, secp256r1, secp384r1, secp521r1. Default: Go's choice.
	Curves []string `json:"curves"`
}

// read puts the settings into a transport.
func (c *TLS) read(env *module.Env, t *transport) schema.Problems {
	o := &t.options.TLS
	o.Enabled = true
	o.Insecure = c.InsecureSkipVerify
	o.HandshakeTimeout = time.Duration(c.HandshakeTimeout)
	problems := c.readRoots(env, t)
	problems = append(problems, c.readCertificate(env, t)...)
	var err error
	if o.Renegotiation, err = trust.ParseRenegotiation(c.Renegotiation); err != nil {
		problems = append(problems, module.Problem("/renegotiation", err.Error())...)
	}
	problems = append(problems, c.readCurves(&o.Curves)...)
	problems = append(problems, c.readExcept(&o.ExceptPorts)...)
	name := vars.Parse(c.ServerName)
	if literal, ok := name.Literal(); ok {
		o.ServerName = literal
	} else {
		t.serverName = &name
	}
	return problems
}

// readRoots reads who is trusted, in one of three ways.
func (c *TLS) readRoots(env *module.Env, t *transport) schema.Problems {
	ways := 0
	for _, used := range []bool{c.CA.Set(), len(c.RootCAPool) > 0, len(c.RootCAPEMFiles) > 0} {
		if used {
			ways++
		}
	}
	if ways > 1 {
		return module.Problem("", "ca, root_ca_pool and root_ca_pem_files exclude each other; use ca alone, with the source combined for several sources")
	}
	var problems schema.Problems
	switch {
	case len(c.RootCAPool) > 0:
		t.roots, problems = trust.FromDER(c.RootCAPool)
		return problems.Under("/root_ca_pool")
	case len(c.RootCAPEMFiles) > 0:
		t.roots, problems = trust.FromFiles(env, c.RootCAPEMFiles)
		return problems.Under("/root_ca_pem_files")
	}
	t.roots = c.CA.Value()
	return nil
}

// readCertificate reads the certificate that is shown to upstreams.
func (c *TLS) readCertificate(env *module.Env, t *transport) schema.Problems {
	switch {
	case c.ClientCertificateAutomate != "":
		return c.readManaged(env, t)
	case c.ClientCertificateFile == "" && c.ClientCertificateKeyFile == "":
		return nil
	case c.ClientCertificateFile == "":
		return module.Problem("/client_certificate_key_file", "a key without a certificate; give client_certificate_file too")
	case c.ClientCertificateKeyFile == "":
		return module.Problem("/client_certificate_file", "a certificate without a key; give client_certificate_key_file too")
	}
	certificate, err := env.ReadFile(c.ClientCertificateFile)
	if err != nil {
		return module.Problem("/client_certificate_file", err.Error())
	}
	key, err := env.ReadFile(c.ClientCertificateKeyFile)
	if err != nil {
		return module.Problem("/client_certificate_key_file", err.Error())
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return module.Problem("/client_certificate_file", fmt.Sprintf("reading the client certificate of %s with the key of %s: %v", c.ClientCertificateFile, c.ClientCertificateKeyFile, err))
	}
	sum := sha256.New()
	for _, part := range append(slices.Clone(pair.Certificate), key) {
		one := sha256.Sum256(part)
		sum.Write(one[:])
	}
	t.options.TLS.Certificate, t.options.TLS.CertificateKey = &pair, hex.EncodeToString(sum.Sum(nil))
	return nil
}

// readManaged reads the name of a certificate that is managed.
func (c *TLS) readManaged(env *module.Env, t *transport) schema.Problems {
	const at = "/client_certificate_automate"
	if c.ClientCertificateFile != "" || c.ClientCertificateKeyFile != "" {
		return module.Problem(at, "client_certificate_automate and client_certificate_file are two certificates for one purpose; give one of them")
	}
	name, err := env.ExpandStrict(c.ClientCertificateAutomate)
	if err != nil {
		return module.Problem(at, err.Error())
	}
	if name = strings.ToLower(name); !certmagic.SubjectQualifiesForCert(name) {
		return schema.Problems{{Pointer: at, Found: name, Message: fmt.Sprintf("no certificate can be for %q; want a host name or an IP address", name)}}
	}
	t.options.TLS.Managed, t.options.TLS.Certificates = name, module.Service[upstream.ClientCertificates](env)
	return nil
}

// curves are the key exchanges by name.
var curves = map[string]tls.CurveID{
	"x25519mlkem768": tls.X25519MLKEM768,
	"x25519":         tls.X25519,
	"secp256r1":      tls.CurveP256,
	"secp384r1":      tls.CurveP384,
	"secp521r1":      tls.CurveP521,
}

func (c *TLS) readCurves(ids *[8]tls.CurveID) (problems schema.Problems) {
	n := 0
	for i, name := range c.Curves {
		id, ok := curves[name]
		switch {
		case !ok:
			problems = append(problems, module.Problem("/curves/"+strconv.Itoa(i), fmt.Sprintf("unknown curve %q; the curves are x25519mlkem768, x25519, secp256r1, secp384r1 and secp521r1", name))...)
		case !slices.Contains(ids[:n], id):
			ids[n] = id
			n++
		}
	}
	return problems
}

func (c *TLS) readExcept(ports *string) (problems schema.Problems) {
	list := slices.Clone(c.ExceptPorts)
	for i, p := range list {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || strconv.FormatUint(n, 10) != p {
			problems = append(problems, module.Problem("/except_ports/"+strconv.Itoa(i), fmt.Sprintf("%q is no port; want a number up to 65535", p))...)
		}
	}
	slices.Sort(list)
	*ports = strings.Join(slices.Compact(list), ",")
	return problems
}
