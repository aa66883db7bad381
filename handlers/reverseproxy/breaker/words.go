package breaker

import (
	"fmt"
	"strconv"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
)

var one = caddyfile.Exactly(1)

// lines is what the block of the breaker may hold.
var lines = caddyfile.Options[Window]{Lines: []caddyfile.Option[Window]{
	{Name: "window", Args: one, Set: caddyfile.Duration(func(c *Window) *module.Duration { return &c.Window })},
	{Name: "min_requests", Args: one, Set: caddyfile.Int(func(c *Window) *int { return &c.MinRequests })},
	{Name: "error_rate", Args: one, Set: rate(func(c *Window) *float64 { return &c.ErrorRate })},
	{Name: "error_status", Args: caddyfile.AtLeast(1), Once: "error_status already specified", Set: readStatus},
	{Name: "latency", Args: one, Set: caddyfile.Duration(func(c *Window) *module.Duration { return &c.Latency })},
	{Name: "slow_rate", Args: one, Set: rate(func(c *Window) *float64 { return &c.SlowRate })},
	{Name: "open_for", Args: one, Set: caddyfile.Duration(func(c *Window) *module.Duration { return &c.OpenFor })},
	{Name: "trials", Args: one, Set: caddyfile.Int(func(c *Window) *int { return &c.Trials })},
}}

// words reads the breaker window.
func words(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	c := defaults()
	if err := lines.Parse(d, c); err != nil {
		return nil, err
	}
	return c, nil
}

// rate returns a Set for a part of the whole: 0.2, or 20%.
func rate(field func(c *Window) *float64) func(*Window, *caddyfile.Dispenser, []caddyfile.Token) error {
	return caddyfile.Parsed("bad rate '%s': %w", parseRate, field)
}

func parseRate(text string) (float64, error) {
	number, percent := text, false
	if n := len(text); n > 0 && text[n-1] == '%' {
		number, percent = text[:n-1], true
	}
	r, err := strconv.ParseFloat(number, 64)
	if percent {
		r /= 100
	}
	if err != nil || !(r > 0 && r <= 1) {
		return 0, fmt.Errorf("it is a number such as 0.2, or 20%%, more than 0 and at most 1")
	}
	return r, nil
}

func readStatus(c *Window, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	c.ErrorStatus = nil
	for _, a := range args {
		n, err := respmatch.ParseStatus(a.Text)
		if err != nil {
			return a.Wrap(err)
		}
		c.ErrorStatus = append(c.ErrorStatus, n)
	}
	return nil
}
