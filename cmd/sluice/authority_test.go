//go:build unix

package main

import "testing"

// What the environment says about the authority is checked at the start, and not when a certificate is wanted.
func TestAuthorityOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ directory, roots, want string }{
		{"", "roots.pem", "SLUICE_ACME_CA_ROOT is set, and SLUICE_ACME_CA_URL is not"},
		{"https://ca.example/directory", "none.pem", "reading the file of SLUICE_ACME_CA_ROOT"},
		{"https://ca.example/directory", "roots.pem", "want a file in PEM"},
		{"http://ca.example/directory", "", "an ACME directory is asked over https"},
	} {
		b := newBox(t)
		b.write("roots.pem", "no certificate\n")
		b.setenv("SLUICE_ACME_CA_URL", c.directory)
		b.setenv("SLUICE_ACME_CA_ROOT", c.roots)
		b.fails(c.want, "run", "--store", "none")
	}
}
