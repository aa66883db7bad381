package ech

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/caddyserver/certmagic"
)

// publishLock guards what is known of publications, and the publishing itself.
const publishLock = "ech_publish"

// Publications is where a config has been published: for each publisher the domains, with the time.
type Publications map[string]map[string]time.Time

// Has reports whether a publisher has published the config for a domain.
func (p Publications) Has(publisher, domain string) bool {
	_, ok := p[publisher][domain]
	return ok
}

// Publishing calls f while no other process that shares the storage publishes configs.
func Publishing(ctx context.Context, s certmagic.Storage, f func() error) error {
	if err := s.Lock(ctx, publishLock); err != nil {
		return fmt.Errorf("locking the publication of Encrypted ClientHello: %w", err)
	}
	defer func() { _ = s.Unlock(context.WithoutCancel(ctx), publishLock) }()
	return f()
}

// Published reads where a config has been published. To be called within [Publishing].
func Published(ctx context.Context, s certmagic.Storage, c *Config) (Publications, error) {
	m, err := c.meta(ctx, s)
	if err != nil {
		return nil, err
	}
	return m.Publications, nil
}

// NotePublished notes that a publisher has published a config for domains. To be called within [Publishing].
func NotePublished(ctx context.Context, s certmagic.Storage, c *Config, publisher string, domains []string, now time.Time) error {
	m, err := c.meta(ctx, s)
	if err != nil {
		return err
	}
	if m.Publications == nil {
		m.Publications = Publications{}
	}
	if m.Publications[publisher] == nil {
		m.Publications[publisher] = make(map[string]time.Time, len(domains))
	}
	for _, d := range domains {
		m.Publications[publisher][d] = now.UTC().Truncate(time.Second)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.Store(ctx, c.metaKey(), text); err != nil {
		return fmt.Errorf("noting where the config of Encrypted ClientHello for %s has been published: %w", c.PublicName, err)
	}
	return nil
}

func (c *Config) metaKey() string { return path.Join(c.folder(), "meta.json") }

// meta reads what is stored beside the config. One that is gone, or is another's by now, was not published.
func (c *Config) meta(ctx context.Context, s certmagic.Storage) (m meta, err error) {
	text, err := s.Load(ctx, c.metaKey())
	if errors.Is(err, fs.ErrNotExist) {
		return meta{}, fmt.Errorf("the config %d of Encrypted ClientHello for %s is no longer in the storage", c.ID, c.PublicName)
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return meta{}, fmt.Errorf("reading where the config of Encrypted ClientHello for %s has been published: %w", c.PublicName, err)
	}
	return m, nil
}
