package dnsproviders

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

// defaultTTL is that of records that come with none.
const defaultTTL = time.Minute

// toRR turns a record into that of the DNS library. Its data is read as in a zone file, except that of a TXT record, which
// is the text itself. Without data the record has only a head.
func toRR(r libdns.RR, zone string) (dns.RR, error) {
	name := dns.Fqdn(libdns.AbsoluteName(r.Name, zone))
	if _, ok := dns.IsDomainName(name); !ok || strings.ContainsAny(name, " \t\r\n\"();$") {
		return nil, fmt.Errorf("%q is no name of a record", name)
	}
	if !dns.IsSubDomain(zone, name) {
		return nil, fmt.Errorf("record %s lies outside of zone %s", name, zone)
	}
	ttl := r.TTL
	if ttl <= 0 {
		ttl = defaultTTL
	}
	h := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: uint32(min(ttl/time.Second, 1<<31-1))}
	if r.Type == "" {
		h.Rrtype = dns.TypeANY
		return &dns.ANY{Hdr: h}, nil
	}
	var ok bool
	if h.Rrtype, ok = dns.StringToType[strings.ToUpper(r.Type)]; !ok {
		return nil, fmt.Errorf("%q is no type of a record", r.Type)
	}
	if r.Data == "" {
		return &dns.ANY{Hdr: h}, nil
	}
	if h.Rrtype == dns.TypeTXT {
		return &dns.TXT{Hdr: h, Txt: chunks(r.Data)}, nil
	}
	return parseRR(h, r)
}

// parseRR reads data as in a zone file.
func parseRR(h dns.RR_Header, r libdns.RR) (dns.RR, error) {
	if strings.ContainsAny(r.Data, "\r\n") {
		return nil, fmt.Errorf("the data of the %s record %s has a line break", r.Type, h.Name)
	}
	rr, err := dns.NewRR(". 0 IN " + dns.TypeToString[h.Rrtype] + " " + r.Data)
	if err != nil || rr == nil {
		return nil, fmt.Errorf("the data of the %s record %s cannot be read; want it as in a zone file", r.Type, h.Name)
	}
	h.Rdlength = rr.Header().Rdlength
	*rr.Header() = h
	return rr, nil
}

// isEmpty reports whether a record has only a head.
func isEmpty(rr dns.RR) bool {
	_, ok := rr.(*dns.ANY)
	return ok
}

// chunks cuts a text into the strings of a TXT record, written the way that the DNS library wants them.
func chunks(text string) (list []string) {
	for len(text) > 0 {
		n := min(len(text), 255)
		var b strings.Builder
		for _, c := range []byte(text[:n]) {
			switch {
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < ' ' || c > '~':
				fmt.Fprintf(&b, "\\%03d", c)
			default:
				b.WriteByte(c)
			}
		}
		list = append(list, b.String())
		text = text[n:]
	}
	return list
}

// joined is the inverse of chunks.
func joined(list []string) string {
	var b strings.Builder
	for _, s := range list {
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] != '\\':
				b.WriteByte(s[i])
			case i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
				b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
				i += 3
			case i+1 < len(s):
				i++
				b.WriteByte(s[i])
			}
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// fromRR is the inverse of toRR.
func fromRR(rr dns.RR, zone string) libdns.Record {
	h := rr.Header()
	r := libdns.RR{Name: libdns.RelativeName(h.Name, zone), Type: dns.TypeToString[h.Rrtype], TTL: time.Duration(h.Ttl) * time.Second,
		Data: strings.TrimPrefix(rr.String(), h.String())}
	if t, ok := rr.(*dns.TXT); ok {
		r.Data = joined(t.Txt)
	}
	return typed(r)
}

// typed is a record with its data taken apart, where libdns knows how.
func typed(r libdns.RR) libdns.Record {
	if r.Type == "" || r.Data == "" {
		return r
	}
	if t, err := r.Parse(); err == nil {
		return t
	}
	return r
}

// GetRecords implements [Provider]: it asks for a transfer of the zone (AXFR), which the name server must allow. Records of
// DNSSEC are left out.
func (s *nameServer) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	zone = dns.Fqdn(zone)
	list, err := s.transfer(ctx, zone)
	if err != nil {
		return nil, fmt.Errorf("reading zone %s from name server %s: %w", zone, s.address, err)
	}
	return list, nil
}

func (s *nameServer) transfer(ctx context.Context, zone string) ([]libdns.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := (&dns.Client{Net: "tcp", Timeout: askTimeout}).DialContext(ctx, s.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	t := &dns.Transfer{Conn: conn}
	m := new(dns.Msg).SetAxfr(zone)
	if s.key != "" {
		m.SetTsig(s.key, s.alg, tsigFudge, s.now().Unix())
		t.TsigSecret = map[string]string{s.key: s.password}
		conn.TsigSecret = t.TsigSecret
	}
	envelopes, err := t.In(m, s.address)
	if err != nil {
		return nil, err
	}
	var list []libdns.Record
	var failure error
	for e := range envelopes { // to its end, where the goroutine that sends ends too
		switch {
		case failure != nil:
		case e.Error != nil:
			failure = e.Error
		default:
			list, failure = appendRecords(list, e.RR, zone)
		}
		if failure != nil {
			conn.Close()
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, fmt.Errorf("%w; see that it allows transfers (AXFR) with this key", signatureError(failure))
	}
	return list, nil
}

func appendRecords(list []libdns.Record, rrs []dns.RR, zone string) ([]libdns.Record, error) {
	for _, rr := range rrs {
		switch rr.Header().Rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeTSIG:
			continue
		}
		if _, ok := rr.(*dns.SOA); ok && len(list) > 0 { // a transfer begins and ends with it
			continue
		}
		if len(list) >= maxRecords {
			return nil, errors.New("the zone has more records than can be held")
		}
		list = append(list, fromRR(rr, zone))
	}
	return list, nil
}
