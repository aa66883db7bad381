package issuance

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// Challenges answers the requests by which authorities check names. It is a service: one for a process, which every HTTP
// server asks before its routes. Safe for concurrent use.
//
// It answers only for what this process has begun, or another one that shares a storage with it: all else is none of its
// business.
type Challenges struct {
	log    *zap.Logger
	places atomic.Pointer[[]place]
}

// NewChallenges returns the service of a process. It logs what it answers; the log may be nil.
func NewChallenges(log *zap.Logger) *Challenges {
	if log == nil {
		log = zap.NewNop()
	}
	return &Challenges{log: log}
}

// place is where in a storage an issuer keeps its challenges.
type place struct {
	storage certmagic.Storage
	prefix  string
	zerossl bool
}

// Use sets the configs whose issuers' challenges may be in storage, in place of those before. What this process has begun
// itself is answered without it.
func (c *Challenges) Use(configs []*certmagic.Config) {
	var list []place
	seen := map[place]bool{}
	for _, cfg := range configs {
		if cfg.Storage == nil {
			continue
		}
		for _, issuer := range cfg.Issuers {
			for _, p := range placesOf(cfg.Storage, issuer) {
				if reflect.TypeOf(p.storage).Comparable() {
					if seen[p] {
						continue
					}
					seen[p] = true
				}
				list = append(list, p)
			}
		}
	}
	c.places.Store(&list)
}

// placesOf is where an issuer keeps challenges over HTTP.
func placesOf(s certmagic.Storage, issuer certmagic.Issuer) (list []place) {
	switch i := issuer.(type) {
	case *certmagic.ACMEIssuer:
		if i.DisableHTTPChallenge || i.DisableDistributedSolvers || i.DNS01Solver != nil {
			return nil
		}
		for _, ca := range []string{i.CA, i.TestCA} {
			if ca != "" {
				key := (&certmagic.ACMEIssuer{CA: ca}).IssuerKey()
				list = append(list, place{storage: s, prefix: path.Join("acme", certmagic.StorageKeys.Safe(key))})
			}
		}
	case *certmagic.ZeroSSLIssuer:
		if i.CNAMEValidation == nil {
			list = append(list, place{storage: s, prefix: i.IssuerKey(), zerossl: true})
		}
	}
	return list
}

const (
	acmePath    = "/.well-known/acme-challenge/"
	zerosslPath = "/.well-known/pki-validation/"
)

// HandleHTTP answers a request if it belongs to a challenge, and reports whether it has.
func (c *Challenges) HandleHTTP(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/.well-known/") || r.Method != http.MethodGet {
		return false
	}
	zerossl := strings.HasPrefix(r.URL.Path, zerosslPath)
	if !zerossl && !strings.HasPrefix(r.URL.Path, acmePath) {
		return false
	}
	host := hostOf(r.Host)
	if host == "" || len(host) > 255 {
		return false
	}
	if !zerossl {
		own, ok := certmagic.GetACMEChallenge(host)
		if ok && own.Type == acme.ChallengeTypeHTTP01 && certmagic.SolveHTTPChallenge(c.log, w, r, own.Challenge) {
			return true
		}
	}
	places := c.places.Load()
	if places == nil {
		return false
	}
	for _, p := range *places {
		if p.zerossl == zerossl && p.answer(c.log, w, r, host) {
			return true
		}
	}
	return false
}

// answer answers a request whose challenge is in storage.
func (p place) answer(log *zap.Logger, w http.ResponseWriter, r *http.Request, host string) bool {
	challenge, ok := p.load(r.Context(), log, host)
	if !ok {
		return false
	}
	if !p.zerossl {
		return challenge.Type == acme.ChallengeTypeHTTP01 && certmagic.SolveHTTPChallenge(log, w, r, challenge)
	}
	asked, err := url.Parse(challenge.URL)
	if err != nil || asked.Path != r.URL.Path || !strings.EqualFold(host, challenge.Identifier.Value) {
		return false
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(challenge.Token))
	log.Info("answered a validation of ZeroSSL", zap.String("name", host), zap.String("remote", r.RemoteAddr))
	return true
}

// load finds the challenge of a name. What cannot be read is not there: the request is a stranger's, and none of ours.
func (p place) load(ctx context.Context, log *zap.Logger, host string) (challenge acme.Challenge, ok bool) {
	text, err := p.storage.Load(ctx, path.Join(p.prefix, "challenge_tokens", certmagic.StorageKeys.Safe(host)+".json"))
	if err != nil {
		return challenge, false
	}
	if err := json.Unmarshal(text, &challenge); err != nil {
		log.Warn("a challenge in storage cannot be read", zap.String("name", host), zap.Error(err))
		return challenge, false
	}
	return challenge, true
}

// hostOf is the host of a Host header, in lower case, without port and brackets.
func hostOf(text string) string {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	return strings.ToLower(strings.Trim(text, "[]"))
}
