package reverseproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/upstream"
)

// resolve gives the world a new cache that asks the resolver; nil means the real ones.
func (w *world) resolve(r dynamic.Resolver) {
	var o dynamic.Options
	if r != nil {
		o.Resolver = func(upstream.ResolverOptions) dynamic.Resolver { return r }
	}
	module.Provide(w.services, dynamic.NewCache(w.pool, o))
}

// nameServer is a DNS server that changes and fails.
type nameServer struct {
	t       *testing.T
	address string

	mu      sync.Mutex
	records map[string][]string // name -> lines in the format of zone files
	once    map[string][]string // the same, for the next question only
	asked   int
	code    int // of all answers
	servers []*dns.Server
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{t: t, address: "127.0.0.1:0", records: map[string][]string{}, once: map[string][]string{}}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start listens, at the same port as before.
func (s *nameServer) start() {
	s.t.Helper()
	for tries := 0; ; tries++ {
		packets, err := net.ListenPacket("udp", s.address)
		if err != nil {
			s.t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			s.address = packets.LocalAddr().String()
			s.serve(&dns.Server{PacketConn: packets, Handler: s})
			s.serve(&dns.Server{Listener: stream, Handler: s})
			return
		}
		packets.Close()
		if tries == 50 {
			s.t.Skip("no port is free for both udp and tcp:", err)
		}
	}
}

// serve runs a server, and returns when it has started.
func (s *nameServer) serve(server *dns.Server) {
	ready := make(chan struct{})
	server.NotifyStartedFunc = func() { close(ready) }
	s.servers = append(s.servers, server)
	go func() { _ = server.ActivateAndServe() }()
	<-ready
}

func (s *nameServer) stop() {
	for _, server := range s.servers {
		_ = server.Shutdown()
	}
	s.servers = nil
}

func (s *nameServer) set(name string, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = lines
}

func (s *nameServer) setOnce(name string, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once[name] = lines
}

func (s *nameServer) answerWith(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

func (s *nameServer) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeDNS implements dns.Handler.
func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	m := new(dns.Msg)
	m.SetReply(q)
	m.Rcode = s.code
	if s.code == dns.RcodeSuccess {
		name := strings.ToLower(q.Question[0].Name)
		lines, known := s.once[name]
		if known {
			delete(s.once, name)
		} else if lines, known = s.records[name]; !known {
			m.Rcode = dns.RcodeNameError
		}
		for _, l := range lines {
			rr, err := dns.NewRR(name + " 60 IN " + l)
			if err != nil {
				panic(err)
			}
			if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if _, overTCP := w.RemoteAddr().(*net.TCPAddr); !overTCP && m.Len() > 1200 {
		m.Answer, m.Truncated = nil, true
	}
	_ = w.WriteMsg(m)
}

// targets is a network on which the names of SRV records are the addresses of backends.
type targets map[string]string

func (n targets) dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	to, ok := n[host]
	if !ok {
		return nil, fmt.Errorf("nobody is at %s", address)
	}
	return d.DialContext(ctx, network, to)
}

// named is a backend that answers with a name.
func named(t testing.TB, name string) string {
	return backend(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
}

const apiName = "_api._tcp.example.com."

// dynamicConfig is a config with a source that asks s.
func dynamicConfig(s *nameServer, source, more string) string {
	return `{"dynamic_upstreams":{` + source + `,"resolver":{"addresses":["` + s.address + `"]}}` + more + `}`
}

const srvSource = `"source":"srv","name":"_api._tcp.example.com","refresh":"20ms"`

// The upstreams follow a real DNS server, and stay while it is down.
func TestDynamicUpstreamsFollowDNS(t *testing.T) {
	s := newNameServer(t)
	net := targets{"one.example.com.": named(t, "one"), "two.example.com.": named(t, "two")}
	s.set(apiName, "SRV 0 0 8080 one.example.com.")
	w := newWorldOver(t, net.dial)
	f := w.build(nil, dynamicConfig(s, srvSource, ``)).front(nil)
	f.get("/").want(t, 200, "one")
	s.set(apiName, "SRV 0 0 8080 two.example.com.")
	eventually(t, "the new upstream is used", func() bool { return f.get("/").body == "two" })
	for range 20 {
		f.get("/").want(t, 200, "two")
	}
	for _, down := range []struct{ begin, end func() }{
		{s.stop, s.start},
		{func() { s.answerWith(dns.RcodeServerFailure) }, func() { s.answerWith(dns.RcodeSuccess) }},
	} {
		down.begin()
		const message = "failed getting dynamic upstreams; using those known from before"
		known := f.logs.FilterMessage(message).Len()
		eventually(t, "a lookup has failed", func() bool {
			f.get("/").want(t, 200, "two")
			return f.logs.FilterMessage(message).Len() > known
		})
		for range 200 {
			f.get("/").want(t, 200, "two")
		}
		if n := f.logs.FilterMessage(message).Len() - known; n > 10 {
			t.Errorf("%d lines say that the DNS is down", n)
		}
		down.end()
		s.set(apiName, "SRV 0 0 8080 one.example.com.")
		eventually(t, "the upstream changes again", func() bool { return f.get("/").body == "one" })
		s.set(apiName, "SRV 0 0 8080 two.example.com.")
		eventually(t, "and back", func() bool { return f.get("/").body == "two" })
	}
	s.set(apiName, "SRV 0 0 0 .")
	eventually(t, "none is an answer, too", func() bool { return f.get("/").StatusCode == 503 })
}

// An answer that is too long for one packet comes by tcp.
func TestDynamicUpstreamsInLongAnswers(t *testing.T) {
	s := newNameServer(t)
	var lines []string
	net := targets{}
	for i := range 100 {
		name := fmt.Sprintf("backend-number-%d.example.com.", i)
		lines = append(lines, fmt.Sprintf("SRV 0 0 8080 %s", name))
		net[name] = named(t, "up")
		if i > 0 {
			net[name] = net["backend-number-0.example.com."]
		}
	}
	s.set(apiName, lines...)
	w := newWorldOver(t, net.dial)
	f := w.build(nil, dynamicConfig(s, srvSource, ``)).front(nil)
	f.get("/").want(t, 200, "up")
	if n := len(w.pool.List()); n != 100 {
		t.Errorf("%d upstreams, want 100", n)
	}
}

// DYN-1: what the source finds replaces the static upstreams; they are used when it fails.
func TestDynamicAndStaticUpstreams(t *testing.T) {
	s := newNameServer(t)
	net := targets{"one.example.com.": named(t, "one"), "static": named(t, "static")}
	f := newWorldOver(t, net.dial).build(nil, dynamicConfig(s, srvSource, `,"upstreams":[{"dial":"static:80"}]`)).front(nil)
	f.get("/").want(t, 200, "static")
	if n := f.logs.FilterMessage("failed getting dynamic upstreams; falling back to static upstreams").Len(); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
	s.set(apiName, "SRV 0 0 8080 one.example.com.")
	eventually(t, "the source is used", func() bool { return f.get("/").body == "one" })
	s.stop()
	eventually(t, "the static upstreams are used", func() bool { return f.get("/").body == "static" })
	s.start()
	s.set(apiName, "SRV 0 0 0 .")
	eventually(t, "none is an answer, too", func() bool { return f.get("/").StatusCode == 503 })
}

// DYN-2: a retry sees what is in the DNS by then.
func TestDynamicRetryAsksAgain(t *testing.T) {
	s := newNameServer(t)
	net := targets{"good.example.com.": named(t, "good")}
	s.setOnce(apiName, "SRV 0 0 8080 dead.example.com.")
	s.set(apiName, "SRV 0 0 8080 good.example.com.")
	source := strings.Replace(srvSource, "20ms", "1h", 1)
	f := newWorldOver(t, net.dial).build(nil, dynamicConfig(s, source, `,"load_balancing":{"retries":1}`)).front(nil)
	f.get("/").want(t, 200, "good")
}

// Names are made of requests.
func TestDynamicPlaceholders(t *testing.T) {
	s := newNameServer(t)
	one, two := named(t, "one"), named(t, "two")
	_, onePort, _ := net.SplitHostPort(one)
	_, twoPort, _ := net.SplitHostPort(two)
	s.set("one.example.com.", "A 127.0.0.1")
	s.set("two.example.com.", "A 127.0.0.1", "AAAA 2001:db8::1")
	source := `"source":"a","name":"{http.vars.name}.example.com","port":"{http.vars.port}","versions":{"ipv4":true}`
	f := newWorld(t).build(nil, dynamicConfig(s, source, ``)).front(func(f *front) {
		f.before = func(_ http.ResponseWriter, r *http.Request, x *handlers.Exchange) {
			x.SetVar("name", r.Header.Get("X-Name"))
			x.SetVar("port", r.Header.Get("X-Port"))
		}
	})
	for range 3 {
		f.get("/", "X-Name", "one", "X-Port", onePort).want(t, 200, "one")
		f.get("/", "X-Name", "two", "X-Port", twoPort).want(t, 200, "two")
	}
	if n := s.questions(); n > 4 {
		t.Errorf("%d questions were asked for two names", n)
	}
	f.get("/", "X-Name", "nobody", "X-Port", "80").want(t, 503, "")
	f.get("/", "X-Name", "one", "X-Port", "http").want(t, 503, "")
	f.get("/", "X-Name", "a b", "X-Port", "80").want(t, 503, "")
}

// addresses is a resolver of fixed addresses.
type addresses struct {
	mu   sync.Mutex
	list []string
}

func (a *addresses) set(list ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = list
}

func (*addresses) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, nil
}

func (a *addresses) LookupNetIP(context.Context, string, string) (list []netip.Addr, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.list {
		list = append(list, netip.MustParseAddr(t))
	}
	return list, nil
}

// onLoopback starts a backend at the same port on each of the addresses.
func onLoopback(t *testing.T, handler http.Handler, ips ...string) (port string) {
	t.Helper()
	for _, ip := range ips {
		ln, err := net.Listen("tcp", net.JoinHostPort(ip, or(port, "0")))
		if err != nil {
			t.Skip("loopback addresses are not to be had:", err)
		}
		_, port, _ = net.SplitHostPort(ln.Addr().String())
		s := &http.Server{Handler: handler}
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(func() { s.Close() })
	}
	return port
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Health checks apply to what is found: passive ones, active ones, and the limit of requests; edits leave them alone.
func TestDynamicHealth(t *testing.T) {
	var probes, sick atomic.Int32
	port := onLoopback(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ip, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		if r.URL.Path == "/up" {
			probes.Add(1)
		}
		if ip == "127.0.0.2" && sick.Load() > 0 {
			w.WriteHeader(500)
		}
		io.WriteString(w, ip)
	}), "127.0.0.1", "127.0.0.2")
	config := func(health, more string) string {
		return `{"dynamic_upstreams":{"source":"a","name":"app","port":"` + port + `","refresh":"10ms"},"health_checks":{` + health + `}` + more + `}`
	}
	dns := &addresses{list: []string{"127.0.0.1", "127.0.0.2"}}
	w := newWorld(t)
	w.resolve(dns)
	t.Run("passive", func(t *testing.T) {
		sick.Store(1)
		defer sick.Store(0)
		const health = `"passive":{"fail_duration":"1h","max_fails":1,"unhealthy_status":[5]}`
		g := w.build(nil, config(health, ``))
		f := g.front(nil)
		failed := 0
		for range 10 {
			if f.get("/").StatusCode == 500 {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d requests failed, want 1", failed)
		}
		next := w.build(g, config(health, `,"flush_interval":-1`))
		f.handler.Store(next.Handler)
		g.retire(next)
		for range 10 {
			f.get("/").want(t, 200, "127.0.0.1")
		}
		dns.set("127.0.0.1")
		eventually(t, "the list is shorter", func() bool { f.get("/"); return len(next.dynamic.source.Known().Dials) == 1 })
		dns.set("127.0.0.2", "127.0.0.1")
		eventually(t, "the list is longer", func() bool { f.get("/"); return len(next.dynamic.source.Known().Dials) == 2 })
		for range 10 {
			f.get("/").want(t, 200, "127.0.0.1")
		}
		w.close(next)
	})
	t.Run("active", func(t *testing.T) {
		const health = `"active":{"uri":"/up","interval":"20ms","jitter":0}`
		g := w.build(nil, config(health, `,"stream_timeout":1`))
		f := g.front(nil)
		f.get("/")
		sick.Store(1)
		eventually(t, "the sick one is known", func() bool { return w.verdicts("down") == 1 })
		for range 10 {
			f.get("/").want(t, 200, "127.0.0.1")
		}
		next := w.build(g, config(health, `,"stream_timeout":2`))
		f.handler.Store(next.Handler)
		g.retire(next)
		for range 10 { // none is sent to an upstream that is known to be down
			f.get("/").want(t, 200, "127.0.0.1")
		}
		dns.set("127.0.0.1")
		eventually(t, "who is gone is not asked any more", func() bool { f.get("/"); return w.verdicts("down") == 0 && w.verdicts("up") == 1 })
		w.close(next)
		if n := w.verdicts("up"); n != 0 {
			t.Errorf("%d checks go on after the end of the handler", n)
		}
		sick.Store(0)
		f.get("/").want(t, 200, "127.0.0.1") // a request of the old generation
		if n := w.verdicts("up"); n != 0 {
			t.Errorf("a late request has begun %d checks", n)
		}
	})
	t.Run("limit", func(t *testing.T) {
		g := w.build(nil, config(`"passive":{"unhealthy_request_count":7}`, ``))
		f := g.front(nil)
		f.get("/")
		list := g.dynamic.sets.Of(g.dynamic.source.Known()).list
		if len(list) == 0 || list[0].MaxRequests != 7 {
			t.Errorf("the limit is not that of the passive checks")
		}
		w.close(g)
	})
	t.Run("min_healthy", func(t *testing.T) {
		sick.Store(1)
		dns.set("127.0.0.2")
		g := w.build(nil, config(`"active":{"uri":"/up","interval":"20ms"},"min_healthy":1`, ``))
		f := g.front(nil)
		eventually(t, "the sick one is known", func() bool { f.get("/"); return w.verdicts("down") == 1 })
		f.get("/").want(t, 500, "127.0.0.2")
		w.close(g)
	})
}

// close ends a generation that nothing follows.
func (w *world) close(g *generation) {
	all := g.result.Root.All()
	for i := len(all) - 1; i >= 0; i-- {
		owned := all[i].Owned()
		for j := len(owned) - 1; j >= 0; j-- {
			owned[j].Close()
		}
	}
}

// verdicts counts the judges in a state.
func (w *world) verdicts(state string) (n int) {
	for _, s := range w.pool.Health() {
		for _, v := range s.Health {
			if v.State == state {
				n++
			}
		}
	}
	return n
}

// A static and a dynamic upstream with the same address are one host.
func TestDynamicHostsAreShared(t *testing.T) {
	release, running := make(chan struct{}), make(chan struct{}, 1)
	port := onLoopback(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running <- struct{}{}
		<-release
	}), "127.0.0.1")
	w := newWorld(t)
	w.resolve(&addresses{list: []string{"127.0.0.1"}})
	found := w.build(nil, `{"dynamic_upstreams":{"source":"a","name":"app","port":"`+port+`"}}`).front(nil)
	full := w.build(nil, `{"upstreams":[{"dial":"127.0.0.1:`+port+`","max_requests":1}]}`).front(nil)
	var wg sync.WaitGroup
	wg.Go(func() { found.get("/") })
	select {
	case <-running:
	case <-time.After(10 * time.Second):
		t.Error("the first request does not arrive")
	}
	full.get("/").want(t, 503, "")
	if l := w.pool.List(); len(l) != 1 || l[0].NumRequests != 1 {
		t.Errorf("hosts: %+v", l)
	}
	close(release)
	wg.Wait()
}

// Each policy works on lists that change in traffic.
func TestDynamicListsChangeInTraffic(t *testing.T) {
	port := onLoopback(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "127.0.0.1", "127.0.0.2", "127.0.0.3")
	for _, policy := range []string{`"round_robin"`, `"random"`, `"least_conn"`, `"first"`, `"ip_hash"`, `"cookie"`, `"random_choose"`, `"weighted_round_robin","weights":[3,1]`} {
		w := newWorld(t)
		dns := &addresses{list: []string{"127.0.0.1"}}
		w.resolve(dns)
		f := w.build(nil, `{"dynamic_upstreams":{"source":"a","name":"app","port":"`+port+`","refresh":"1ms"},"load_balancing":{"selection_policy":{"policy":`+policy+`}}}`).front(nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 50 {
					f.get("/"+strconv.Itoa(i)).want(t, 200, "")
					dns.set([]string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}[i%3:]...)
				}
			})
		}
		wg.Wait()
	}
}
