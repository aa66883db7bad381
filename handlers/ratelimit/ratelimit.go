// Package ratelimit bounds how often something may be asked for: requests of an
// address, of a user, of an API key. Its module is named rate_limit.
package ratelimit

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Config is the handler rate_limit. A request that a zone has no room for ends
// with error 429 and a Retry-After header, so that error routes apply; the name of
// the zone is {http.rate_limit.exceeded.name}.
//
// What was counted is kept as long as a config has a zone of that name, whatever
// else is changed in it.
type Config struct {
	// RateLimits are the zones, by name. All that match a request must have room for
	// it. Zones of the same name are one and count together, wherever in the config
	// they stand.
	RateLimits map[string]Zone `json:"rate_limits,omitempty"`
	// Jitter lengthens Retry-After by a random part of it, so that clients do not
	// all come back at once: 0.2 is up to 20 percent. Default: 0.
	Jitter float64 `json:"jitter,omitempty" check:"min=0,max=10"`
	// Headers says how responses tell clients where they stand:
	// draft-10 is RateLimit-Policy and RateLimit as in
	// draft-ietf-httpapi-ratelimit-headers-10, for all zones that match; draft-06 is
	// RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset and RateLimit-Policy as
	// in version 06 of it, for the zone with the least left; off is none of these.
	// Retry-After is sent in any case. Default: draft-10.
	Headers string `json:"headers,omitempty" check:"enum=draft-10|draft-06|off"`
	// LogKey shows the key in the log entry about a request that was refused. The
	// entry has level debug. Default: false.
	LogKey bool `json:"log_key,omitempty"`
	// Distributed limits of several processes are not offered.
	Distributed module.Later `json:"distributed"`
	// Storage belongs to distributed limits.
	Storage module.Later `json:"storage"`
	// SweepInterval is not needed: memory is bounded by max_keys.
	SweepInterval module.Later `json:"sweep_interval"`
}

// Zone is one limit. Each key has a bucket of max_events tokens; a request takes
// one, and the bucket fills up again evenly, at max_events for each window. So
// max_events may come at once, and in the long run no more than max_events come
// within a window.
type Zone struct {
	// Match is a list of matcher sets: the zone is about requests that any set
	// matches. Without sets it is about all.
	Match []map[string]module.Ref[handlers.Matcher] `json:"match,omitempty" module:"http.matchers" keyed:"true"`
	// Key says what is counted by, with placeholders: {http.request.remote.host} is
	// each address by itself, {http.request.remote.host/32,64} each network of an
	// IPv6 address. Without placeholders, all requests are counted together.
	Key string `json:"key,omitempty"`
	// Window is the time in which max_events are allowed. Required, more than 0.
	Window module.Duration `json:"window,omitempty"`
	// MaxEvents is how many requests are allowed within the window. 0 allows none.
	MaxEvents int `json:"max_events,omitempty" check:"min=0"`
	// MaxKeys bounds how many keys are remembered; a key takes about 60 bytes. Where
	// there are more, those that have not been seen for the longest time are
	// forgotten and start anew. Default: 100000.
	MaxKeys int `json:"max_keys,omitempty" check:"min=0,max=100000000"`
}

const (
	defaultMaxKeys = 100_000
	draft10        = "draft-10"
	draft06        = "draft-06"
	noHeaders      = "off"
	loggerName     = "http.handlers.rate_limit"
)

// Spec describes the handler. It needs the service [*Zones].
func Spec() module.Spec {
	return module.New("http.handlers.rate_limit", "Bounds how often clients may ask.", nil, compile, module.Examples(
		module.Example{Title: "100 requests a minute of each address", JSON: `{"handler": "rate_limit", "rate_limits": {"by-address": {"key": "{http.request.remote.host}", "window": "1m", "max_events": 100}}}`},
		module.Example{Title: "Few logins, and a limit for the whole site", JSON: `{"handler": "rate_limit", "jitter": 0.2, "rate_limits": {
			"login": {"key": "{http.vars.client_ip}", "window": "5m", "max_events": 10},
			"all": {"key": "static", "window": "1s", "max_events": 500}}}`},
	), module.Directives(module.Directive{Name: "rate_limit", Read: readRateLimit}))
}

type handler struct {
	zones   []*zone
	jitter  float64
	headers string
	logKey  bool
	random  func() float64
}

// zone is one limit of this handler; the state it acts on is shared.
type zone struct {
	name   string
	sets   [][]handlers.Matcher
	key    vars.Text
	limit  limit
	keys   int
	policy string // its item of RateLimit-Policy
	item   string // how its item of RateLimit begins
	state  *state // once acquired
}

