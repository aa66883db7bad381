package framing

import (
	"bytes"
	"strconv"
)

// connectionOptions are the Connection fields of a response of HTTP/1.1. net/http drops all of them where one has the
// option close, and with them the names of the fields that must not be passed on (RFC 9110 section 7.6.1). So where there are
// such names, close is blanked out before net/http sees it, and the guard ends the connection. Only what net/http has
// already seen, of a head that comes in pieces, is too late.
type connectionOptions struct {
	names   bool     // there are names of fields
	hidden  bool     // a close was blanked out
	earlier [][]byte // lines with a close that can still be blanked out
}

const (
	connectionField = "Connection"
	closeOption     = "close"
)

// take takes a field line. stays says that the line stays in memory until the next call of feed.
func (o *connectionOptions) take(line []byte, stays bool) {
	value, ok := valueOf(line, connectionField)
	if !ok || len(value) == len(line) {
		return
	}
	closes := false
	eachOption(value, func(option []byte) {
		switch {
		case bytes.EqualFold(option, []byte(closeOption)):
			closes = true
		case !bytes.EqualFold(option, []byte("keep-alive")) && !bytes.EqualFold(option, []byte("upgrade")):
			o.names = true
		}
	})
	if closes && (stays || o.names) {
		o.earlier = append(o.earlier, value)
	}
	if !o.names {
		return
	}
	for _, value := range o.earlier {
		eachOption(value, func(option []byte) {
			if bytes.EqualFold(option, []byte(closeOption)) {
				copy(option, "     ")
				o.hidden = true
			}
		})
	}
	o.earlier = nil
}

// keepAliveTimeout is the parameter timeout of a Keep-Alive field, 0 without one that can be meant.
func keepAliveTimeout(value []byte) (seconds int) {
	eachOption(value, func(option []byte) {
		name, text, _ := bytes.Cut(option, []byte("="))
		if n, err := strconv.ParseUint(string(bytes.TrimLeft(text, " \t")), 10, 31); err == nil && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("timeout")) {
			seconds = int(n)
		}
	})
	return seconds
}

// eachOption calls f with each member of a comma-separated list that is not empty.
func eachOption(value []byte, f func([]byte)) {
	for len(value) > 0 {
		var option []byte
		option, value, _ = bytes.Cut(value, []byte(","))
		if option = bytes.Trim(option, " \t"); len(option) > 0 {
			f(option)
		}
	}
}
