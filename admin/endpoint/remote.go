package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/access"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
)

// RemoteConfig is a second endpoint, for clients that prove with a certificate who they are. It shows them the certificate
// of the identity. It speaks HTTP/1.1 over TLS 1.2 or 1.3.
type RemoteConfig struct {
	// Listen is the one address to listen on. Placeholders {env.*}, {file.*} and {system.*} are expanded. Default: ":2021".
	Listen string `json:"listen"`
	// AccessControl is who may do what. The first rule counts that has the public key of the client's certificate, or of one
	// that has signed it. Whoever has no rule is refused: already in the handshake, and at the next request where a
	// connection is open when the rule is taken away. What a rule permits also changes for open connections, with their next
	// request.
	AccessControl []AccessConfig `json:"access_control"`
}

// AccessConfig says what some clients may do.
type AccessConfig struct {
	// PublicKeys is certificates (DER, in base64), for whose public keys the rule is: those of clients, or of authorities
	// that sign certificates of clients.
	PublicKeys []string `json:"public_keys"`
	// Permissions is conditions, each of which a request has to meet. Default: everything is permitted.
	Permissions []PermissionConfig `json:"permissions"`
}

// PermissionConfig is one condition on requests.
type PermissionConfig struct {
	// Paths is the paths of the API that are permitted, each with all that is below it; one that ends in a slash is only
	// the beginning of paths. An object that is asked for by its @id must be permitted by that path and by its place in the
	// document. An empty list permits none. Default: all.
	Paths []string `json:"paths"`
	// Methods is the permitted methods, such as "GET", in upper case. An empty list permits none. Default: all.
	Methods []string `json:"methods"`
}

// defaultRemotePort is where the remote endpoint is if nothing else is said.
const defaultRemotePort = 2021

// remote is the compiled remote endpoint of one document.
type remote struct {
	sockets  *Sockets
	identity *identity.Service
	address  netaddr.Addr
	guard    *admin.Guard
	tls      *tls.Config
	rules    int
	socket   *socket
	started  bool
}

// read reads the settings; nil stands for none.
func (c *RemoteConfig) read(env *module.Env, s *Sockets, id *identity.Service) (*remote, schema.Problems) {
	listen := c.Listen
	if listen == "" {
		listen = ":" + strconv.Itoa(defaultRemotePort)
	}
	r := &remote{sockets: s, identity: id, rules: len(c.AccessControl)}
	var problems schema.Problems
	var err error
	if r.address, err = parseAddress(env, listen, defaultRemotePort); err != nil {
		problems = append(problems, module.Problem("/listen", err.Error())...)
	}
	var rules []access.Rule
	for i := range c.AccessControl {
		at := "/access_control/" + strconv.Itoa(i)
		rule, more := c.AccessControl[i].read(env, at)
		problems = append(problems, more...)
		rules = append(rules, rule)
	}
	if len(rules) == 0 {
		env.Warn("/remote", "there is no access_control, so nobody can use the remote endpoint")
	}
	if len(problems) > 0 {
		return nil, problems
	}
	list, err := access.New(rules)
	if err != nil {
		return nil, module.Problem("/access_control", err.Error())
	}
	if r.guard, err = admin.NewGuard(admin.GuardOptions{Remote: list}); err != nil {
		return nil, module.Problem("", err.Error())
	}
	r.tls = &tls.Config{
		GetCertificate: id.GetCertificate,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      list.Pool(),
		MinVersion:     tls.VersionTLS12,
		// Each connection shows its certificate, to the rules of its time.
		SessionTicketsDisabled: true,
	}
	return r, nil
}

