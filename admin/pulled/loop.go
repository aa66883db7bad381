package pulled

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/configloader"
	"go.uber.org/zap"
)

// loop pulls again and again for one setting.
type loop struct {
	puller  *Puller
	setting Setting
	ctx     context.Context
	cancel  context.CancelFunc
	last    lastText
}

// lastText is the last text that was accepted, and the digest of its document.
// It is only kept where the text alone makes the document.
type lastText struct {
	kind   string
	sum    [sha256.Size]byte
	digest uint64
	known  bool
}

func (p *Puller) newLoop(s Setting) *loop {
	l := &loop{puller: p, setting: s}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	return l
}

// leastDelay is the shortest time between two pulls.
const leastDelay = 100 * time.Millisecond

func (l *loop) run() {
	defer l.cancel()
	delay := max(l.setting.Delay, leastDelay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-timer.C:
		}
		l.poll()
		timer.Reset(delay)
	}
}

// poll pulls once. Whatever becomes of it, the loop goes on, unless the document
// that it put into force says otherwise.
func (l *loop) poll() {
	p, source := l.puller, l.setting.Loader.Source()
	doc, err := p.fetch(l.ctx, l.setting.Loader, l.unchanged)
	if err != nil {
		if l.ctx.Err() == nil {
			p.log.Error("pulling the config; there will be another try", zap.String("source", source), zap.Duration("load_delay", l.setting.Delay), zap.Error(err))
		}
		return
	}
	if doc == nil {
		return
	}
	defer doc.Release()
	current, _ := p.host.Document()
	if root := current.Root(); root != nil && config.Equal(root, doc.Root) {
		p.log.Debug("the pulled config is unchanged", zap.String("source", source))
		l.keep(doc)
		return
	}
	report, err := p.host.Apply(l.ctx, doc.change(""))
	var rejected *server.Rejected
	switch {
	case err == nil:
		l.keep(doc)
		p.warn(source, p.applied(doc, report).Warnings)
	case errors.As(err, &rejected), l.ctx.Err() == nil:
		p.refused(doc, err)
	}
}

// unchanged reports whether a text is the last one again, and its document still
// in force.
func (l *loop) unchanged(t configloader.Text) bool {
	if !l.last.known || l.last.kind != t.ContentType || l.last.sum != sha256.Sum256(t.Body) {
		return false
	}
	current, _ := l.puller.host.Document()
	return current.Root() != nil && current.Root().Digest() == l.last.digest
}

func (l *loop) keep(d *Document) {
	if l.last = (lastText{}); d.Pure {
		l.last = lastText{kind: d.kind, sum: sha256.Sum256(d.text), digest: d.Root.Digest(), known: true}
	}
}
