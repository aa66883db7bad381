package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Schedule is when a host is probed, and how many results make a change. Two values that are equal mean the same.
type Schedule struct {
	// Interval is the time from the beginning of one probe to that of the next.
	Interval time.Duration
	// Jitter is the part of the interval, 0 to 1, by which each is shortened or lengthened at random.
	Jitter float64
	// Timeout bounds a probe, from dialling to the end of the body.
	Timeout time.Duration
	// Passes is how many passed probes in a row make a host healthy that was not. At least 1.
	Passes int
	// Fails is how many failed probes in a row make a healthy host unhealthy. At least 1.
	Fails int
	// Down says that a host counts as unhealthy before anything is known of it.
	Down bool
}

// minPause keeps probes apart whatever the interval is.
const minPause = time.Millisecond

// Checking is what [Pool.AcquireChecker] makes a checker of.
type Checking struct {
	Probe    HTTPProbe
	Schedule Schedule
	// Via carries the requests; see [Identified].
	Via Transport
	// Globals resolves the placeholders of the probe.
	Globals vars.Scope
	// Log gets results that are not as they should be, and changes.
	Log *zap.Logger
}

// Identified is a [Transport] that says what it is by meaning: a comparable value, equal for transports that do the same.
// Each of them has to be usable for as long as one of them is held, for checkers use that of their first holder. A
// transport that is not Identified is equal to itself alone.
type Identified interface {
	Identity() any
}

// checkKey is the meaning of a checker.
type checkKey struct {
	probe    HTTPProbe
	schedule Schedule
	via      any
}

// question is what is asked of whom, whatever is expected and however often.
type question struct {
	dial              string
	port              int
	method, uri, head string
	body              string
}

func (k checkKey) question() question {
	p := k.probe
	return question{p.Dial, p.Port, p.Method, p.URI, p.Header, p.Body}
}

// Checker probes one host regularly. It begins at the first [Checker.Start] and ends with its last release, and in
// between no edit disturbs it: neither its timer nor what it knows. There is one for each host and meaning, however
// many handlers it has.
type Checker struct {
	host   *Host
	key    checkKey
	prober *httpProber
	log    *zap.Logger
	random func() float64
	// changed is told of changes; nil if nobody is.
	changed func(host string, healthy bool)

	healthy atomic.Bool
	ctx     context.Context
	cancel  context.CancelFunc

	mu             sync.Mutex
	started        bool
	stopped        bool
	timer          *time.Timer
	passed, failed int // in a row
	since, checked time.Time
	reason         string
}

// AcquireChecker returns the checker of a host and counts one holder. It has to be started. If it is new and another
// checker of the host has asked the same, with other expectations or another schedule, it begins with what that one
// knows. The error is that of [HTTPProbe.Validate].
func (p *Pool) AcquireChecker(h *Host, c Checking) (*Checker, error) {
	key := checkKey{c.Probe, c.Schedule, any(c.Via)}
	if t, ok := c.Via.(Identified); ok {
		key.via = t.Identity()
	}
	prober, err := c.Probe.prober(c.Via, c.Globals)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.appoint(h, key, func() Judge { return newChecker(h, key, prober, c.Log, p.random) }).(*Checker), nil
}

// ReleaseChecker gives back what one [Pool.AcquireChecker] took. With the last holder the probing ends, and a probe that
// is under way is cancelled and counts for nothing.
func (p *Pool) ReleaseChecker(c *Checker) { p.Dismiss(c.host, c.key) }

// newChecker is called with Pool.mu locked.
func newChecker(h *Host, key checkKey, prober *httpProber, log *zap.Logger, random func() float64) *Checker {
	c := &Checker{host: h, key: key, prober: prober, log: log, random: random}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	c.changed = h.pool.changed
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.healthy.Store(!key.schedule.Down)
	for k, s := range h.judges {
		if other, ok := k.(checkKey); ok && other.question() == key.question() {
			c.inherit(s.judge.(*Checker))
			break
		}
	}
	return c
}

func (c *Checker) inherit(from *Checker) {
	from.mu.Lock()
	defer from.mu.Unlock()
	c.healthy.Store(from.healthy.Load())
	c.since, c.checked, c.reason = from.since, from.checked, from.reason
}

// Start begins to probe, at once. A checker that has begun goes on as it was.
func (c *Checker) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.stopped {
		return
	}
	c.started = true
	c.timer = time.AfterFunc(0, c.run)
}

func (c *Checker) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.cancel()
}

