package handshake

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/trust"
)

// leafWords reads the verifier leaf: one loader on its line, or a block of loaders.
func leafWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	c := &Leaf{}
	read := func() error {
		n, err := u.Module(d, loaderNamespace, "loader")
		c.LeafCertsLoaders = append(c.LeafCertsLoaders, module.RefTo[Leaves](n))
		return err
	}
	if d.CountRemainingArgs() > 0 {
		if d.CountRemainingArgs() < 2 {
			return nil, d.ArgErr()
		}
		d.NextArg()
		if err := read(); err != nil {
			return nil, err
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := read(); err != nil {
			return nil, err
		}
	}
	if len(c.LeafCertsLoaders) == 0 {
		return nil, d.ArgErr()
	}
	return c, nil
}

// listWords reads a module that is a list of arguments.
func listWords(config func(list []string) any) module.Syntax {
	return func(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
		d.Next()
		list := d.RemainingArgs()
		switch {
		case len(list) == 0:
			return nil, d.ArgErr()
		case d.OpensBlock():
			return nil, d.Errf("a block cannot stand here; write everything on one line")
		}
		return config(list), nil
	}
}

var (
	leafFileWords   = listWords(func(list []string) any { return &LeafFiles{Files: list} })
	leafFolderWords = listWords(func(list []string) any { return &LeafFolders{Folders: list} })
	leafPEMWords    = listWords(func(list []string) any { return &LeafPEM{Certificates: list} })
)

// reading is a block client_auth while it is read.
type reading struct {
	ClientAuth
	u *module.Use
	// readFile reads a file that is taken into the document.
	readFile func(name string) ([]byte, error)
	// authorities is certificates of the older lines.
	authorities []string
}

var one = caddyfile.Exactly(1)

var clientAuthLines = caddyfile.Options[reading]{
	Unknown: "unknown subdirective for client_auth: %s",
	Lines: []caddyfile.Option[reading]{
		{Name: "mode", Args: one, Set: caddyfile.String(func(r *reading) *string { return &r.Mode })},
		{Name: "trust_pool", Args: caddyfile.AtLeast(1), Block: true, Once: "the trust pool is specified twice; use the pool combined for several sources", Set: readTrustPool},
		{Name: "verifier", Args: caddyfile.AtLeast(1), Block: true, Set: readVerifier},
		{Name: "trusted_ca_cert", Now: "trust_pool", Args: one, Set: func(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			return r.authority(args[0].Text)
		}},
		{Name: "trusted_ca_cert_file", Now: "trust_pool", Args: one, Set: func(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			return r.certificates(args[0].Text, r.authority)
		}},
		{Name: "trusted_leaf_cert", Args: one, Set: func(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			return r.leaf(args[0].Text)
		}},
		{Name: "trusted_leaf_cert_file", Args: one, Set: func(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			return r.certificates(args[0].Text, r.leaf)
		}},
	},
}

// ReadClientAuth reads the block client_auth { ... } that opens on the line of d's current token. Files whose certificates are
// taken into the document are read by readFile.
func ReadClientAuth(u *module.Use, d *caddyfile.Dispenser, readFile func(name string) ([]byte, error)) (*ClientAuth, error) {
	if d.CountRemainingArgs() > 0 {
		d.NextArg()
		return nil, d.ArgErr()
	}
	r := &reading{u: u, readFile: readFile}
	if err := clientAuthLines.Parse(d, r); err != nil {
		return nil, err
	}
	if len(r.authorities) > 0 {
		n, err := u.Table().Encode(trust.Namespace+".inline", map[string]any{trust.InlineKey: "inline", "trusted_ca_certs": r.authorities})
		if err != nil {
			return nil, err
		}
		r.CA = module.RefTo[*trust.Pool](n)
	}
	return &r.ClientAuth, nil
}

var errTwoAuthorities = errors.New("trust_pool cannot be combined with trusted_ca_cert and trusted_ca_cert_file; use trust_pool alone")

func readTrustPool(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
	if len(r.authorities) > 0 {
		return errTwoAuthorities
	}
	r.CA, err = trust.ReadPool(r.u, d, args)
	return err
}

func readVerifier(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	d.Back(len(args) - 1)
	n, err := r.u.Module(d, verifierNamespace, "verifier")
	r.Verifiers = append(r.Verifiers, module.RefTo[Verifier](n))
	return err
}

func (r *reading) authority(der string) error {
	if r.CA.Set() {
		return errTwoAuthorities
	}
	r.authorities = append(r.authorities, der)
	return nil
}

func (r *reading) leaf(der string) error {
	r.TrustedLeafCerts = append(r.TrustedLeafCerts, der)
	return nil
}

// certificates gives each certificate of a PEM file to add.
func (r *reading) certificates(file string, add func(der string) error) error {
	text, err := r.readFile(file)
	if err != nil {
		return fmt.Errorf("reading certificates: %w", err)
	}
	list, err := trust.ParsePEM(text)
	if err != nil {
		return fmt.Errorf("certificates of %s: %w", file, err)
	}
	for _, c := range list {
		if err := add(base64.StdEncoding.EncodeToString(c.Raw)); err != nil {
			return err
		}
	}
	return nil
}
