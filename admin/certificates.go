package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/automation"
)

// Authorities is what the API needs of the certificate authorities. It is safe
// for concurrent use.
type Authorities interface {
	// View describes the authority with an ID, which is made if it is not there
	// yet. An ID that stands for none is a *pki.Unknown.
	View(id string) (*pki.Info, error)
	// Certificates is the intermediates and then the root of an authority, in PEM.
	// Its errors are those of View.
	Certificates(id string) ([]byte, error)
}

// Certificates is what the API needs of the certificates that servers have. It
// is safe for concurrent use.
type Certificates interface {
	// Certificates lists all certificates, and the names that still have none.
	Certificates() []automation.CertificateStatus
}

// chainType is the content type of a list of certificates in PEM (RFC 8555,
// section 9.1).
const chainType = "application/pem-certificate-chain"

func (a *API) certificateRoutes() []route {
	id := ParamDoc{Name: "id", In: "path", Required: true, Schema: kind("string"), Description: "The ID of the authority in `apps.pki.certificate_authorities`; `local` is always there."}
	const made = "It is made if it is not there yet."
	info := object(map[string]any{"id": kind("string"), "name": kind("string"), "root_common_name": kind("string"),
		"intermediate_common_name": kind("string"), "root_certificate": kind("string"), "intermediate_certificate": kind("string")})
	return []route{
		{RouteDoc{Method: "GET", Pattern: "/tls/certificates", Summary: "List the certificates with their names, issuers, expiry and renewal",
			Description: "Names that still have no certificate are listed too. What is unknown, empty or zero is left out, `names`, `source` and `renewal` excepted. Private keys are never shown.",
			Responses:   answer("The certificates, by their first name.", "application/json", listOf(certificateSchema()))}, a.certificates},
		{RouteDoc{Method: "GET", Pattern: "/pki/ca/{id}", Summary: "Get a certificate authority with its root and intermediate certificate", Description: made,
			Params: []ParamDoc{id}, Responses: answer("The authority; certificates are in PEM.", "application/json", info, 404, 500)}, a.authority},
		{RouteDoc{Method: "GET", Pattern: "/pki/ca/{id}/certificates", Summary: "Get the certificates of an authority: the intermediates, then the root", Description: made,
			Params: []ParamDoc{id}, Responses: answer("The certificates in PEM.", chainType, kind("string"), 404, 500)}, a.authorityChain},
		{RouteDoc{Method: "GET", Pattern: pkiTree + "*", Summary: "Any other path below /pki/, where there is nothing",
			Params:    []ParamDoc{{Name: "*", In: "path", Required: true, Description: "The rest of the path.", Schema: kind("string")}},
			Responses: failures(401, 403, 404)}, noAuthority},
	}
}

func certificateSchema() schema.Schema {
	moment := schema.Schema{"type": "string", "format": "date-time"}
	oneOf := func(values ...any) schema.Schema { return schema.Schema{"type": "string", "enum": values} }
	s := object(map[string]any{
		"names":  listOf(kind("string")),
		"source": oneOf(automation.SourceManaged, automation.SourceLoaded, automation.SourceOnDemand),
		"issuer": kind("string"), "serial": kind("string"), "not_before": moment, "not_after": moment, "tags": listOf(kind("string")),
		"renewal": oneOf(automation.RenewalNone, automation.RenewalWaiting, automation.RenewalObtaining, automation.RenewalValid,
			automation.RenewalDue, automation.RenewalFailed),
		"last_error": kind("string"), "last_error_at": moment, "attempts": kind("integer"), "next_try": moment,
	})
	s["required"] = []any{"names", "source", "renewal"}
	return s
}

// certificates is GET /tls/certificates.
func (a *API) certificates(c *call) error {
	list := []automation.CertificateStatus{}
	if a.deps.Certificates != nil {
		list = append(list, a.deps.Certificates.Certificates()...)
	}
	c.answerJSON(list)
	return nil
}

// authority is GET /pki/ca/{id} (section 10).
func (a *API) authority(c *call) error {
	id, err := a.authorityID(c)
	if err != nil {
		return err
	}
	info, err := a.deps.Authorities.View(id)
	if err != nil {
		return authorityError(err)
	}
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	c.Header().Set("Content-Type", "application/json")
	_, _ = c.Write(text)
	return nil
}

// authorityChain is GET /pki/ca/{id}/certificates.
func (a *API) authorityChain(c *call) error {
	id, err := a.authorityID(c)
	if err != nil {
		return err
	}
	chain, err := a.deps.Authorities.Certificates(id)
	if err != nil {
		return authorityError(err)
	}
	c.Header().Set("Content-Type", chainType)
	_, _ = c.Write(chain)
	return nil
}

// authorityID is the ID in the path, if there can be an authority.
func (a *API) authorityID(c *call) (string, error) {
	id := chi.URLParam(c.r, "id")
	if c.r.URL.RawPath != "" { // else the router has seen the decoded path
		var err error
		if id, err = url.PathUnescape(id); err != nil {
			return "", failf(http.StatusBadRequest, "the id of the certificate authority: %v", err)
		}
	}
	if a.deps.Authorities == nil {
		return "", authorityError(&pki.Unknown{ID: id})
	}
	return id, nil
}

func authorityError(err error) error {
	var unknown *pki.Unknown
	if errors.As(err, &unknown) {
		return failf(http.StatusNotFound, "%v", unknown)
	}
	// Also if it took too long, which is not the client's time.
	return failf(http.StatusInternalServerError, "%v", err)
}

// noAuthority is GET of what is neither.
func noAuthority(c *call) error {
	return failf(http.StatusNotFound, "resource not found: %s", c.r.URL.Path)
}
