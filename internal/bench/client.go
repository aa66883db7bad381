package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// client is one HTTP/1.1 connection that sends requests made beforehand, so
// that it costs little beside what it measures.
type client struct {
	addr    string
	timeout time.Duration
	conn    net.Conn
	r       *bufio.Reader
	body    []byte
}

func newClient(addr string, timeout time.Duration) *client {
	return &client{addr: addr, timeout: timeout}
}

// get is a GET request.
func get(path, host string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

// reply is the answer to one request. The body is good until the next one.
type reply struct {
	status int
	body   []byte
	closed bool // the server closes the connection
}

// do sends a request and reads the answer, on the connection that is open or
// on a new one. After an error the connection is closed.
func (c *client) do(request []byte) (reply, error) {
	r, err := c.exchange(request)
	if err != nil || r.closed {
		c.close()
	}
	return r, err
}

// expect is do that makes an error of any answer but 200 with this body.
func (c *client) expect(request []byte, body string) error {
	r, err := c.do(request)
	if err == nil && (r.status != 200 || string(r.body) != body) {
		err = fmt.Errorf("answer %d %.200q instead of 200 %q", r.status, r.body, body)
	}
	return err
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *client) dial() error {
	conn, err := net.DialTimeout("tcp", c.addr, c.timeout)
	if err != nil {
		return err
	}
	c.use(conn)
	return nil
}

// use makes a connection that is open the client's.
func (c *client) use(conn net.Conn) {
	c.conn = conn
	if c.r == nil {
		c.r = bufio.NewReaderSize(conn, 16<<10)
	}
	c.r.Reset(conn)
}

func (c *client) exchange(request []byte) (reply, error) {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return reply{}, err
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return reply{}, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return reply{}, err
	}
	h, err := c.header()
	if err != nil {
		return reply{}, err
	}
	c.body = c.body[:0]
	switch {
	case h.chunked:
		err = c.chunks()
	case h.length >= 0:
		err = c.take(h.length)
	default:
		h.closed = true
		var rest []byte
		rest, err = io.ReadAll(c.r)
		c.body = append(c.body, rest...)
	}
	return reply{h.status, c.body, h.closed}, err
}

// head is what of a response header matters here.
type head struct {
	status          int
	length          int
	chunked, closed bool
}

var errNotHTTP = errors.New("what came back is not HTTP/1.1")

// header reads status line and header of the next response.
func (c *client) header() (head, error) {
	h := head{length: -1}
	line, err := c.line()
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, errNotHTTP
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, errNotHTTP
	}
	h.closed = line[7] == '0'
	for {
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return h, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "Content-Length"):
			if h.length, err = strconv.Atoi(string(value)); err != nil || h.length < 0 {
				return h, errNotHTTP
			}
		case is(name, "Transfer-Encoding"):
			h.chunked = is(value, "chunked")
		case is(name, "Connection"):
			h.closed = h.closed || is(value, "close")
		}
	}
}

func is(text []byte, word string) bool {
	return len(text) == len(word) && bytes.EqualFold(text, []byte(word))
}

func (c *client) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// take reads n bytes of body.
func (c *client) take(n int) error {
	from := len(c.body)
	if cap(c.body) < from+n {
		c.body = append(make([]byte, 0, from+n), c.body...)
	}
	c.body = c.body[:from+n]
	got, err := io.ReadFull(c.r, c.body[from:])
	if err != nil {
		c.body = c.body[:from+got]
		return fmt.Errorf("the body ends after %d bytes: %w", from+got, err)
	}
	return nil
}

func (c *client) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return errNotHTTP
		}
		if err := c.take(int(n)); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) > 0 {
			return errors.Join(err, errIf(len(line) > 0, errNotHTTP))
		}
		if n == 0 {
			return nil
		}
	}
}

func errIf(bad bool, err error) error {
	if bad {
		return err
	}
	return nil
}

// adminClient speaks to an admin endpoint.
type adminClient struct {
	addr string
	http *http.Client
}

func newAdminClient(addr string) *adminClient {
	return &adminClient{addr, &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{}}}
}

// call makes a request and returns the body of its answer, which must be 200.
func (a *adminClient) call(b *bench, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(b.ctx, method, "http://"+a.addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := a.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %.300s", method, path, res.StatusCode, text)
	}
	return text, err
}

// timed is call for its duration.
func (a *adminClient) timed(b *bench, method, path string, body []byte) (time.Duration, error) {
	start := time.Now()
	_, err := a.call(b, method, path, body)
	return time.Since(start), err
}

func (a *adminClient) close() { a.http.CloseIdleConnections() }
