package xconnect

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// settingsFrame is a SETTINGS frame of pairs of identifier and value.
func settingsFrame(pairs ...uint32) string {
	b := []byte{0, 0, byte(len(pairs) * 3), 4, 0, 0, 0, 0, 0}
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
		b = binary.BigEndian.AppendUint32(b, pairs[i+1])
	}
	return string(b)
}

func TestFirstSettings(t *testing.T) {
	for _, tt := range []struct {
		name, begin string
		want        error
	}{
		{"nothing set", settingsFrame(), errNoConnect},
		{"others set", settingsFrame(3, 100, 4, 65535), errNoConnect},
		{"set", settingsFrame(8, 1), nil},
		{"set among others", settingsFrame(3, 100, 8, 1, 5, 16384), nil},
		{"set to 0", settingsFrame(8, 0), errNoConnect},
		{"set to 1 and 0", settingsFrame(8, 1, 8, 0), errNoConnect},
		{"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n", errNotHTTP2},
		{"an acknowledgement", "\x00\x00\x00\x04\x01\x00\x00\x00\x00", errNotHTTP2},
		{"another frame", "\x00\x00\x00\x06\x00\x00\x00\x00\x00", errNotHTTP2},
		{"of a stream", "\x00\x00\x00\x04\x00\x00\x00\x00\x01", errNotHTTP2},
		{"no multiple of 6", "\x00\x00\x05\x04\x00\x00\x00\x00\x00", errNotHTTP2},
		{"too large", "\x00\x60\x00\x04\x00\x00\x00\x00\x00", errNotHTTP2},
	} {
		for _, step := range []int{1, 7, 1 << 10} {
			c := &settingsPeek{known: make(chan struct{})}
			for rest := tt.begin + "more of it"; rest != "" && !c.done; {
				n := min(step, len(rest))
				c.look([]byte(rest[:n]), nil)
				rest = rest[n:]
			}
			if !c.done || c.verdict != tt.want {
				t.Errorf("%s in steps of %d: known %v, %v", tt.name, step, c.done, c.verdict)
			}
		}
	}
	// Of what a server would take in one frame no more than needed is used: net/http2 keeps a buffer of it per stream.
	p := []byte(settingsFrame(5, 1<<20, 8, 1))
	c := &settingsPeek{known: make(chan struct{})}
	if c.look(p, nil); string(p) != settingsFrame(5, 16<<10, 8, 1) || c.verdict != nil {
		t.Errorf("% x, %v", p, c.verdict)
	}
	c = &settingsPeek{known: make(chan struct{})}
	if c.look([]byte("\x00\x00"), io.EOF); c.verdict != ErrNoSettings {
		t.Errorf("an end: %v", c.verdict)
	}
}

// What is known of upstreams that refuse is bounded in number and time.
func TestRefusalsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{})
		c.refuse("a", errNoConnect)
		if err := c.refused("a"); err != errNoConnect {
			t.Error(err)
		}
		<-time.After(verdictTime + 1)
		if err := c.refused("a"); err != nil || len(c.verdicts) != 0 {
			t.Errorf("%v, and %d left", err, len(c.verdicts))
		}
		for i := range 3 * maxVerdicts {
			c.refuse(fmt.Sprint(i), errNoConnect)
		}
		if n := len(c.verdicts); n > maxVerdicts {
			t.Errorf("%d verdicts", n)
		}
	})
}
