package wire

import "time"

// Defaults of a server's settings.
const (
	DefaultReadHeaderTimeout = time.Minute
	DefaultBodyIdleTimeout   = time.Minute // of reading and of writing
	DefaultIdleTimeout       = 5 * time.Minute
	DefaultMaxWriteChunk     = 64 << 10
	DefaultMaxHeaderBytes    = 16 << 10
)

// Settings are the limits of a server. They are not changed once a Server has
// them: Options.Settings returns others instead.
type Settings struct {
	// ReadTimeout limits the reading of a request: of its header, and of its
	// body counted from the end of the header. Not positive means no limit.
	ReadTimeout time.Duration
	// ReadHeaderTimeout limits the reading of the header; the connection is
	// closed without a response. It limits the handshake of TLS before it and the
	// preface of HTTP/2 as well, and that of QUIC if it is less than handshakeIdle.
	// Not positive means no limit.
	ReadHeaderTimeout time.Duration
	// ReadIdleTimeout limits how long a read of the body may stall. Not
	// positive means no limit, and no ReadMinRate.
	ReadIdleTimeout time.Duration
	// ReadMinRate is the bytes a second that a body must reach on average, once
	// ReadIdleTimeout has passed. Not positive means no minimum.
	ReadMinRate int64
	// WriteTimeout limits the writing of a response, from the end of the
	// request header on. Not positive means no limit.
	WriteTimeout time.Duration
	// WriteIdleTimeout limits how long a write may stall. Not positive means no
	// limit, and no WriteMinRate. A pause between writes does not count.
	WriteIdleTimeout time.Duration
	// WriteMinRate is the same as ReadMinRate for writing.
	WriteMinRate int64
	// MaxWriteChunk bounds one write, so that WriteIdleTimeout applies to pieces
	// of that size. Not positive means DefaultMaxWriteChunk.
	MaxWriteChunk int
	// IdleTimeout limits the wait for the next request, which in HTTP/2 and HTTP/3
	// is until it has come whole. Not positive means no limit. A connection of these
	// keeps the one that it began with.
	IdleTimeout time.Duration
	// MaxHeaderBytes limits the request header; HTTP/1 tolerates 4096 bytes
	// more. Beyond it the answer is 431. Not positive means
	// DefaultMaxHeaderBytes. A connection keeps the one that it began with.
	MaxHeaderBytes int
	// EnableFullDuplex lets an HTTP/1 response start before the request body
	// was read.
	EnableFullDuplex bool
	// Openers read what stands before HTTP on a connection, in their order. A
	// connection keeps those that it began with.
	Openers []Opener
	// EarlyData lets HTTP/3 requests come before the handshake is complete, so that
	// they may be replayed (RFC 8470).
	EarlyData bool
	// TLS is how the listener speaks TLS, behind the openers; nil is clear text. A
	// connection keeps what it began with.
	TLS *TLS
	// Protocols are what clients may speak in clear text. A connection keeps those that it
	// began with.
	Protocols Protocols
}

// Protocols are the protocols of a listener without TLS.
type Protocols struct {
	// HTTP1 is HTTP/1.0 and 1.1.
	HTTP1 bool
	// UnencryptedHTTP2 is HTTP/2 with prior knowledge.
	UnencryptedHTTP2 bool
}

func (s *Settings) maxChunk() int {
	if s.MaxWriteChunk <= 0 {
		return DefaultMaxWriteChunk
	}
	return s.MaxWriteChunk
}

func (s *Settings) maxHeader() int {
	if s.MaxHeaderBytes <= 0 {
		return DefaultMaxHeaderBytes
	}
	return s.MaxHeaderBytes
}

func (s *Settings) read() limits { return limits{s.ReadIdleTimeout, s.ReadMinRate, s.ReadTimeout} }

func (s *Settings) write() limits { return limits{s.WriteIdleTimeout, s.WriteMinRate, s.WriteTimeout} }

// limits are the idle-reset deadline of one direction.
type limits struct {
	idle time.Duration
	rate int64
	hard time.Duration
}

// deadline returns when an operation that begins now must end; zero is never.
// start is when the request's header had been read, n what was transferred.
func (l limits) deadline(now, start time.Time, n int64) (d time.Time) {
	if l.idle > 0 {
		d = now.Add(l.idle)
		if l.rate > 0 {
			d = start.Add(l.idle + time.Duration(float64(n)/float64(l.rate)*float64(time.Second)))
		}
	}
	if l.hard > 0 {
		if h := start.Add(l.hard); d.IsZero() || h.Before(d) {
			d = h
		}
	}
	return d
}

// slack is how much earlier than now+idle a deadline may be: it saves setting
// it anew for each of many small operations.
func (l limits) slack() time.Duration { return l.idle / 64 }

// after returns the earlier of two limits from now.
func after(now time.Time, a, b time.Duration) time.Time {
	if a <= 0 || b > 0 && b < a {
		a = b
	}
	if a <= 0 {
		return time.Time{}
	}
	return now.Add(a)
}
