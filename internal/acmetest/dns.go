package acmetest

import (
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// DNS is a running name server, over UDP and TCP. It answers for every name: 127.0.0.1 where there is no record of its own.
// The zones that it takes updates for and lets be transferred are those under "test.", each name with two labels, and example.com.
type DNS struct {
	// Address is host:port.
	Address string
	// KeyName, KeyAlg and Key is the TSIG key that updates and transfers have to be signed with.
	KeyName, KeyAlg, Key string

	mu      sync.Mutex
	records []dns.RR
	updates int
	seen    []string
	hidden  []string
}

// StartDNS starts a name server that stops with the test.
func StartDNS(t testing.TB) *DNS {
	t.Helper()
	d := &DNS{KeyName: "sluice-test", KeyAlg: "hmac-sha256", Key: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))}
	tcp, udp := listen(t)
	d.Address = tcp.Addr().String()
	for _, s := range []*dns.Server{{Listener: tcp}, {PacketConn: udp}} {
		s.Handler = d
		s.TsigSecret = map[string]string{dns.CanonicalName(d.KeyName): d.Key}
		s.MsgAcceptFunc = func(h dns.Header) dns.MsgAcceptAction {
			const response = 1 << 15
			if h.Bits&response != 0 {
				return dns.MsgIgnore
			}
			return dns.MsgAccept
		}
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return d
}

// listen opens both sockets at one port.
func listen(t testing.TB) (net.Listener, net.PacketConn) {
	for range 100 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		_ = tcp.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

// Records is what was put into zones, each record as in a zone file.
func (d *DNS) Records() (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rr := range d.records {
		list = append(list, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return list
}

// Updates counts the updates that were done.
func (d *DNS) Updates() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.updates
}

// Seen is the names and types of all records that ever were put in, as "name type".
func (d *DNS) Seen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen)
}

// Add puts records into zones, each as in a zone file.
func (d *DNS) Add(t testing.TB, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		d.records = append(d.records, rr)
	}
}

// Hide makes it answer that there is no such name, and Show as before.
func (d *DNS) Hide(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hidden = append(d.hidden, dns.CanonicalName(name))
}

// Show undoes Hide.
func (d *DNS) Show(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hidden = slices.DeleteFunc(d.hidden, func(h string) bool { return h == dns.CanonicalName(name) })
}

// ServeDNS implements [dns.Handler].
func (d *DNS) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	if t := r.IsTsig(); t != nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
		err := w.TsigStatus()
		if err == nil && dns.CanonicalName(t.Algorithm) != dns.CanonicalName(d.KeyAlg) {
			err = dns.ErrSecret
		}
		if err != nil {
			m.Rcode = dns.RcodeNotAuth
			m.IsTsig().Error = dns.RcodeBadSig
			if errors.Is(err, dns.ErrSecret) {
				m.IsTsig().Error = dns.RcodeBadKey
			}
			if errors.Is(err, dns.ErrTime) {
				m.IsTsig().Error = dns.RcodeBadTime
			}
			_ = w.WriteMsg(m)
			return
		}
	}
	signed := r.IsTsig() != nil
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(r.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case r.Opcode == dns.OpcodeUpdate:
		m.Rcode = d.update(r, signed)
	case r.Question[0].Qtype == dns.TypeAXFR:
		if !signed {
			m.Rcode = dns.RcodeRefused
			break
		}
		m.Answer = d.transfer(dns.CanonicalName(r.Question[0].Name))
	case slices.Contains(d.hidden, dns.CanonicalName(r.Question[0].Name)):
		m.Rcode = dns.RcodeNameError
	default:
		d.answer(m, r.Question[0])
	}
	_ = w.WriteMsg(m)
}

// soa is the head of a zone, nil if the name is none.
func soa(name string) dns.RR {
	labels := dns.SplitDomainName(name)
	if len(labels) != 2 || labels[1] != "test" && name != "example.com." {
		return nil
	}
	return &dns.SOA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1}, Ns: "ns." + name, Mbox: "admin." + name,
		Serial: 1, Refresh: 60, Retry: 60, Expire: 60, Minttl: 1}
}

func (d *DNS) answer(m *dns.Msg, q dns.Question) {
	name := dns.CanonicalName(q.Name)
	for range 8 { // an alias is followed, as a resolver would
		var alias *dns.CNAME
		for _, rr := range d.records {
			if h := rr.Header(); dns.CanonicalName(h.Name) == name && (h.Rrtype == q.Qtype || h.Rrtype == dns.TypeCNAME) {
				m.Answer = append(m.Answer, rr)
				alias, _ = rr.(*dns.CNAME)
			}
		}
		if alias == nil || q.Qtype == dns.TypeCNAME {
			break
		}
		name = dns.CanonicalName(alias.Target)
	}
	if len(m.Answer) > 0 {
		return
	}
	switch q.Qtype {
	case dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)})
	case dns.TypeSOA:
		if s := soa(name); s != nil {
			m.Answer = append(m.Answer, s)
		}
	}
}

func (d *DNS) transfer(zone string) (list []dns.RR) {
	head := soa(zone)
	if head == nil {
		return nil
	}
	list = append(list, head)
	for _, rr := range d.records {
		if dns.IsSubDomain(zone, dns.CanonicalName(rr.Header().Name)) {
			list = append(list, rr)
		}
	}
	return append(list, head)
}

// update does what RFC 2136, section 3.4, says.
func (d *DNS) update(r *dns.Msg, signed bool) int {
	zone := dns.CanonicalName(r.Question[0].Name)
	if soa(zone) == nil {
		return dns.RcodeNotAuth
	}
	if !signed {
		return dns.RcodeRefused
	}
	for _, rr := range r.Ns {
		if !dns.IsSubDomain(zone, dns.CanonicalName(rr.Header().Name)) {
			return dns.RcodeNotZone
		}
	}
	for _, rr := range r.Ns {
		h := rr.Header()
		switch h.Class {
		case dns.ClassINET:
			if !slices.ContainsFunc(d.records, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
				d.records = append(d.records, rr)
			}
			d.seen = append(d.seen, dns.CanonicalName(h.Name)+" "+dns.TypeToString[h.Rrtype])
		case dns.ClassANY:
			d.remove(func(o dns.RR) bool {
				return strings.EqualFold(o.Header().Name, h.Name) && (h.Rrtype == dns.TypeANY || h.Rrtype == o.Header().Rrtype)
			})
		case dns.ClassNONE:
			same := dns.Copy(rr)
			same.Header().Class = dns.ClassINET
			d.remove(func(o dns.RR) bool { return dns.IsDuplicate(o, same) })
		}
	}
	d.updates++
	return dns.RcodeSuccess
}

func (d *DNS) remove(match func(dns.RR) bool) { d.records = slices.DeleteFunc(d.records, match) }
