package reverseproxy

import (
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/headerops"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/health"
	"github.com/sluiceproxy/sluice/handlers/rewriteops"
)

// lines is what the block of the directive may hold.
var lines = caddyfile.Options[reading]{
	Other: func(r *reading, d *caddyfile.Dispenser) (bool, error) { return r.responses.Line(d) },
	Lines: append([]caddyfile.Option[reading]{
		{Name: "to", Args: caddyfile.AtLeast(1), Set: readUpstreams},
		{Name: "dynamic", Args: caddyfile.AtLeast(1), Block: true, Set: readDynamic},

		{Name: "lb_policy", Args: caddyfile.AtLeast(1), Block: true, Once: "load balancing selection policy already specified", Set: readPolicy},
		{Name: "lb_retries", Args: one, Set: caddyfile.Int(func(r *reading) *int { return &r.cfg.LoadBalancing.Retries })},
		{Name: "lb_try_duration", Args: one, Set: caddyfile.Duration(func(r *reading) *module.Duration { return &r.cfg.LoadBalancing.TryDuration })},
		{Name: "lb_try_interval", Args: one, Set: caddyfile.Duration(func(r *reading) *module.Duration { return &r.cfg.LoadBalancing.TryInterval })},
		{Name: "lb_retry_match", Args: caddyfile.AtLeast(0), Block: true, Set: readRetryMatch},

		{Name: "flush_interval", Args: one, Set: signedDuration(func(r *reading) *module.Duration { return &r.cfg.FlushInterval })},
		{Name: "request_buffers", Args: one, Set: sizeOrUnlimited(func(r *reading) *int64 { return &r.cfg.RequestBuffers })},
		{Name: "response_buffers", Args: one, Set: sizeOrUnlimited(func(r *reading) *int64 { return &r.cfg.ResponseBuffers })},
		{Name: "stream_buffer_size", Args: one, Set: sizeOrUnlimited(func(r *reading) *int { return &r.cfg.StreamBufferSize })},
		{Name: "stream_timeout", Args: one, Set: signedDuration(func(r *reading) *module.Duration { return &r.cfg.StreamTimeout })},
		{Name: "stream_close_delay", Args: one, Set: signedDuration(func(r *reading) *module.Duration { return &r.cfg.StreamCloseDelay })},
		{Name: "verbose_logs", Once: "verbose_logs already specified", Set: caddyfile.Flag(func(r *reading) *bool { return &r.cfg.VerboseLogs })},

		{Name: "trusted_proxies", Args: caddyfile.AtLeast(1), Set: readTrusted},
		{Name: "header_up", Args: caddyfile.Between(1, 3), Set: headerLine(requestOps)},
		{Name: "header_down", Args: caddyfile.Between(1, 3), Set: headerLine(responseOps)},
		{Name: "method", Args: one, Set: caddyfile.String(func(r *reading) *string { return &r.rewrite().Method })},
		{Name: "rewrite", Args: one, Set: caddyfile.String(func(r *reading) *string { return &r.rewrite().URI })},

		{Name: "transport", Args: caddyfile.AtLeast(1), Block: true, Once: "transport already specified", Set: readTransport},
		{Name: "circuit_breaker", Args: caddyfile.AtLeast(1), Block: true, Once: "circuit_breaker already specified", Set: readBreaker},
	}, health.Lines(func(r *reading) **health.Config { return &r.cfg.HealthChecks })...),
}

var one = caddyfile.Exactly(1)

// signedDuration returns a Set for a duration; an integer is nanoseconds, so that -1 can be written.
func signedDuration(field func(r *reading) *module.Duration) func(*reading, *caddyfile.Dispenser, []caddyfile.Token) error {
	return caddyfile.Parsed("bad duration value '%s': %w", func(text string) (module.Duration, error) {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return module.Duration(n), nil
		}
		d, err := caddyfile.ParseDuration(text)
		return module.Duration(d), err
	}, field)
}

// sizeOrUnlimited returns a Set for a number of bytes; "unlimited" is -1.
func sizeOrUnlimited[N int | int64](field func(r *reading) *N) func(*reading, *caddyfile.Dispenser, []caddyfile.Token) error {
	size := caddyfile.Size(field)
	return func(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		if args[0].Text == "unlimited" {
			*field(r) = -1
			return nil
		}
		return size(r, d, args)
	}
}

// privateRanges is what the word private_ranges stands for.
var privateRanges = [...]string{"192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1"}

func readTrusted(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	for _, a := range args {
		if a.Text == "private_ranges" {
			r.cfg.TrustedProxies = append(r.cfg.TrustedProxies, privateRanges[:]...)
		} else {
			r.cfg.TrustedProxies = append(r.cfg.TrustedProxies, a.Text)
		}
	}
	return nil
}

func (r *reading) rewrite() *rewriteops.Config {
	if r.cfg.Rewrite == nil {
		r.cfg.Rewrite = &rewriteops.Config{}
	}
	return r.cfg.Rewrite
}

func (r *reading) headers() *Headers {
	if r.cfg.Headers == nil {
		r.cfg.Headers = &Headers{}
	}
	return r.cfg.Headers
}

func requestOps(r *reading) *headerops.Ops {
	h := r.headers()
	if h.Request == nil {
		h.Request = &headerops.Ops{}
	}
	return h.Request
}

func responseOps(r *reading) *headerops.Ops {
	h := r.headers()
	if h.Response == nil {
		h.Response = &ResponseHeaders{}
	}
	return &h.Response.Ops
}

// headerLine returns a Set for an operation on a header. When it is deferred, that says nothing here.
func headerLine(ops func(r *reading) *headerops.Ops) func(*reading, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(r *reading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		field := args[0].Text
		if strings.HasPrefix(field, "?") {
			return args[0].Errf("%s: the default header modifier ('?') can only be used on response headers; and there only in the directive header, so use that, or a matcher", caddyfile.Shorten(field))
		}
		value, replacement := "", (*string)(nil)
		if len(args) > 1 {
			value = args[1].Text
		}
		if len(args) > 2 {
			replacement = &args[2].Text
		}
		ops(r).Words(field, value, replacement)
		return nil
	}
}
