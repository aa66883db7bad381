package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/smallstep/truststore"
	"go.uber.org/zap"
)

// Installer is trust stores.
type Installer interface {
	// Trusted reports whether a root is trusted already.
	Trusted(root *x509.Certificate) bool
	// Install puts a root into the stores. It may take as long as a person needs for a password.
	Install(root *x509.Certificate) error
	// Uninstall takes a root out of the stores. One that is not there is not an error.
	Uninstall(root *x509.Certificate) error
}

// SystemTrust is the trust stores of this machine: those of the system, of Java and of Firefox, the latter two if they are
// there. It runs the programs that manage them, one at a time.
func SystemTrust() Installer { return &systemTrust{} }

type systemTrust struct{ mu sync.Mutex }

// Trusted implements Installer. What the system trusts is read once in the life of a process.
func (*systemTrust) Trusted(root *x509.Certificate) bool {
	chains, err := root.Verify(x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil && len(chains) > 0
}

// Install implements Installer.
func (s *systemTrust) Install(root *x509.Certificate) error { return s.each(root, truststore.Install) }

// Uninstall implements Installer.
func (s *systemTrust) Uninstall(root *x509.Certificate) error {
	return s.each(root, truststore.Uninstall)
}

// each does the same to each store, so that one that fails does not keep it from the others.
func (s *systemTrust) each(root *x509.Certificate, do func(*x509.Certificate, ...truststore.Option) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for _, store := range []struct {
		name    string
		options []truststore.Option
	}{
		{"the system", nil},
		{"Java", []truststore.Option{truststore.WithJava(), truststore.WithNoSystem()}},
		{"Firefox", []truststore.Option{truststore.WithFirefox(), truststore.WithNoSystem()}},
	} {
		if err := do(root, store.options...); err != nil {
			all = append(all, fmt.Errorf("the trust store of %s: %w%s", store.name, err, said(err)))
		}
	}
	return errors.Join(all...)
}

// said is what the program that failed has written, in one short line.
func said(err error) string {
	var failed *truststore.CmdError
	if !errors.As(err, &failed) {
		return ""
	}
	text := strings.Join(strings.Fields(string(failed.Out())), " ")
	if text == "" {
		return ""
	}
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return ": " + text
}

// installOnce puts the root into the trust stores, in the background, if that has to be done and was not tried before. A
// failure is only logged.
func (a *Authority) installOnce() {
	if root := a.Root(); root != nil && a.process.wantsTrust(a, root) {
		go a.install(root)
	}
}

func (a *Authority) install(root *x509.Certificate) {
	subject := zap.String("subject", root.Subject.CommonName)
	if a.process.trust.Trusted(root) {
		a.log.Info("the system trusts the root certificate already", subject)
		return
	}
	a.log.Warn("putting the root certificate into trust stores; you may be asked for a password", subject)
	if err := a.process.trust.Install(root); err != nil {
		a.log.Error("putting the root certificate into trust stores; run sluice trust with the privileges to do so, or set install_trust to false", zap.Error(err))
		return
	}
	a.log.Info("put the root certificate into trust stores", subject)
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

var errNoTrust = errors.New("this process has no trust stores")

// InstallTrust puts the root into the trust stores of the process.
func (a *Authority) InstallTrust() error {
	return a.withTrust("putting the root into trust stores", func(i Installer, root *x509.Certificate) error { return i.Install(root) })
}

// UninstallTrust takes the root out of the trust stores of the process.
func (a *Authority) UninstallTrust() error {
	return a.withTrust("taking the root out of trust stores", func(i Installer, root *x509.Certificate) error { return i.Uninstall(root) })
}

func (a *Authority) withTrust(doing string, do func(Installer, *x509.Certificate) error) error {
	if a.process.trust == nil {
		return fmt.Errorf("%s: %w", doing, errNoTrust)
	}
	root, err := a.PrepareRoot(a.ctx)
	if err == nil {
		err = do(a.process.trust, root)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
