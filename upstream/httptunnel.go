package upstream

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"syscall"
)

// sendUpgrade sends a request that wants to switch protocols. After a 101 net/http's buffers of the connection are not
// needed any more: the guard has kept back what came with it. So the tunnel reads and writes the connection itself.
func sendUpgrade(t *http.Transport, r *http.Request) (*http.Response, error) {
	var conn *guardConn
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { conn, _ = got.Conn.(*guardConn) }}
	res, err := t.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || conn == nil {
		return res, err
	}
	if body, ok := res.Body.(io.ReadWriteCloser); ok {
		res.Body = &tunnelBody{conn, body}
	}
	return res, nil
}

// tunnelBody is the body of a 101.
type tunnelBody struct {
	conn *guardConn
	body io.Closer
}

// Read implements io.Reader.
func (b *tunnelBody) Read(p []byte) (int, error) { return b.conn.Read(p) }

// Write implements io.Writer.
func (b *tunnelBody) Write(p []byte) (int, error) { return b.conn.Write(p) }

// Close implements io.Closer.
func (b *tunnelBody) Close() error { return b.body.Close() }

// CloseWrite ends the sending direction, where the connection can.
func (b *tunnelBody) CloseWrite() error { return b.conn.CloseWrite() }

// RawRead returns what to read from without this body's help.
func (b *tunnelBody) RawRead() syscall.RawConn { return b.conn.RawRead() }
