// Package health is how the handler reverse_proxy finds out which of its upstreams are fit for requests: the settings of
// active and passive checks, and a [Watch] over each upstream, which is asked before a request is sent and told how it
// went.
//
// What is found out belongs to package upstream, where it is kept by meaning: handlers with equal settings share it, and
// edits do not touch it. The rules cited as HC-n are those of the reverse proxy compatibility reference.
package health

import "github.com/sluiceproxy/sluice/config/module"

// Config is how the health of upstreams is found out.
type Config struct {
	// Active asks each upstream regularly. Default: it is not asked.
	Active *Active `json:"active"`
	// Passive judges upstreams by the requests that are sent to them. Default: they are not judged.
	Passive *Passive `json:"passive"`
	// MinHealthy is how many upstreams have to be healthy for health to count. When fewer are, requests go to all of them as
	// if they were healthy, so that checks that are wrong never take away everything. Default: 0: an unhealthy upstream gets
	// no requests, even if all are unhealthy.
	MinHealthy int `json:"min_healthy" check:"min=0"`
}

// Active is the active health check. It runs if uri, path or port is set. Upstreams with the same address and equal
// checks, of whatever handlers, are asked by one check, which no edit disturbs that leaves its settings as they are.
type Active struct {
	// URI is the path and query of the request. It has no placeholders. Default: "/", if port is set.
	URI string `json:"uri"`
	// Path is the old name of uri, without a query. Use uri instead. Default: none.
	Path string `json:"path"`
	// Port is the port to ask instead of that of the upstream. Default: 0, that of the upstream.
	Port int `json:"port" check:"min=0,max=65535"`
	// Upstream is the address to ask instead of that of the upstream, as host:port; port is then ignored. Default: that of
	// the upstream.
	Upstream string `json:"upstream"`
	// Method of the request. Default: GET.
	Method string `json:"method"`
	// Headers is fields of the request. Host sets the host. Names and values may have placeholders that need no request, and
	// values {http.reverse_proxy.active.target_upstream}, the address of the upstream. Default: none.
	Headers map[string][]string `json:"headers"`
	// Body of the request. It may have placeholders that need no request. Default: none.
	Body string `json:"body"`
	// FollowRedirects asks where a redirect points to, at the same address whatever host it names, at most 32 times. Otherwise
	// a redirect is an answer like others. Default: false.
	FollowRedirects bool `json:"follow_redirects"`
	// Interval is the time from one request to the next. Default: 30s.
	Interval module.Duration `json:"interval"`
	// Jitter is the part of the interval, 0 to 1, by which each is shortened or lengthened at random. Default: 0.1.
	Jitter *float64 `json:"jitter" check:"min=0,max=1"`
	// Timeout bounds a check, from dialling to the end of the response body. Default: 5s.
	Timeout module.Duration `json:"timeout"`
	// Passes is how many checks in a row have to be passed to make an upstream healthy again. Default: 1.
	Passes int `json:"passes" check:"min=0"`
	// Fails is how many checks in a row have to fail to make a healthy upstream unhealthy. Default: 1.
	Fails int `json:"fails" check:"min=0"`
	// Initial is what an upstream counts as before anything is known of it: "up" or "down". Default: up.
	Initial string `json:"initial" check:"enum=up|down"`
	// MaxSize is how many bytes of the response body expect_body looks at. Default: 0, all that come before the timeout.
	MaxSize int64 `json:"max_size" check:"min=0"`
	// ExpectStatus is the status of a healthy answer; 2 means all from 200 to 299. Default: 0, any from 200 to 299.
	ExpectStatus int `json:"expect_status" check:"min=0"`
	// ExpectBody is a regular expression that matches somewhere in the body of a healthy answer. Default: any body.
	ExpectBody string `json:"expect_body"`
}

// Passive is the passive health check: failures of requests, which are remembered for a while. Failures are shared by all
// handlers with an upstream of the same address.
type Passive struct {
	// FailDuration is how long a failure is remembered. Default: 0, not at all: failures are not counted.
	FailDuration module.Duration `json:"fail_duration"`
	// MaxFails is how many remembered failures make an upstream unhealthy. Default: 1.
	MaxFails int64 `json:"max_fails" check:"min=0"`
	// UnhealthyRequestCount is max_requests for the upstreams that have none. Default: 0, no limit.
	UnhealthyRequestCount int64 `json:"unhealthy_request_count" check:"min=0"`
	// UnhealthyStatus is the statuses of responses that are failures; 5 means all from 500 to 599. Each entry that fits counts
	// one. Default: none.
	UnhealthyStatus []int `json:"unhealthy_status"`
	// UnhealthyLatency is how long a response header may take before that is a failure. Default: 0, any time.
	UnhealthyLatency module.Duration `json:"unhealthy_latency"`
}
