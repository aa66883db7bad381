package issuance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// Bounds of what sluice asks an authority for by itself.
const (
	askTimeout = 30 * time.Second
	askSize    = 1 << 20
)

// newAccount is called before an account is made, which is the first that an authority is asked for. So this is where it
// turns out that there is no authority, and where that should be said well.
func (a *acmeIssuer) newAccount(ctx context.Context, iss *certmagic.ACMEIssuer, account acme.Account) (acme.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	dir, err := a.directory(ctx)
	if err != nil {
		return account, err
	}
	if a.eab != "" && iss.ExternalAccount == nil {
		if iss.ExternalAccount, err = a.fetchEAB(ctx, account); err != nil {
			return account, fmt.Errorf("getting an external account from ZeroSSL: %w", err)
		}
	}
	if dir.Meta != nil && dir.Meta.ExternalAccountRequired && iss.ExternalAccount == nil {
		return account, fmt.Errorf("the ACME server %s serves only customers that it knows; give external_account with what it has handed out", a.template.CA)
	}
	return account, nil
}

// directory asks the authority for its directory.
func (a *acmeIssuer) directory(ctx context.Context) (acme.Directory, error) {
	var dir acme.Directory
	ca := a.template.CA
	if !strings.Contains(ca, "://") {
		ca = "https://" + ca
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, ca, nil)
	if err != nil {
		return dir, fmt.Errorf("asking the ACME server %s: %w", ca, err)
	}
	res, body, err := a.ask(r, a.template.TrustedRoots)
	if err != nil {
		return dir, fmt.Errorf("asking the ACME server %s for its directory: %w", ca, err)
	}
	if res.StatusCode != http.StatusOK {
		return dir, refusal(ca, res, body)
	}
	if err := json.Unmarshal(body, &dir); err != nil || dir.NewNonce == "" || dir.NewAccount == "" || dir.NewOrder == "" {
		media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
		return dir, fmt.Errorf("%s is no ACME directory: the answer (%s) is not a JSON object with newNonce, newAccount and newOrder; see that ca is the URL of a directory", ca, caddyfile.Shorten(media))
	}
	return dir, nil
}

// refusal says how the directory was refused. The authority's own words are in it if it has some.
func refusal(ca string, res *http.Response, body []byte) error {
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	var p acme.Problem
	if media == "application/problem+json" && json.Unmarshal(body, &p) == nil {
		p.Status = res.StatusCode
		return fmt.Errorf("the ACME server %s refuses to give its directory: %w", ca, p)
	}
	why := ""
	if res.StatusCode == http.StatusTooManyRequests {
		why = ", which is its rate limit"
	}
	return fmt.Errorf("the ACME server %s answers %s%s instead of its directory", ca, res.Status, why)
}

// fetchEAB gets an external account for the e-mail address of an account.
func (a *acmeIssuer) fetchEAB(ctx context.Context, account acme.Account) (*acme.EAB, error) {
	email := ""
	for _, c := range account.Contact {
		if address, ok := strings.CutPrefix(c, "mailto:"); ok {
			email = address
			break
		}
	}
	if email == "" {
		return nil, errors.New("it is given for an e-mail address, and there is none; set email")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.eab, strings.NewReader(url.Values{"email": {email}}.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, body, err := a.ask(r, nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Success any `json:"success"`
		Error   struct {
			Code int    `json:"code"`
			Type string `json:"type"`
		} `json:"error"`
		KeyID  string `json:"eab_kid"`
		MACKey string `json:"eab_hmac_key"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer (%s) is not the JSON that was expected", res.Status)
	}
	if answer.Error.Code != 0 || answer.Error.Type != "" {
		return nil, fmt.Errorf("it is refused (%s): error %d, %s", res.Status, answer.Error.Code, caddyfile.Shorten(answer.Error.Type))
	}
	if res.StatusCode != http.StatusOK || answer.KeyID == "" || answer.MACKey == "" {
		return nil, fmt.Errorf("the answer (%s) has no key", res.Status)
	}
	return &acme.EAB{KeyID: answer.KeyID, MACKey: macKey(answer.MACKey)}, nil
}

// ask makes a request and reads the whole answer.
func (a *acmeIssuer) ask(r *http.Request, roots *x509.CertPool) (*http.Response, []byte, error) {
	t := &http.Transport{Proxy: a.proxy, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer t.CloseIdleConnections()
	r.Header.Set("User-Agent", strings.TrimSpace(certmagic.UserAgent+" CertMagic"))
	res, err := (&http.Client{Transport: t}).Do(r)
	if err != nil {
		var outer *url.Error // whose text repeats the URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, askSize))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return res, body, nil
}
