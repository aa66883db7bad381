package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Changes are told once each, with the host as it is probed (EVT-1).
func TestOnChange(t *testing.T) {
	for _, tt := range []struct {
		dial  string
		probe HTTPProbe
		want  string
	}{
		{"10.20.0.1:8080", HTTPProbe{}, "10.20.0.1:8080"},
		{"10.20.0.1:8080", HTTPProbe{Port: 9000}, "10.20.0.1:9000"},
		{"[2001:db8::1]:80", HTTPProbe{Port: 9000}, "[2001:db8::1]:9000"},
		{"10.20.0.1:8080", HTTPProbe{Dial: "10.9.9.9:1"}, "10.20.0.1:8080"},
		{"unix//run/app.sock", HTTPProbe{}, "localhost"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := NewPool(nil)
			var told []string
			p.OnChange(func(host string, healthy bool) {
				told = append(told, map[bool]string{true: "healthy ", false: "unhealthy "}[healthy]+host)
			})
			h := p.Acquire(tt.dial)
			c := checking(h, script(inOrder("PPFFFPP")), everySecond)
			c.Probe.Port = tt.probe.Port
			if tt.probe.Dial != "" {
				c.Probe.Dial = tt.probe.Dial
			}
			first, second := checkerOf(t, p, h, c), checkerOf(t, p, h, c)
			first.Start()
			second.Start()
			after(10*time.Second + time.Millisecond)
			if got := strings.Join(told, ", "); got != "unhealthy "+tt.want+", healthy "+tt.want {
				t.Errorf("%s: %s", tt.dial, got)
			}
			p.ReleaseChecker(first)
			p.ReleaseChecker(second)
			p.Release(h)
		})
	}
}
