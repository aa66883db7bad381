package acmeserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
)

// challengeView is a challenge as clients see it.
type challengeView struct {
	Type      string   `json:"type"`
	URL       string   `json:"url"`
	Status    string   `json:"status"`
	Validated string   `json:"validated,omitempty"`
	Error     *problem `json:"error,omitempty"`
	Token     string   `json:"token"`
}

func (c *call) viewOf(o *order, n int, ch *challenge) challengeView {
	v := challengeView{Type: ch.Type, URL: c.url("challenge", authzID(o, n), ch.Type), Status: ch.Status, Error: ch.Error, Token: ch.Token}
	if !ch.Validated.IsZero() {
		v.Validated = stamp(ch.Validated)
	}
	return v
}

// respond: RFC 8555 section 7.5.1. It shows the challenge, and has it checked if the client says that it is ready.
func (c *call) respond(id, kind string) error {
	o, n, a, err := c.ownAuthz(id)
	if err != nil {
		return err
	}
	ch := a.challenge(kind)
	if ch == nil {
		return errGone
	}
	if len(c.payload) > 0 {
		if err := c.read(&struct{}{}); err != nil {
			return err
		}
		if ch.Status == statusPending && a.Status == statusPending && !o.final() {
			if !slices.Contains(c.challenges, kind) {
				return malformed("this server no longer does %s", kind)
			}
			if o, err = c.startCheck(o, n, kind); err != nil {
				return err
			}
			ch = o.authz(n).challenge(kind)
		}
	}
	c.resume(o)
	c.w.Header().Add("Link", "<"+c.url("authz", id)+`>;rel="up"`)
	if ch.Status == statusProcessing {
		c.w.Header().Set("Retry-After", "1")
	}
	return c.answer(http.StatusOK, c.viewOf(o, n, ch))
}

// patience is how long an answer waits for the result of a check, which saves the client a question.
const patience = time.Second

// startCheck notes that a challenge is being checked, and starts. It returns the order as it is then.
func (c *call) startCheck(o *order, n int, kind string) (*order, error) {
	what := checkName(o, n, kind)
	free, p := c.state.begin(what)
	if p != nil {
		return nil, p
	}
	if !free {
		return c.ownOrder(o.ID)
	}
	err := c.state.store.update(func(t tx) (err error) {
		if o, err = t.order(o.ID); err != nil {
			return err
		}
		if ch := o.authz(n).challenge(kind); ch.Status == statusPending {
			ch.Status = statusProcessing
		}
		return t.putOrder(o)
	})
	if err != nil || o.authz(n).challenge(kind).Status != statusProcessing {
		c.state.end(what)
		return o, err
	}
	done := c.check(what, o, n, o.authz(n).challenge(kind))
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-c.r.Context().Done():
	}
	return c.ownOrder(o.ID)
}

func checkName(o *order, n int, kind string) string { return "check " + authzID(o, n) + " " + kind }

// resume goes on with checks that the process has begun before it was started again.
func (c *call) resume(o *order) {
	if o.final() {
		return
	}
	for n := range o.Authz {
		for i := range o.Authz[n].Challenges {
			ch := &o.Authz[n].Challenges[i]
			if ch.Status != statusProcessing || o.Authz[n].Status != statusPending {
				continue
			}
			what := checkName(o, n, ch.Type)
			if free, _ := c.state.begin(what); free {
				c.check(what, o, n, ch)
			}
		}
	}
}

// check checks a challenge in the background. The caller has begun what. The channel is closed when the result is stored.
func (c *call) check(what string, o *order, n int, ch *challenge) (done <-chan struct{}) {
	s, checker := c.state, c.databases.checker
	t := target{kind: ch.Type, name: o.Authz[n].Name, token: ch.Token, keyAuth: ch.Token + "." + c.account.Thumb, resolver: c.resolver}
	if t.resolver == nil {
		t.resolver = c.databases.resolver()
	}
	log := s.log.With(zap.String("ca", c.ca), zap.String("name", t.name.Value), zap.String("challenge", t.kind))
	orderID, ended := o.ID, make(chan struct{})
	s.work.Go(func() {
		defer close(ended)
		defer s.end(what)
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		defer func() { <-s.slots }()
		p := checker.check(s.ctx, t)
		if s.ctx.Err() != nil {
			return // the next who asks has it checked again
		}
		if p != nil {
			log.Info("a challenge was not met", zap.String("error", p.Detail))
		}
		if err := s.checked(orderID, n, t.kind, p); err != nil {
			log.Error("storing the result of a challenge", zap.Error(err))
		}
	})
	return ended
}

// checked notes the result of a check: p is nil if the client has shown what it should.
func (s *state) checked(id string, n int, kind string, p *problem) error {
	now := s.now()
	err := s.store.update(func(t tx) error {
		o, err := t.order(id)
		if err != nil {
			return err
		}
		a := o.authz(n)
		ch := a.challenge(kind)
		if a.Status != statusPending || ch.Status != statusProcessing || o.final() {
			return nil // it was decided otherwise meanwhile
		}
		if p == nil {
			ch.Status, ch.Validated, a.Status = statusValid, now, statusValid
		} else {
			ch.Status, ch.Error, a.Status = statusInvalid, p, statusInvalid
			o.Error = newProblem(p.Type[len(problemNamespace):], p.Status, p.Detail).of(a.Name)
		}
		o.settle(now)
		return t.putOrder(o)
	})
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// wait waits between attempts, and reports whether there is to be another.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