// read reads one rule, which stands at a pointer of the remote endpoint.
func (c *AccessConfig) read(env *module.Env, at string) (access.Rule, schema.Problems) {
	var rule access.Rule
	var problems schema.Problems
	if len(c.PublicKeys) == 0 {
		env.Warn("/remote"+at, "the rule has no public_keys, so it is for nobody")
	}
	for i, text := range c.PublicKeys {
		cert, err := readCertificate(text)
		if err != nil {
			problems = append(problems, module.Problem(at+"/public_keys/"+strconv.Itoa(i), err.Error())...)
			continue
		}
		rule.Certificates = append(rule.Certificates, cert)
	}
	if c.Permissions != nil && len(c.Permissions) == 0 {
		env.Warn("/remote"+at+"/permissions", "an empty list permits everything, as no list does")
	}
	for i, p := range c.Permissions {
		at := at + "/permissions/" + strconv.Itoa(i)
		for j, m := range p.Methods {
			if m == "" || m != strings.ToUpper(m) || strings.ContainsFunc(m, func(r rune) bool { return r <= ' ' || r > '~' }) {
				env.Warn("/remote"+at+"/methods/"+strconv.Itoa(j), strconv.Quote(m)+" is never a method; write it as in GET, in upper case")
			}
		}
		for j, text := range p.Paths {
			if text != "" && text[0] != '/' {
				env.Warn("/remote"+at+"/paths/"+strconv.Itoa(j), "a path begins with a slash; this one is never asked for")
			}
		}
		rule.Permissions = append(rule.Permissions, access.Permission{Methods: slices.Clone(p.Methods), Paths: slices.Clone(p.Paths)})
	}
	return rule, problems
}

// readCertificate reads a certificate, of which errors repeat nothing.
func readCertificate(text string) (*x509.Certificate, error) {
	const want = "want a certificate as DER in base64, in one line and without the lines around it that PEM has"
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the public key is not base64; %s", want)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		if _, bare := x509.ParsePKIXPublicKey(der); bare == nil {
			return nil, fmt.Errorf("this is a public key alone; %s", want)
		}
		return nil, fmt.Errorf("this is no certificate (%v); %s", err, want)
	}
	if err := access.CheckCertificate(cert); err != nil {
		return nil, fmt.Errorf("the certificate cannot stand for a client: %w", err)
	}
	return cert, nil
}

// prepare opens the listener or joins the one that is open.
func (r *remote) prepare() error {
	sock, err := r.sockets.acquire(remoteKind, r.address)
	if err != nil {
		return schema.Problems{{Pointer: "/admin/remote/listen", Message: err.Error()}}
	}
	r.socket = sock
	return nil
}

// start puts the rules into force.
func (r *remote) start() {
	r.started = true
	defer r.sockets.started(remoteKind, r.socket)
	r.socket.setMode(r.address)
	r.socket.tls.Store(r.tls)
	if r.socket.serve(r.guard) {
		r.sockets.logOf(remoteKind).Info("remote admin endpoint started", zap.String("address", r.socket.address().String()), zap.Int("access_rules", r.rules))
	}
}

// close lets the listener go.
func (r *remote) close() {
	if r.socket != nil {
		r.sockets.release(r.socket, r.started)
		r.socket = nil
	}
}

// remoteExample is an example of the admin object.
const remoteExample = `{
  "identity": {"identifiers": ["sluice.internal"], "issuers": [{"module": "internal"}]},
  "remote": {
    "listen": ":2021",
    "access_control": [{
      "public_keys": ["MIHfMIGSoAMCAQICAQEwBQYDK2VwMA0xCzAJBgNVBAMTAmNpMB4XDTI2MDEwMTAwMDAwMFoXDTM2MDEwMTAwMDAwMFowDTELMAkGA1UEAxMCY2kwKjAFBgMrZXADIQCMh0GzePCgZziyzYL5vCW0DBPpnhGDTtysWhbuw0qcd6MXMBUwEwYDVR0lBAwwCgYIKwYBBQUHAwIwBQYDK2VwA0EAXTCgtOG/kwONkfJxS89lCpdJ3Be22/gezI2Z80YMLscr6cadQhHiALNu3P0Ke6rGIK22Z4tdbpw77qd/76IOAw=="],
      "permissions": [
        {"methods": ["GET", "PATCH"], "paths": ["/config/apps/http/servers"]}
      ]
    }]
  }
}`
