package automation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// When storage is cleaned: first some time after the start, which has other work.
const (
	firstClean = time.Minute
	// expiredFor is how long certificates stay in the storage after they have expired.
	expiredFor = 14 * 24 * time.Hour
	// challengeLife is how old a challenge is that nobody can be waiting for.
	challengeLife = 24 * time.Hour
)

// maintain runs what has to be done from time to time, besides what certmagic does by itself.
func (m *Manager) maintain() {
	var o options
	renew, clean := time.NewTimer(0), time.NewTimer(firstClean)
	renew.Stop()
	ech := time.NewTicker(echCheck)
	defer func() { renew.Stop(); clean.Stop(); ech.Stop() }()
	first := true
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
			now := m.current.Load().app.options
			if now.renew != o.renew {
				renew.Reset(now.renew)
			}
			if now.clean != o.clean && !first {
				clean.Reset(now.clean)
			}
			o, first = now, false
		case <-renew.C:
			// certmagic does it too, but for as long as it cannot replace a revoked certificate it does nothing else.
			m.renew()
			renew.Reset(o.renew)
		case <-clean.C:
			if !o.noWipe {
				m.running.Go(func() { m.clean(o.clean) })
			}
			clean.Reset(o.clean)
		case <-ech.C:
			m.running.Go(func() {
				m.ech.rotate(m)
				m.publishing.recheck()
			})
		}
	}
}

// renew renews what is due, in the background.
func (m *Manager) renew() {
	m.running.Go(func() {
		if err := m.cache.RenewManagedCertificates(m.ctx); err != nil {
			m.log.Error("renewing certificates", zap.Error(err))
		}
	})
}

// clean removes from all storages what has expired.
func (m *Manager) clean(interval time.Duration) {
	id, err := instanceID(m.ctx, m.storage)
	if err != nil {
		m.log.Error("cleaning the storage", zap.Error(err))
		return
	}
	storages := []certmagic.Storage{m.storage}
	for _, p := range m.current.Load().app.policies {
		if p.storage != nil {
			storages = append(storages, p.storage)
		}
	}
	for _, s := range storages {
		err := certmagic.CleanStorage(m.ctx, s, certmagic.CleanStorageOptions{
			Logger: m.log, InstanceID: id, Interval: interval, OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: expiredFor,
		})
		if err == nil {
			err = cleanChallenges(m.ctx, s)
		}
		if err != nil && m.ctx.Err() == nil {
			m.log.Error("cleaning the storage", zap.Error(err))
		}
	}
}

// cleanChallenges removes challenges that were left behind.
func cleanChallenges(ctx context.Context, s certmagic.Storage) error {
	authorities, err := s.List(ctx, "acme", false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the accounts of authorities: %w", err)
	}
	for _, a := range authorities {
		tokens, err := s.List(ctx, path.Join(a, "challenge_tokens"), false)
		if err != nil {
			continue // it has none
		}
		for _, t := range tokens {
			info, err := s.Stat(ctx, t)
			if err != nil || info.Modified.IsZero() || time.Since(info.Modified) < challengeLife || !strings.HasSuffix(t, ".json") {
				continue
			}
			if err := s.Delete(ctx, t); err != nil {
				return fmt.Errorf("removing challenge %s: %w", t, err)
			}
		}
	}
	return nil
}

// instanceKey is where the storage has the id of this installation.
const instanceKey = "instance.uuid"

// instanceID reads the id of the installation, which is made if there is none.
func instanceID(ctx context.Context, s certmagic.Storage) (string, error) {
	text, err := s.Load(ctx, instanceKey)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the instance id: %w", err)
	}
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562 section 5.4
	id := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	if err := s.Store(ctx, instanceKey, []byte(id)); err != nil {
		return "", fmt.Errorf("writing the instance id: %w", err)
	}
	return id, nil
}
