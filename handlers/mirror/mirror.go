// Package mirror sends copies of requests to other servers and drops what those answer.
//
// The requests themselves go on as if there was no mirror: nothing waits for a copy, and one that would cost too much is
// not made. A body is copied while the handlers that follow read it.
package mirror

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
)

// LoggerName is the logger of copies that failed; they are shown at level debug.
const LoggerName = "http.handlers.mirror"

// Config is the handler mirror. A copy has the method, URI, header and body of the request as the handlers before have left
// it, credentials among them, so mirror only to servers that may see those. Requests for other protocols, such as those of
// WebSockets, are not copied.
type Config struct {
	// Upstreams is the servers that copies are sent to, in turn.
	Upstreams []Upstream `json:"upstreams"`
	// Transport says how they are spoken to. Default: http with its defaults, in clear text.
	Transport module.Ref[upstream.Transport] `json:"transport" module:"http.reverse_proxy.transport" inline:"protocol"`
	// Percent is how many of 100 requests are copied, picked at random. Default: 100.
	Percent float64 `json:"percent" check:"min=0,max=100"`
	// MaxBody is how many bytes a body may have; requests with more are not copied. Default: 1 MiB.
	MaxBody int64 `json:"max_body" check:"min=0"`
	// MaxConcurrent is how many copies may be under way at the same time. Default: 32.
	MaxConcurrent int `json:"max_concurrent" check:"min=1"`
	// Queue is how many more may wait; further ones are not made. Default: 128.
	Queue int `json:"queue" check:"min=0"`
	// Timeout bounds a copy, from the connection to the end of the answer. Default: 10s.
	Timeout module.Duration `json:"timeout" check:"min=1"`
}

// Upstream is a server for copies.
type Upstream struct {
	// Dial is the network address, such as 10.20.0.1:8080 or unix//run/app.sock. It may hold placeholders.
	Dial string `json:"dial"`
}

func defaults() *Config {
	return &Config{Percent: 100, MaxBody: 1 << 20, MaxConcurrent: 32, Queue: 128, Timeout: module.Duration(10 * time.Second)}
}

// Spec describes the handler. It needs the service [*Copies].
func Spec() module.Spec {
	return module.New("http.handlers.mirror", "Sends copies of requests to other servers and drops their answers.", defaults(), compile,
		module.Examples(
			module.Example{Title: "Copy every request to a new version of the application.", JSON: `{"handler":"mirror","upstreams":[{"dial":"10.20.0.9:8080"}]}`},
			module.Example{Title: "Copy one in a hundred requests, with small bodies only.",
				JSON: `{"handler":"mirror","upstreams":[{"dial":"10.20.0.9:8080"}],"percent":1,"max_body":4096}`},
		),
		module.Directives(module.Directive{Name: "mirror", Read: readDirective}))
}

const (
	transportNamespace = "http.reverse_proxy.transport"
	defaultTransport   = "http"
)

type handler struct {
	sender  *sender
	copies  *Copies
	targets []target
	turn    *atomic.Uint64
	share   float64 // 0 to 1
	random  func() float64
	maxBody int64
}

// target is an upstream.
type target struct {
	text    vars.Text
	address upstream.Address
	literal bool
}

func compile(env *module.Env, c *Config) (handlers.Handler, error) {
	h := &handler{
		copies: module.Service[*Copies](env), share: c.Percent / 100, random: rand.Float64, maxBody: c.MaxBody,
		turn: env.State("turn", func() any { return new(atomic.Uint64) }).(*atomic.Uint64),
	}
	problems := h.read(c.Upstreams)
	if len(problems) > 0 {
		return nil, problems
	}
	transport := c.Transport.Value()
	if transport == nil {
		made, err := env.Make(transportNamespace+"."+defaultTransport, config.NewObject(nil))
		if err != nil {
			return nil, err
		}
		transport = made.(upstream.Transport)
	}
	h.sender = &sender{
		copies: h.copies, transport: transport, traits: upstream.TraitsOf(transport), timeout: time.Duration(c.Timeout),
		maxRunning: c.MaxConcurrent, maxWaiting: c.Queue, log: module.Service[*logs.Switch](env).Logger(LoggerName),
	}
	return h, nil
}

func (h *handler) read(list []Upstream) (problems schema.Problems) {
	if len(list) == 0 {
		return module.Problem("/upstreams", "there is nobody to send copies to; give an upstream")
	}
	for i, u := range list {
		t := target{text: vars.Parse(u.Dial)}
		if text, ok := t.text.Literal(); ok {
			a, err := upstream.ParseDial(text)
			if err != nil || u.Dial == "" {
				problems = append(problems, schema.Problem{Pointer: "/upstreams/" + strconv.Itoa(i) + "/dial", Found: u.Dial, Message: "an upstream is an address such as 10.20.0.1:8080"})
				continue
			}
			t.address, t.literal = a, true
		}
		h.targets = append(h.targets, t)
	}
	return problems
}

// ServeHTTP implements [handlers.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	if h.share < 1 && h.random() >= h.share {
		return next.ServeHTTP(w, r)
	}
	switch {
	case r.Header["Upgrade"] != nil || r.Method == http.MethodConnect:
		h.copies.count(skippedUpgrade)
		return next.ServeHTTP(w, r)
	case r.ContentLength > h.maxBody:
		h.copies.count(skippedLarge)
		return next.ServeHTTP(w, r)
	}
	c, err := h.copyOf(r)
	if err != nil {
		h.sender.log.Debug("no copy was sent", zap.Error(err))
		h.copies.count(failed)
		return next.ServeHTTP(w, r)
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		h.sender.put(c)
		return next.ServeHTTP(w, r)
	}
	t := &tee{body: r.Body, handler: h, length: r.ContentLength, copy: c}
	r.Body = t
	defer t.end()
	return next.ServeHTTP(w, r)
}

// pick is the address of the next upstream.
func (h *handler) pick(x *handlers.Exchange) (upstream.Address, error) {
	t := &h.targets[(h.turn.Add(1)-1)%uint64(len(h.targets))]
	if t.literal {
		return t.address, nil
	}
	return upstream.ParseDial(t.text.Expand(x, vars.All, ""))
}

func logDropped(log *zap.Logger, address string, err error) {
	if e := log.Check(zap.DebugLevel, "a copy was not answered"); e != nil {
		e.Write(zap.String("upstream", address), zap.Error(err))
	}
}
