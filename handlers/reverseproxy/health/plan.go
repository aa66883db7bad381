package health

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/upstream"
)

const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 5 * time.Second
	defaultJitter   = 0.1
)

// Plan is the compiled settings of one handler. It is immutable.
type Plan struct {
	// MinHealthy is how many upstreams have to be healthy for health to count.
	MinHealthy int
	// RequestLimit is the limit of running requests of upstreams that have none of their own; 0 is no limit.
	RequestLimit int64

	deps     Deps
	active   bool
	log      *zap.Logger        // of active checks
	probe    upstream.HTTPProbe // Dial is "" for the upstream's own
	schedule upstream.Schedule
	passive  bool
	maxFails int64
	window   time.Duration
	latency  time.Duration
	statuses []int
}

// Deps is what a plan takes from its surroundings.
type Deps struct {
	// Pool holds what is found out.
	Pool *upstream.Pool
	// Breaker judges upstreams as well, unless it is nil.
	Breaker upstream.Breaker
	// Transport carries the requests of active checks. It must be usable when an upstream is watched.
	Transport upstream.Transport
	// Globals resolves the placeholders of active checks.
	Globals vars.Scope
	// Log returns the logger of active checks. It is called during Compile, if there are any.
	Log func() *zap.Logger
	// Warn reports what is accepted but likely not meant, with a pointer into the config. It is called during Compile.
	Warn func(pointer, message string)
}

// Compile reads a config. The plan is nil if there is nothing to find out. Pointers of problems are relative to the
// config.
func Compile(c *Config, d Deps) (*Plan, schema.Problems) {
	if c == nil {
		c = &Config{}
	}
	p := &Plan{MinHealthy: c.MinHealthy, deps: d}
	var problems schema.Problems
	if c.Active != nil {
		problems = p.readActive(c.Active)
		problems = append(problems, negative("/active/interval", c.Active.Interval)...)
		problems = append(problems, negative("/active/timeout", c.Active.Timeout)...)
	}
	if c.Passive != nil {
		p.readPassive(c.Passive)
		problems = append(problems, negative("/passive/fail_duration", c.Passive.FailDuration)...)
		problems = append(problems, negative("/passive/unhealthy_latency", c.Passive.UnhealthyLatency)...)
	}
	p.deps.Log, p.deps.Warn = nil, nil
	switch {
	case len(problems) > 0:
		return nil, problems
	case p.active || p.passive || d.Breaker != nil:
		return p, nil
	}
	return nil, nil
}

// negative reports a duration that is less than 0.
func negative(pointer string, d module.Duration) schema.Problems {
	if d >= 0 {
		return nil
	}
	return schema.Problems{{Pointer: pointer, Found: d.String(), Expected: "a duration from 0", Message: d.String() + " is negative; it has to be a length of time"}}
}

func (p *Plan) readActive(c *Active) schema.Problems {
	uri := c.URI
	switch {
	case c.Path != "" && uri == "":
		uri = (&url.URL{Path: c.Path}).EscapedPath()
		p.deps.Warn("/active/path", "path is the old name of uri; use uri")
	case c.Path != "":
		p.deps.Warn("/active/path", "path does nothing beside uri; it is the old name of that")
	case uri == "" && c.Port == 0:
		p.deps.Warn("/active", "nothing is asked of the upstreams: set uri")
		return nil
	}
	p.active, p.log = true, p.deps.Log()
	p.probe = upstream.HTTPProbe{
		Dial: c.Upstream, Port: c.Port, Method: c.Method, URI: uri, Header: upstream.EncodeHeader(c.Headers), Body: c.Body,
		FollowRedirects: c.FollowRedirects, ExpectStatus: c.ExpectStatus, ExpectBody: c.ExpectBody, MaxSize: c.MaxSize,
	}
	p.schedule = upstream.Schedule{
		Interval: cmp.Or(time.Duration(c.Interval), defaultInterval), Timeout: cmp.Or(time.Duration(c.Timeout), defaultTimeout),
		Jitter: defaultJitter, Passes: cmp.Or(c.Passes, 1), Fails: cmp.Or(c.Fails, 1), Down: c.Initial == "down",
	}
	if c.Jitter != nil {
		p.schedule.Jitter = *c.Jitter
	}
	return p.check(c)
}

// check reports the values that no check can be made of, each at its field.
func (p *Plan) check(c *Active) (problems schema.Problems) {
	wrong := func(field, found string, err error) {
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: "/active/" + field, Found: found, Message: err.Error()})
		}
	}
	at := "uri"
	if c.URI == "" && c.Path != "" {
		at = "path"
	}
	wrong("method", c.Method, upstream.HTTPProbe{Method: c.Method}.Validate())
	wrong(at, p.probe.URI, upstream.HTTPProbe{URI: p.probe.URI}.Validate())
	wrong("expect_body", c.ExpectBody, upstream.HTTPProbe{ExpectBody: c.ExpectBody}.Validate())
	if c.Upstream != "" {
		p.probe.Port = 0
		a, err := upstream.ParseDial(c.Upstream)
		if err == nil && a.Port == "0" && !strings.HasPrefix(a.Network, "unix") {
			err = fmt.Errorf("the address %q of the health check has no port; write it as host:port", c.Upstream)
		}
		wrong("upstream", c.Upstream, err)
	}
	return problems
}

func (p *Plan) readPassive(c *Passive) {
	p.RequestLimit = c.UnhealthyRequestCount
	p.passive = true
	p.maxFails = cmp.Or(c.MaxFails, 1)
	p.window = time.Duration(c.FailDuration)
	p.latency = time.Duration(c.UnhealthyLatency)
	p.statuses = c.UnhealthyStatus
	if p.window <= 0 && (c.MaxFails > 0 || len(p.statuses) > 0 || p.latency > 0) {
		p.deps.Warn("/passive", "failures are not counted: set fail_duration to how long one is remembered")
	}
}

// Watch begins to watch a host that the caller holds, until the watch is closed. Active checks begin with its Start.
func (p *Plan) Watch(h *upstream.Host) (*Watch, error) {
	w := &Watch{plan: p, host: h}
	if p.active {
		c := upstream.Checking{Probe: p.probe, Schedule: p.schedule, Via: p.deps.Transport, Globals: p.deps.Globals, Log: p.log}
		c.Probe.Target = h.Dial()
		if c.Probe.Dial == "" {
			c.Probe.Dial = h.Dial()
		}
		checker, err := p.deps.Pool.AcquireChecker(h, c)
		if err != nil {
			return nil, err
		}
		w.checker = checker
	}
	if p.passive {
		w.strikes = p.deps.Pool.AcquireStrikes(h, p.maxFails)
	}
	if b := p.deps.Breaker; b != nil {
		w.circuit = p.deps.Pool.Appoint(h, b.Key(), func() upstream.Judge { return b.NewCircuit() }).(upstream.Circuit)
	}
	return w, nil
}