// Healthy implements [Judge].
func (c *Checker) Healthy() bool { return c.healthy.Load() }

// Verdict implements [Judge].
func (c *Checker) Verdict() Verdict {
	p, s := c.prober, c.key.schedule
	rule := fmt.Sprintf("%s %s every %s", p.Method, p.uri.RequestURI(), s.Interval)
	if p.Port != 0 {
		rule += fmt.Sprintf(" at port %d", p.Port)
	}
	if p.Dial != p.Target {
		rule += " at " + p.Dial
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := Verdict{Kind: "active", Rule: rule, Healthy: c.healthy.Load(), State: "up", Since: c.since, Checked: c.checked, Reason: c.reason}
	if !v.Healthy {
		v.State = "down"
	}
	return v
}

// run makes one probe and sets the time of the next.
func (c *Checker) run() {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, c.key.schedule.Timeout)
	err := c.try(ctx)
	cancel()
	c.settle(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.timer.Reset(max(c.pause()-time.Since(begun), minPause))
	}
}

func (c *Checker) pause() time.Duration {
	s := c.key.schedule
	return s.Interval + time.Duration(s.Jitter*(2*c.random()-1)*float64(s.Interval))
}

// try probes. What a probe breaks stays inside it (HC-11).
func (c *Checker) try(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("active health check panicked", zap.String("host", c.host.dial), zap.Any("error", r), zap.Stack("stack"))
			err = &unprobed{"active health check failed", fmt.Errorf("panic: %v", r)}
		}
	}()
	return c.prober.probe(ctx)
}

// settle takes in a result and reports it.
func (c *Checker) settle(err error) {
	none := (*unprobed)(nil)
	if errors.As(err, &none) {
		if c.note(err) {
			c.log.Error(none.what, zap.String("host", c.host.dial), zap.Error(none.err))
		}
		return
	}
	was, is, counted := c.count(err)
	if !counted {
		return
	}
	if err != nil {
		c.logFailure(err, was)
	}
	switch {
	case is && !was:
		c.log.Info("host is up", zap.String("host", c.host.dial))
	case was && !is:
		c.log.Warn("host is down", zap.String("host", c.host.dial), zap.Int("fails", c.key.schedule.Fails), zap.Error(err))
	}
	if is != was && c.changed != nil {
		c.changed(c.probed(), is)
	}
}

// probed names the host as it is probed (EVT-1).
func (c *Checker) probed() string {
	p := c.key.probe
	a, err := ParseDial(p.Target)
	switch {
	case err != nil: // it has placeholders
		return p.Target
	case strings.HasPrefix(a.Network, "unix"):
		return "localhost"
	case p.Port != 0 && p.Dial == p.Target:
		return net.JoinHostPort(a.Host, strconv.Itoa(p.Port))
	}
	return a.HostPort
}

// note keeps why nothing was found out. It reports false if the checker has ended.
func (c *Checker) note(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.reason = err.Error()
	}
	return !c.stopped
}

// count counts a result, unless the checker has ended. Results of one kind count in a row: the other kind begins them
// anew (HC-9, quirk 12).
func (c *Checker) count(err error) (was, is, counted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false, false, false
	}
	c.checked = time.Now()
	if c.since.IsZero() {
		c.since = c.checked
	}
	was = c.healthy.Load()
	is = was
	if err == nil {
		c.failed, c.reason = 0, ""
		c.passed++
		is = was || c.passed >= c.key.schedule.Passes
	} else {
		c.passed, c.reason = 0, err.Error()
		c.failed++
		is = was && c.failed < c.key.schedule.Fails
	}
	if is != was {
		c.healthy.Store(is)
		c.passed, c.failed, c.since = 0, 0, c.checked
	}
	return was, is, true
}

// logFailure reports a probe that was not passed. Of a host that is down already it is no news.
func (c *Checker) logFailure(err error, up bool) {
	level := zap.DebugLevel
	if up {
		level = zap.InfoLevel
	}
	var failed *failedProbe
	if !errors.As(err, &failed) {
		failed = &failedProbe{what: "active health check failed", err: err}
	}
	e := c.log.Check(level, failed.what)
	if e == nil {
		return
	}
	fields := []zap.Field{zap.String("host", c.host.dial)}
	if failed.status != 0 {
		fields = append(fields, zap.Int("status_code", failed.status))
	}
	if failed.err != nil {
		fields = append(fields, zap.Error(failed.err))
	}
	e.Write(fields...)
}
