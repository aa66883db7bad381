package identity

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// work is what is done for one name. The Service's mu guards it.
type work struct {
	name string
	// config is what it is worked on with, nil if that has not begun; keys are those of its issuers.
	config *certmagic.Config
	keys   []string
	ready  bool // there is a certificate of these issuers in memory
	// cancel ends the work in progress, nil if there is none; each piece of work has a number.
	cancel context.CancelFunc
	number uint64
}

func (w *work) stop() {
	w.number++
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
}

// Prepare takes the settings of a document that may come into force. What the storage has for them is read; nothing is
// obtained. Each Prepare that succeeds is followed by Release.
func (s *Service) Prepare(set *Settings) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.New("the process is shutting down")
	}
	if s.cache.Load() == nil {
		s.cache.Store(certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return s.config.Load(), nil },
			RenewCheckInterval: renewInterval, Logger: s.log,
		}))
	}
	config := s.configFor(set, s.live)
	set.config = config
	s.live = append(s.live, set)
	if s.config.Load() == nil {
		s.config.Store(config)
	}
	var fresh []*work
	for _, name := range set.Names {
		if s.names[name] == nil {
			w := &work{name: name}
			s.names[name] = w
			fresh = append(fresh, w)
		}
	}
	keys := set.keys
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, loadTimeout)
	defer cancel()
	for _, w := range fresh {
		// That it is not there, or cannot be read, is for Start to act on.
		if _, err := config.CacheManagedCertificate(ctx, w.name); err == nil {
			s.mu.Lock()
			w.keys, w.ready = keys, true
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.tell()
	s.mu.Unlock()
	return nil
}

// Start puts prepared settings into force: what is missing is obtained, and clients see these certificates.
func (s *Service) Start(set *Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.current = set
	s.served.Store(set)
	s.apply(set)
	s.tell()
}

// Release says that a document is no more. Certificates that no other asks for are forgotten; they stay in the storage.
func (s *Service) Release(set *Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.live, set)
	if i < 0 {
		return
	}
	s.live = slices.Delete(s.live, i, i+1)
	if s.current == set {
		s.current = nil
		s.served.Store(nil)
	}
	for name, w := range s.names {
		if !slices.ContainsFunc(s.live, func(other *Settings) bool { return slices.Contains(other.Names, name) }) {
			w.stop()
			delete(s.names, name)
			s.drop(name)
		}
	}
	s.tell()
	if len(s.live) == 0 && !s.closed {
		s.config.Store(nil)
		if cache := s.cache.Swap(nil); cache != nil {
			s.running.Go(cache.Stop)
		}
	}
}

func (s *Service) drop(name string) {
	if cache := s.cache.Load(); cache != nil {
		cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
	}
}

// configFor returns the config for settings: that of others with the same issuers, so that work which is under way for them
// goes on, else a new one. s.mu is held.
func (s *Service) configFor(set *Settings, others []*Settings) *certmagic.Config {
	for _, other := range slices.Backward(others) {
		if slices.Equal(other.Issuers, set.Issuers) {
			set.keys = other.keys
			return other.config
		}
	}
	c := certmagic.New(s.cache.Load(), certmagic.Config{
		Storage: s.options.Storage, Logger: s.log, Issuers: []certmagic.Issuer{},
		KeySource: certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
		OCSP:      certmagic.OCSPConfig{DisableStapling: true},
	})
	issuers := set.Issuers
	if len(issuers) == 0 {
		issuers = append(issuers, s.options.Default)
	}
	set.keys = nil
	for _, i := range issuers {
		full, err := i.With(s.defaults)
		if err != nil { // cannot be: CheckIssuer has found nothing
			s.log.Error("an issuer of the identity cannot be used", zap.Error(err))
			continue
		}
		c.Issuers = append(c.Issuers, full.Issuer(c))
		set.keys = append(set.keys, full.Key())
	}
	return c
}

// apply works on the names of settings, as far as that is not done or under way already. s.mu is held.
func (s *Service) apply(set *Settings) {
	s.config.Store(set.config)
	for _, name := range set.Names {
		w := s.names[name]
		if w.config == set.config {
			continue
		}
		begun := w.config != nil
		w.config = set.config
		if w.ready && begun && slices.Equal(w.keys, set.keys) {
			continue
		}
		w.stop()
		w.ready = w.ready && slices.Equal(w.keys, set.keys)
		w.keys = set.keys
		ctx, cancel := context.WithCancel(s.ctx)
		w.cancel = cancel
		number := w.number
		s.running.Go(func() { s.run(ctx, w, number, set.config) })
	}
}

// Pauses between attempts where certmagic does not try again by itself, as when the storage fails.
const (
	firstPause = 10 * time.Second
	longPause  = 10 * time.Minute
)

// run gets a certificate for a name, of the storage or else of an issuer. It tries until it has one, or ctx ends.
func (s *Service) run(ctx context.Context, w *work, number uint64, c *certmagic.Config) {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		cert, err := s.obtain(ctx, w.name, c)
		if ctx.Err() != nil {
			s.discard(w.name)
			return
		}
		if err == nil {
			s.arrived(w, number, c, cert)
			return
		}
		s.log.Error("getting the certificate of this instance", zap.String("name", w.name), zap.Duration("retrying_in", pause), zap.Error(err))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// obtain loads a certificate; if there is none an issuer is asked, for as long as it takes.
func (s *Service) obtain(ctx context.Context, name string, c *certmagic.Config) (certmagic.Certificate, error) {
	cert, err := c.CacheManagedCertificate(ctx, name)
	switch {
	case err == nil:
		return cert, nil
	case errors.Is(err, fs.ErrNotExist):
		err = c.ObtainCertAsync(ctx, name)
	case unusable(ctx, name, c):
		s.log.Error("the certificate in the storage cannot be used; getting another", zap.String("name", name), zap.Error(err))
		err = c.RenewCertAsync(ctx, name, true)
	}
	if err != nil {
		return cert, err
	}
	return c.CacheManagedCertificate(ctx, name)
}

// unusable reports whether the storage gives all parts of a certificate, so that they themselves are what is wrong.
func unusable(ctx context.Context, name string, c *certmagic.Config) bool {
	return slices.ContainsFunc(c.Issuers, func(i certmagic.Issuer) bool {
		key := i.IssuerKey()
		for _, part := range []string{certmagic.StorageKeys.SitePrivateKey(key, name), certmagic.StorageKeys.SiteCert(key, name), certmagic.StorageKeys.SiteMeta(key, name)} {
			if _, err := c.Storage.Load(ctx, part); err != nil {
				return false
			}
		}
		return true
	})
}

// discard forgets a certificate that has come for a name which nobody wants any more.
func (s *Service) discard(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] == nil {
		s.drop(name)
	}
}

// arrived notes that a name has its certificate, and forgets those of other issuers.
func (s *Service) arrived(w *work, number uint64, c *certmagic.Config, cert certmagic.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[w.name] != w || w.number != number {
		if s.names[w.name] == nil {
			s.drop(w.name)
		}
		return
	}
	w.ready = true
	w.stop()
	cache := s.cache.Load()
	if cache == nil {
		return
	}
	var old []string
	for _, other := range s.cached(w.name) {
		if other.Hash() != cert.Hash() {
			old = append(old, other.Hash())
		}
	}
	cache.Remove(old)
	s.tell()
	if !s.closed && cert.NeedsRenewal(c) {
		s.running.Go(func() {
			if err := cache.RenewManagedCertificates(s.ctx); err != nil {
				s.log.Error("renewing the certificate of this instance", zap.Error(err))
			}
		})
	}
}