func compile(env *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{jitter: cfg.Jitter, headers: cfg.Headers, logKey: cfg.LogKey, random: rand.Float64}
	if h.headers == "" {
		h.headers = draft10
	}
	zones := module.Service[*Zones](env)
	var problems schema.Problems
	for _, name := range slices.Sorted(maps.Keys(cfg.RateLimits)) {
		c := cfg.RateLimits[name]
		at := config.JoinPointer("/rate_limits", name)
		z, ps := compileZone(name, &c, h.headers)
		problems = append(problems, ps.Under(at)...)
		if c.MaxEvents == 0 {
			env.Warn(at, "max_events is 0, so every request that matches is refused")
		}
		h.zones = append(h.zones, z)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	// The tightest first, so that what is refused in the end takes little from
	// the others.
	slices.SortStableFunc(h.zones, func(a, b *zone) int { return compareFloat(a.limit.rate(), b.limit.rate()) })
	for _, z := range h.zones {
		env.Own(&hold{zones: zones, zone: z})
	}
	return h, nil
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compileZone(name string, c *Zone, headers string) (*zone, schema.Problems) {
	z := &zone{name: name, key: vars.Parse(c.Key), limit: limit{float64(c.MaxEvents), time.Duration(c.Window)}, keys: c.MaxKeys}
	if z.keys == 0 {
		z.keys = defaultMaxKeys
	}
	var problems schema.Problems
	if c.Window <= 0 {
		problems = append(problems, schema.Problem{Pointer: "/window", Message: "the window of a rate limit must be more than 0, such as \"1m\"", Found: c.Window.String()})
	}
	if err := z.key.Err(); err != nil {
		problems = append(problems, schema.Problem{Pointer: "/key", Message: err.Error()})
	}
	for _, set := range c.Match {
		var list []handlers.Matcher
		for _, n := range slices.Sorted(maps.Keys(set)) {
			list = append(list, set[n].Value())
		}
		z.sets = append(z.sets, list)
	}
	window := strconv.FormatInt(seconds(z.limit.window), 10)
	z.item = structuredString(name) + ";r="
	z.policy = structuredString(name) + ";q=" + strconv.Itoa(c.MaxEvents) + ";w=" + window
	if headers == draft06 {
		z.policy = strconv.Itoa(c.MaxEvents) + ";w=" + window
	}
	return z, problems
}

// hold keeps the state of a zone as long as the handler is in use.
type hold struct {
	zones *Zones
	zone  *zone
}

func (o *hold) Prepare() error {
	o.zone.state = o.zones.acquire(o.zone.name, o.zone.keys)
	return nil
}
func (o *hold) Start() { o.zone.state.resize(o.zone.keys) }
func (o *hold) Close() { o.zones.release(o.zone.state) }

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	var space [4]taken
	all := space[:0]
	for _, z := range h.zones {
		matched, err := z.matches(r)
		if err != nil {
			return err
		}
		if !matched {
			continue
		}
		key := z.key.Expand(x, vars.All, "")
		t := taken{zone: z, hash: z.state.hash(key)}
		t.verdict = z.state.take(t.hash, z.limit)
		all = append(all, t)
		if !t.ok {
			return h.refuse(w, x, all, key)
		}
	}
	h.tell(w.Header(), all)
	return next.ServeHTTP(w, r)
}

// taken is what a request has taken of a zone.
type taken struct {
	zone *zone
	hash uint64
	verdict
}

func (z *zone) matches(r *http.Request) (bool, error) {
	if len(z.sets) == 0 {
		return true, nil
	}
	for _, set := range z.sets {
		ok := true
		for _, m := range set {
			matched, err := m.Match(r)
			if err != nil {
				return false, fmt.Errorf("matching rate limit zone %q: %w", z.name, err)
			}
			if ok = matched; !ok {
				break
			}
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

var errExceeded = errors.New("rate limit exceeded")

// refuse answers for the zone that was last.
func (h *handler) refuse(w http.ResponseWriter, x *handlers.Exchange, all []taken, key string) error {
	last := all[len(all)-1]
	for i := range all[:len(all)-1] {
		t := &all[i]
		t.zone.state.giveBack(t.hash)
		t.left++
	}
	wait := last.wait
	if h.jitter > 0 {
		wait += time.Duration(float64(wait) * h.jitter * h.random())
	}
	h.tell(w.Header(), all)
	w.Header().Set("Retry-After", strconv.FormatInt(seconds(wait), 10))
	x.Set("http.rate_limit.exceeded.name", last.zone.name)
	if ce := x.Server.Logger(loggerName).Check(zap.DebugLevel, "rate limit exceeded"); ce != nil {
		ip, _ := x.ClientIP()
		fields := []zap.Field{zap.String("zone", last.zone.name), zap.Duration("wait", wait), zap.String("client_ip", ip)}
		if h.logKey {
			fields = append(fields, zap.String("key", key))
		}
		ce.Write(fields...)
	}
	return handlers.NewError(http.StatusTooManyRequests, errExceeded)
}

// seconds rounds up, to one at least.
func seconds(d time.Duration) int64 {
	return max(1, int64(math.Ceil(d.Seconds())))
}
