package proxyprotocol

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/wire"
)

func build(t *testing.T, text string) (wire.Opener, error) {
	t.Helper()
	table, err := module.NewTable([]module.Spec{Spec()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}}}
	res := b.Build(nil, Spec().ID, node, module.Options{})
	if len(res.Problems) > 0 {
		return nil, res.Problems
	}
	return res.Root.Value().(wire.Opener), nil
}

func must(t *testing.T, text string) wire.Opener {
	t.Helper()
	o, err := build(t, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func TestConfig(t *testing.T) {
	for _, ok := range []string{`{}`, `{"timeout":"5s","allow":["10.0.0.0/8","::/0"],"deny":[],"fallback_policy":"use"}`, `{"fallback_policy":""}`, `{"timeout":-1,"fallback_policy":"Require"}`} {
		must(t, ok)
	}
	for _, c := range []struct{ text, want string }{
		{`{"allow":["10.0.0.1"]}`, "/allow/0"},
		{`{"deny":["10.0.0.0/8","x"]}`, "/deny/1"},
		{`{"fallback_policy":"MAYBE"}`, "/fallback_policy"},
		{`{"policy":"USE"}`, "policy"},
		{`{"timeout":"5"}`, "/timeout"},
	} {
		if _, err := build(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	_, err := build(t, `{"allow":["a"],"deny":["b"],"fallback_policy":"c"}`)
	for _, want := range []string{"/allow/0", "/deny/0", "/fallback_policy"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not all problems are reported: %v", err)
		}
	}
}

// from is a connection with a peer.
type from struct {
	net.Conn
	peer net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.peer }

type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }

// outcome opens a connection on which the parts are sent a second apart, and
// says what came of it.
func outcome(t *testing.T, o wire.Opener, peer net.Addr, parts ...string) (addrs, rest string, took time.Duration) {
	t.Helper()
	client, server := net.Pipe()
	decided, done := make(chan bool), make(chan bool)
	defer func() {
		_ = server.Close()
		<-done
	}()
	go func() {
		defer close(done)
		for i, p := range parts {
			if i > 0 {
				time.Sleep(time.Second) // of the bubble's clock
			}
			if _, err := io.WriteString(client, p); err != nil {
				return
			}
		}
		<-decided
		_ = client.Close()
	}()
	start := time.Now()
	x, err := o.Open(from{server, peer})
	took = time.Since(start)
	close(decided)
	if err != nil {
		return "refused: " + err.Error(), "", took
	}
	addrs = "real"
	if x.Remote != nil {
		addrs = x.Remote.String() + " to " + x.Local.String()
	}
	more, _ := io.ReadAll(server)
	return addrs, string(x.Rest) + string(more), took
}

// TestPolicies is the table of section 2.6.
func TestPolicies(t *testing.T) {
	peer := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4711}
	const taken = "192.0.2.7:4660 to 10.0.0.1:443"
	for _, c := range []struct {
		config           string
		peer             net.Addr
		with, with2      string
		withRest, absent string
	}{
		{`{"fallback_policy":"USE"}`, peer, taken, taken, "GET", "real"},
		{`{}`, peer, "real", "real", "GET", "real"},
		{`{"fallback_policy":"ignore"}`, peer, "real", "real", "GET", "real"},
		{`{"fallback_policy":"REJECT"}`, peer, "refused", "refused", "", "real"},
		{`{"fallback_policy":"REQUIRE"}`, peer, taken, taken, "GET", "refused"},
		{`{"fallback_policy":"SKIP"}`, peer, "real", "real", "all", "real"},
		{`{"allow":["10.0.0.0/8"],"fallback_policy":"REJECT"}`, peer, taken, taken, "GET", "real"},
		{`{"allow":["11.0.0.0/8"],"fallback_policy":"REJECT"}`, peer, "refused", "refused", "", "real"},
		{`{"allow":["10.0.0.0/8"],"deny":["10.1.0.0/16"],"fallback_policy":"USE"}`, peer, "refused", "refused", "", "real"},
		{`{"allow":["10.0.0.0/8"]}`, &net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 1}, taken, taken, "GET", "real"},
		{`{"deny":["fe80::/10"],"fallback_policy":"USE"}`, &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 1, Zone: "eth0"}, "refused", "refused", "", "real"},
		{`{"deny":["0.0.0.0/0"],"fallback_policy":"REJECT"}`, &net.UnixAddr{Net: "unix", Name: "@"}, taken, taken, "GET", "real"},
		{`{"fallback_policy":"USE"}`, textAddr("nobody"), "refused", "refused", "", "refused"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := must(t, c.config)
			for header, want := range map[string]string{line4: c.with, binary2(1, 0x11, block4): c.with2} {
				wantRest := map[string]string{"GET": "GET / HTTP/1.1", "all": header + "GET / HTTP/1.1", "": ""}[c.withRest]
				got, rest, took := outcome(t, o, c.peer, header+"GET / HTTP/1.1")
				if !strings.HasPrefix(got, want) || rest != wantRest || took != 0 {
					t.Errorf("%s, header %.6q: %s after %v, rest %q; want %s, %q", c.config, header, got, took, rest, want, wantRest)
				}
			}
			got, rest, _ := outcome(t, o, c.peer, "GET / HTTP/1.1")
			if !strings.HasPrefix(got, c.absent) || got == "real" && rest != "GET / HTTP/1.1" {
				t.Errorf("%s, no header: %s, rest %q; want %s", c.config, got, rest, c.absent)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	peer := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4711}
	slow := strings.Split("PROXY| TCP4 192|.0.2.7 10.0.0.1 4660 443\r|\nGET", "|")
	for _, c := range []struct {
		name, config string
		parts        []string
		want, rest   string
		took         time.Duration
	}{
		{"a header in pieces", `{"fallback_policy":"USE"}`, slow, "192.0.2.7:4660 to 10.0.0.1:443", "GET", 3 * time.Second},
		{"a header too late", `{"fallback_policy":"USE","timeout":"2500ms"}`, slow, "refused: PROXY header: it breaks off", "", 2500 * time.Millisecond},
		{"silence", `{"fallback_policy":"USE"}`, nil, "real", "", 10 * time.Second},
		{"silence that is limited", `{"fallback_policy":"USE","timeout":"2s"}`, nil, "real", "", 2 * time.Second},
		{"silence where a header is required", `{"fallback_policy":"REQUIRE","timeout":"2s"}`, nil, "refused", "", 2 * time.Second},
		{"what may be a header", `{"timeout":"2s"}`, []string{"PRO"}, "real", "PRO", 2 * time.Second},
		{"no limit", `{"fallback_policy":"USE","timeout":-1}`, append(make([]string, 100), line4), "192.0.2.7:4660 to 10.0.0.1:443", "", 100 * time.Second},
		{"the policy skip reads nothing", `{"fallback_policy":"SKIP"}`, nil, "real", "", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, rest, took := outcome(t, must(t, c.config), peer, c.parts...)
			if !strings.HasPrefix(got, c.want) || rest != c.rest || took != c.took {
				t.Errorf("%s: %s, rest %q after %v; want %s, %q, %v", c.name, got, rest, took, c.want, c.rest, c.took)
			}
		})
	}
}

// TestLongHeader: one that comes with much behind it is read to its end and no
// further than told.
func TestLongHeader(t *testing.T) {
	header := binary2(1, 0x11, block4+"\xee\x0f\xf1"+strings.Repeat("x", maxBlock-15))
	peer := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4711}
	body := strings.Repeat("y", 20_000)
	got, rest, _ := outcome(t, must(t, `{"fallback_policy":"USE"}`), peer, header+body)
	if got != "192.0.2.7:4660 to 10.0.0.1:443" || rest != body {
		t.Errorf("%s, %d bytes of rest, want %d", got, len(rest), len(body))
	}
}
