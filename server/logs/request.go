package logs

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Snapshot is a request as it arrived, kept for its log entries. The zero
// Snapshot is that of a request which is not logged. It may be copied; it is
// used up by Access.Log.
type Snapshot struct{ rec *record }

// Snap takes a snapshot if requests to r's Host are logged. It copies the
// headers, because handlers may change them.
func Snap(a *Access, r *http.Request) Snapshot {
	if !a.Enabled(r.Host) {
		return Snapshot{}
	}
	return Snapshot{snap(r, a.credentials)}
}

// Taken reports whether the request is to be logged.
func (s Snapshot) Taken() bool { return s.rec != nil }

// record is the `request` object of an entry, and the memory that making
// entries needs. It marshals itself.
type record struct {
	remote, proto, method, host, uri string
	client                           string
	hasClient                        bool
	credentials                      bool
	headers                          flatHeader
	transfer                         texts
	tls                              *tls.ConnectionState

	fields   []zap.Field
	response headerObject
	first    firstError
}

var records = sync.Pool{New: func() any { return new(record) }}

// maxKept bounds what a record of the pool holds on to.
const maxKept = 256

func snap(r *http.Request, credentials bool) *record {
	rec := records.Get().(*record)
	rec.remote, rec.proto, rec.method, rec.host, rec.uri = r.RemoteAddr, r.Proto, r.Method, r.Host, r.RequestURI
	rec.credentials = credentials
	rec.headers.set(r.Header, credentials)
	rec.transfer.list = append(rec.transfer.list[:0], r.TransferEncoding...)
	rec.tls = r.TLS
	return rec
}

// free gives the record back. Nothing may use it any more.
func (rec *record) free() {
	h, transfer, fields := rec.headers, rec.transfer.list, rec.fields
	clear(h.names)
	clear(h.values)
	clear(transfer)
	clear(fields)
	*rec = record{headers: flatHeader{names: h.names[:0], ends: h.ends[:0], values: h.values[:0]}, fields: fields[:0]}
	rec.transfer.list = transfer[:0]
	if cap(h.values) > maxKept || cap(h.names) > maxKept || cap(fields) > maxKept {
		return
	}
	records.Put(rec)
}

// MarshalLogObject writes the `request` object.
func (rec *record) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	ip, port, err := net.SplitHostPort(rec.remote)
	if err != nil {
		ip, port = rec.remote, ""
	}
	enc.AddString("remote_ip", ip)
	enc.AddString("remote_port", port)
	if rec.hasClient {
		enc.AddString("client_ip", rec.client)
	}
	enc.AddString("proto", rec.proto)
	enc.AddString("method", rec.method)
	enc.AddString("host", rec.host)
	enc.AddString("uri", rec.uri)
	if err := enc.AddObject("headers", &rec.headers); err != nil {
		return err
	}
	if len(rec.transfer.list) > 0 {
		if err := enc.AddArray("transfer_encoding", &rec.transfer); err != nil {
			return err
		}
	}
	if rec.tls != nil {
		return enc.AddObject("tls", (*tlsObject)(rec.tls))
	}
	return nil
}

type tlsObject tls.ConnectionState

// MarshalLogObject writes the `tls` object.
func (t *tlsObject) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddBool("resumed", t.DidResume)
	enc.AddUint16("version", t.Version)
	enc.AddUint16("cipher_suite", t.CipherSuite)
	enc.AddString("proto", t.NegotiatedProtocol)
	enc.AddString("server_name", t.ServerName)
	enc.AddBool("ech", t.ECHAccepted)
	if len(t.PeerCertificates) > 0 {
		cert := t.PeerCertificates[0]
		enc.AddString("client_common_name", cert.Subject.CommonName)
		if cert.SerialNumber != nil {
			enc.AddString("client_serial", cert.SerialNumber.String())
		}
	}
	return nil
}

// texts is an array of strings.
type texts struct{ list []string }

// MarshalLogArray writes the array.
func (t *texts) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for _, s := range t.list {
		enc.AppendString(s)
	}
	return nil
}

const redacted = "REDACTED"

// secret reports whether the values of a header are credentials.
func secret(name string) bool {
	switch len(name) {
	case len("Cookie"):
		return strings.EqualFold(name, "Cookie")
	case len("Set-Cookie"):
		return strings.EqualFold(name, "Set-Cookie")
	case len("Authorization"):
		return strings.EqualFold(name, "Authorization")
	case len("Proxy-Authorization"):
		return strings.EqualFold(name, "Proxy-Authorization")
	}
	return false
}

// flatHeader is a copy of headers in few pieces of memory, redacted.
type flatHeader struct {
	names  []string
	ends   []int // where in values those of each name end
	values []string
	one    texts
}

func (f *flatHeader) set(h http.Header, credentials bool) {
	f.names, f.ends, f.values = f.names[:0], f.ends[:0], f.values[:0]
	for name, values := range h {
		f.names = append(f.names, name)
		if !credentials && secret(name) {
			f.values = append(f.values, redacted)
		} else {
			f.values = append(f.values, values...)
		}
		f.ends = append(f.ends, len(f.values))
	}
}

// MarshalLogObject writes the headers, each an array.
func (f *flatHeader) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	start := 0
	for i, name := range f.names {
		f.one.list = f.values[start:f.ends[i]]
		start = f.ends[i]
		if err := enc.AddArray(name, &f.one); err != nil {
			return err
		}
	}
	return nil
}

// headerObject writes headers as they are now, redacted.
type headerObject struct {
	header      http.Header
	credentials bool
	one         texts
	redacted    [1]string
}

// MarshalLogObject writes the headers, each an array.
func (h *headerObject) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for name, values := range h.header {
		h.one.list = values
		if !h.credentials && secret(name) {
			h.redacted[0] = redacted
			h.one.list = h.redacted[:]
		}
		if err := enc.AddArray(name, &h.one); err != nil {
			return err
		}
	}
	return nil
}
