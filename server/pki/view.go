package pki

import (
	"crypto/x509"
	"slices"
)

// Info is what the admin API says of an authority, in this order of keys.
type Info struct {
	// ID is the ID.
	ID string `json:"id"`
	// Name is what people call it.
	Name string `json:"name"`
	// RootCommonName and IntermediateCommonName are those of the certificates.
	RootCommonName         string `json:"root_common_name"`
	IntermediateCommonName string `json:"intermediate_common_name"`
	// RootCertificate is the root and IntermediateCertificate the intermediates, the signer first, in PEM.
	RootCertificate         string `json:"root_certificate"`
	IntermediateCertificate string `json:"intermediate_certificate"`
}

// View describes the authority with an ID, which is made if it is not there yet. An ID that stands for none is an [*Unknown].
func (s *Authorities) View(id string) (*Info, error) {
	a, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	st := a.state.Load()
	return &Info{
		ID: a.d.id, Name: a.d.name,
		RootCommonName: st.root[0].Subject.CommonName, IntermediateCommonName: st.chain[0].Subject.CommonName,
		RootCertificate: string(encode(st.root[0])), IntermediateCertificate: string(encode(st.intermediates()...)),
	}, nil
}

// Certificates is the intermediates and then the root of the authority with an ID, in PEM. It is made if it is not there yet.
// An ID that stands for none is an [*Unknown].
func (s *Authorities) Certificates(id string) ([]byte, error) {
	a, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	st := a.state.Load()
	list := st.intermediates()
	if slices.ContainsFunc(list, st.root[0].Equal) {
		return encode(list...), nil
	}
	return encode(append(slices.Clip(list), st.root[0])...), nil
}

// intermediates is what leads to the root, and the signer at least.
func (s *state) intermediates() []*x509.Certificate {
	if len(s.send) == 0 {
		return s.chain[:1]
	}
	return s.send
}
