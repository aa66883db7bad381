package mission

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// names is the DNS server of the machine.
type names struct {
	mu    sync.Mutex
	lines map[string][]string // by name, in the words of zone files
	down  bool
	asked int // for SRV records
	last  time.Time
}

// newNames starts a server that knows the names of the Caddyfiles. Those of backends have addresses of their own.
func newNames(t *testing.T) *names {
	t.Helper()
	n := &names{lines: map[string][]string{
		"example.com.": {"A 127.0.0.1"}, "anothersite.com.": {"A 127.0.0.9"},
		"api-server.": {"A 127.0.0.2"}, "ws-server.": {"A 127.0.0.3"}, "web-server.": {"A 127.0.0.4"},
	}}
	udp, err := net.ListenPacket("udp", "127.0.0.1:53")
	must(t, err)
	tcp, err := net.Listen("tcp", "127.0.0.1:53")
	must(t, err)
	for _, server := range []*dns.Server{{PacketConn: udp, Handler: n}, {Listener: tcp, Handler: n}} {
		ready := make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		go func() { _ = server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return n
}

// set says what there is below a name. Without lines there is no such name.
func (n *names) set(name string, lines ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lines[name] = lines; lines == nil {
		delete(n.lines, name)
	}
}

func (n *names) fail(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// questions is how often somebody has asked for SRV records, and when they were last asked for.
func (n *names) questions() (int, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked, n.last
}

// ServeDNS implements dns.Handler.
func (n *names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	question := q.Question[0]
	if question.Qtype == dns.TypeSRV {
		n.asked++
		n.last = time.Now()
	}
	lines, ok := n.lines[strings.ToLower(question.Name)]
	switch {
	case n.down && question.Qtype == dns.TypeSRV:
		m.Rcode = dns.RcodeServerFailure
	case !ok:
		m.Rcode = dns.RcodeNameError
	}
	for _, l := range lines {
		rr, err := dns.NewRR(question.Name + " 60 IN " + l)
		if err != nil {
			panic(err)
		}
		if m.Rcode == dns.RcodeSuccess && rr.Header().Rrtype == question.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}
