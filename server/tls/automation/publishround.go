package automation

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/server/tls/automation/ech"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
	"go.uber.org/zap"
)

// roundOfECH is what one publisher does in a round.
type roundOfECH struct {
	p       *publishing
	key     string
	configs []*ech.Config
	want    string
	alpn    map[string]string

	fresh              []string // published, and not noted in the storage yet
	noted              time.Time
	published, skipped int
	failed             int
}

// leaveOut takes out what was published already, by this process or another one.
func (r *roundOfECH) leaveOut(domains *[]publishers.Domain) error {
	before := make([]ech.Publications, len(r.configs))
	for i, c := range r.configs {
		var err error
		if before[i], err = ech.Published(r.p.m.ctx, r.p.m.storage, c); err != nil {
			return err
		}
	}
	r.alpn = make(map[string]string, len(*domains))
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	*domains = slices.DeleteFunc(*domains, func(d publishers.Domain) bool {
		at, is := placeOfECH{r.key, d.Name}, stamp{r.want, strings.Join(d.ALPN, ",")}
		r.alpn[d.Name] = is.alpn
		if r.p.done[at].configs == r.want { // with other protocols
			return false
		}
		for _, b := range before {
			if !b.Has(r.key, d.Name) {
				return false
			}
		}
		r.p.done[at] = is
		return true
	})
	return nil
}

// report takes in what became of a domain.
func (r *roundOfECH) report(res publishers.Result) {
	at, is := placeOfECH{r.key, res.Domain}, stamp{r.want, r.alpn[res.Domain]}
	p := r.p
	switch {
	case res.Err != nil:
		if r.failed++; r.failed <= maxComplaints {
			p.m.log.Error("publishing the configs of Encrypted ClientHello", zap.String("domain", res.Domain), zap.Error(res.Err))
		}
		p.mu.Lock()
		p.failing[at] = is
		p.mu.Unlock()
		return
	case res.Skipped != "":
		r.skipped++
		p.mu.Lock()
		_, again := p.skipped[at]
		p.skipped[at] = is
		p.mu.Unlock()
		if !again {
			p.m.log.Info("Encrypted ClientHello is not published", zap.String("domain", res.Domain), zap.String("reason", res.Skipped))
		}
		return
	}
	r.published++
	r.fresh = append(r.fresh, res.Domain)
	p.mu.Lock()
	p.done[at] = is
	p.mu.Unlock()
	if len(r.fresh) >= noteEvery || time.Since(r.noted) > noteAfter {
		r.note()
	}
}

// note notes in the storage what was published. This is finished even if the process ends.
func (r *roundOfECH) note() {
	if len(r.fresh) == 0 {
		return
	}
	m := r.p.m
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), storageTimeout)
	defer cancel()
	for _, c := range r.configs {
		if err := ech.NotePublished(ctx, m.storage, c, r.key, r.fresh, time.Now()); err != nil {
			m.log.Error("publishing the configs of Encrypted ClientHello", zap.Error(err))
		}
	}
	r.fresh, r.noted = nil, time.Now()
}

// end says what came of the round, and reports whether something is left to be done.
func (r *roundOfECH) end(domains int) bool {
	m := r.p.m
	if r.failed > 0 {
		m.count("publish")
	}
	m.log.Info("published the configs of Encrypted ClientHello", zap.String("publisher", r.key), zap.Int("domains", r.published),
		zap.Int("skipped", r.skipped), zap.Int("failed", domains-r.published-r.skipped))
	return r.published+r.skipped < domains
}
