// Package breaker is the circuit breakers of the handler reverse_proxy: modules that keep requests away from an upstream
// that answers with errors, or too slowly, and find out with a few trial requests when it is well again.
//
// There is one, "window". Its circuits belong to package upstream: one for each upstream and settings, shared by all
// handlers that have them and left alone by edits.
package breaker

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/upstream"
)

// Namespace is that of the modules.
const Namespace = "http.reverse_proxy.circuit_breakers"

// Window is the circuit breaker window. It counts the requests to each upstream over a sliding window. When too large a
// part of them failed, or was slow, the circuit opens: the upstream gets no requests for a while, then a few trial ones.
// If those go well it is closed again, if not the while begins anew.
type Window struct {
	// Window is how long a request counts. Default: 10s.
	Window module.Duration `json:"window"`
	// MinRequests is how many requests have to be in the window before the circuit can open. Default: 20.
	MinRequests int `json:"min_requests" check:"min=1"`
	// ErrorRate is the part of the requests, more than 0 and up to 1, that have to fail to open the circuit. A request fails
	// if it gets no response, or one of error_status. Default: 0.5.
	ErrorRate float64 `json:"error_rate" check:"min=0,max=1"`
	// ErrorStatus is the statuses of responses that are failures; 5 means all from 500 to 599. Default: 5.
	ErrorStatus []int `json:"error_status"`
	// Latency is how long a response header may take before the request counts as slow. Default: 0, none is slow.
	Latency module.Duration `json:"latency"`
	// SlowRate is the part of the requests, more than 0 and up to 1, that have to be slow to open the circuit. Default: 0.5.
	SlowRate float64 `json:"slow_rate" check:"min=0,max=1"`
	// OpenFor is how long an open circuit lets no request through. Default: 10s.
	OpenFor module.Duration `json:"open_for"`
	// Trials is how many requests are then let through. When all of them were answered well, the circuit closes. The first
	// that was not opens it again. Default: 3.
	Trials int `json:"trials" check:"min=1"`
}

// defaults is the settings of a breaker that states none.
func defaults() *Window {
	return &Window{
		Window: module.Duration(10 * time.Second), MinRequests: 20, ErrorRate: 0.5, ErrorStatus: []int{5}, SlowRate: 0.5,
		OpenFor: module.Duration(10 * time.Second), Trials: 3,
	}
}

// Specs describes the modules of this package.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".window", "Keeps requests away from an upstream while too many of them fail or are slow.", defaults(), compile,
			module.Examples(
				module.Example{Title: "Open when half of the requests of the last 10 seconds failed.", JSON: `{"type":"window"}`},
				module.Example{Title: "Open when a fifth of the requests takes longer than 2 seconds, and try again after 30 seconds.",
					JSON: `{"type":"window","latency":"2s","slow_rate":0.2,"open_for":"30s"}`},
			),
			module.Words(words)),
	}
}

// settings is the meaning of a breaker.
type settings struct {
	window      time.Duration
	minRequests int64
	errorRate   float64
	slowRate    float64
	latency     time.Duration
	openFor     time.Duration
	trials      int64
	statuses    string // comma-separated, so that settings can be compared
}

func compile(_ *module.Env, c *Window) (upstream.Breaker, error) {
	var ps schema.Problems
	wrong := func(field string, found any, expected string) {
		ps = append(ps, schema.Problem{
			Pointer: "/" + field, Found: fmt.Sprint(found), Expected: expected, Message: fmt.Sprintf("%s is %v; it has to be %s", field, found, expected),
		})
	}
	if c.Window < module.Duration(time.Millisecond) {
		wrong("window", c.Window, "at least 1ms")
	}
	if c.OpenFor <= 0 {
		wrong("open_for", c.OpenFor, "more than 0")
	}
	if c.Latency < 0 {
		wrong("latency", c.Latency, "0 or more")
	}
	if c.ErrorRate <= 0 {
		wrong("error_rate", c.ErrorRate, "more than 0")
	}
	if c.SlowRate <= 0 {
		wrong("slow_rate", c.SlowRate, "more than 0")
	}
	if len(ps) > 0 {
		return nil, ps
	}
	statuses := make([]string, len(c.ErrorStatus))
	for i, s := range c.ErrorStatus {
		statuses[i] = strconv.Itoa(s)
	}
	return &breaker{settings{
		window: time.Duration(c.Window), minRequests: int64(c.MinRequests), errorRate: c.ErrorRate, slowRate: c.SlowRate,
		latency: time.Duration(c.Latency), openFor: time.Duration(c.OpenFor), trials: int64(c.Trials), statuses: strings.Join(statuses, ","),
	}, c.ErrorStatus}, nil
}

// breaker implements [upstream.Breaker].
type breaker struct {
	settings settings
	statuses []int
}

// Key implements [upstream.Breaker].
func (b *breaker) Key() any { return b.settings }

// NewCircuit implements [upstream.Breaker].
func (b *breaker) NewCircuit() upstream.Circuit { return newCircuit(b.settings, b.statuses) }
