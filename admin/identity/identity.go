// Package identity is the certificate of this instance itself: what `admin.identity` of a document asks for. The remote admin
// endpoint shows it to its clients, and whoever talks to other servers in the name of this instance may show it to them.
//
// The certificates are those of a Service, one for a process. They are obtained and renewed in the background, and live for
// as long as some document in use asks for them with the same names and issuers, whatever else of the documents changes.
package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"go.uber.org/zap"
	"golang.org/x/net/idna"
)

// Client is what gives a certificate to those who talk to others in the name of this instance. *Service is one.
type Client interface {
	// ClientCertificate returns the certificate of this instance, with its private key, for use as a client. If there is
	// none yet it waits until there is, or ctx ends. ErrNone means that no document asks for one. It is safe for concurrent
	// use. While a document is being prepared it is that document's certificate, as far as the storage has it already; what
	// has to be obtained is there only some time after the document has taken effect.
	ClientCertificate(ctx context.Context) (*tls.Certificate, error)
}

// ErrNone is the error for an instance without an identity.
var ErrNone = errors.New("this instance has no certificate of its own; name it in admin.identity.identifiers")

// Settings is what a document asks for. A Settings belongs to one document and must not be changed.
type Settings struct {
	// Names is the names, each of which gets a certificate. They are as Name returns them.
	Names []string
	// Issuers is who is asked for a certificate, in this order. None is the one of the process.
	Issuers []issuance.Issuer

	config *certmagic.Config
	keys   []string // of the issuers
}

// Name returns the form of an identifier that is used here, and whether a certificate can have that name.
func Name(text string) (string, bool) {
	name := strings.ToLower(strings.TrimSpace(text))
	if ip := net.ParseIP(strings.Trim(name, "[]")); ip != nil {
		return ip.String(), true
	}
	if strings.Contains(name, ":") && !strings.Contains(name, "/") {
		return name, false // an address with a port, which is no URI
	}
	if ascii, err := idna.ToASCII(name); err == nil {
		name = ascii
	}
	return name, certmagic.SubjectQualifiesForCert(name)
}

// CheckIssuer returns what an issuer lacks, if anything. What a document says elsewhere for all issuers does not count.
func CheckIssuer(i issuance.Issuer) error {
	_, err := i.With(issuance.Defaults{})
	return err
}

// Options is what a Service needs.
type Options struct {
	// Storage is where the certificates are, whatever storage a document has for others. Required.
	Storage certmagic.Storage
	// Default is who is asked for certificates where a document says nothing. Required.
	Default issuance.Issuer
	// Authority is asked over ACME where an issuer names no authority; nil is Let's Encrypt.
	Authority *issuance.Authority
	// Log is the logger "admin.identity"; nil logs nothing.
	Log *zap.Logger
}

// renewInterval is the time between looks at which certificates need to be renewed. There are few of them.
const renewInterval = time.Minute

// loadTimeout bounds the reading of certificates while a document is being prepared.
const loadTimeout = 10 * time.Second

// Service is the certificates of a process. It is safe for concurrent use.
type Service struct {
	options Options
	log     *zap.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	// served is the settings whose certificates are shown to clients.
	served atomic.Pointer[Settings]
	// config is what certmagic renews with. It is asked for while the cache is locked.
	config atomic.Pointer[certmagic.Config]
	cache  atomic.Pointer[certmagic.Cache] // nil while nobody asks for a certificate

	mu       sync.Mutex
	closed   bool
	live     []*Settings // those of documents that are prepared or in use, oldest first
	current  *Settings   // the last one that has taken effect, nil if it is gone
	names    map[string]*work
	defaults issuance.Defaults
	changed  chan struct{} // closed when there is news for those who wait
}

var _ Client = (*Service)(nil)

// New makes a service. Nothing runs until a document asks for a certificate.
func New(o Options) *Service {
	s := &Service{options: o, log: o.Log, names: map[string]*work{}, changed: make(chan struct{}),
		defaults: issuance.Defaults{HTTPPort: certmagic.HTTPPort, HTTPSPort: certmagic.HTTPSPort, Authority: o.Authority}}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends all work and waits for it. What waits for a certificate authority is given up.
func (s *Service) Close() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	cache := s.cache.Swap(nil)
	s.tell()
	s.mu.Unlock()
	s.running.Wait()
	if cache != nil {
		cache.Stop()
	}
}

// SetPorts says where ports 80 and 443 of the outside arrive, which certificate authorities ask. 0 is these.
func (s *Service) SetPorts(http, https int) {
	if http == 0 {
		http = certmagic.HTTPPort
	}
	if https == 0 {
		https = certmagic.HTTPSPort
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || http == s.defaults.HTTPPort && https == s.defaults.HTTPSPort {
		return
	}
	s.defaults.HTTPPort, s.defaults.HTTPSPort = http, https
	for i, set := range s.live {
		set.config = s.configFor(set, s.live[:i])
	}
	if s.current != nil {
		s.apply(s.current)
	}
}

// tell wakes those who wait. s.mu is held.
func (s *Service) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// ClientCertificate implements Client: the certificate of the first name that has one.
func (s *Service) ClientCertificate(ctx context.Context) (*tls.Certificate, error) {
	for {
		s.mu.Lock()
		news := s.changed
		var set *Settings
		if len(s.live) > 0 {
			set = s.live[len(s.live)-1]
		}
		closed := s.closed
		s.mu.Unlock()
		if closed || set == nil || len(set.Names) == 0 {
			return nil, ErrNone
		}
		for _, name := range set.Names {
			if list := s.cached(name); len(list) > 0 {
				return &list[0].Certificate, nil
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, fmt.Errorf("there is no certificate for %s yet, which is the identity of this instance; the log of admin.identity says why: %w",
				strings.Join(set.Names, ", "), context.Cause(ctx))
		}
	}
}

// errNotYet is why a handshake fails while there is no certificate.
var errNotYet = errors.New("this instance has no certificate of its own yet")

// GetCertificate returns the certificate for the name that a client asks for, else for the address that it has connected to,
// else the first there is. Its type is that of [tls.Config.GetCertificate].
func (s *Service) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	set := s.served.Load()
	if set == nil {
		return nil, ErrNone
	}
	asked := hello.ServerName
	if asked == "" && hello.Conn != nil {
		asked, _, _ = net.SplitHostPort(hello.Conn.LocalAddr().String())
	}
	var first *tls.Certificate
	for _, name := range set.Names {
		for _, c := range s.cached(name) {
			if asked != "" && c.Leaf.VerifyHostname(asked) == nil {
				return &c.Certificate, nil
			}
			if first == nil {
				first = &c.Certificate
			}
		}
	}
	if first == nil {
		return nil, errNotYet
	}
	return first, nil
}

// cached lists the certificates in memory for exactly this name.
func (s *Service) cached(name string) []certmagic.Certificate {
	cache := s.cache.Load()
	if cache == nil {
		return nil
	}
	return slices.DeleteFunc(cache.AllMatchingCertificates(name), func(c certmagic.Certificate) bool {
		return len(c.Names) == 0 || c.Names[0] != name || c.Leaf == nil
	})
}
