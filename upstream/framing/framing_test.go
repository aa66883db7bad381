package framing

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// feedAll gives a message to a Framer in pieces of a size and returns how much belongs to it.
func feedAll(f *Framer, text string, size int) (int, error) {
	f.Begin(f.noBody)
	n := 0
	for n < len(text) && f.state != done {
		m, err := f.Feed([]byte(text[n:min(n+size, len(text))]))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestFramer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, text string
		head       bool
		after      string // what follows the message
		state      state
		doubtful   bool
	}{
		{name: "length", text: ok + "Content-Length: 5\r\n\r\nhello", after: "more"},
		{name: "length twice", text: ok + "Content-Length: 5\r\ncontent-length:5 \r\n\r\nhello", after: "more"},
		{name: "no body", text: ok + "Content-Length: 0\r\n\r\n", after: "more"},
		{name: "bare LF", text: "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", after: "more"},
		{name: "head", text: ok + "Content-Length: 5\r\n\r\n", head: true, after: "hello"},
		{name: "204", text: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", after: "hello"},
		{name: "304", text: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", after: "0\r\n\r\n"},
		{name: "no reason", text: "HTTP/1.1 204\r\n\r\n", after: "x"},
		{name: "informational", text: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx", after: "y"},
		{name: "chunked", text: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0a ;ext=1\r\n0123456789\r\n0\r\n\r\n", after: "more"},
		{name: "trailers", text: ok + "transfer-encoding:\tCHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", after: "more"},
		{name: "both", text: ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", after: "more", doubtful: true},
		{name: "folded elsewhere", text: ok + "X-A: 1\r\n Content-Length: 9\r\nContent-Length: 2\r\n\r\nhi", after: "more"},
		{name: "long line", text: ok + "X-A: " + strings.Repeat("a", 3000) + "\r\nContent-Length: 2\r\n\r\nhi", after: "more"},
		{name: "similar names", text: ok + "Content-Lengthy: 9\r\nTransfer-Encodin: x\r\nContent-Length: 2\r\n\r\nhi", after: "more"},
		{name: "until close", text: ok + "\r\nall the rest", state: inUntilClose},
		{name: "HTTP/1.0", text: "HTTP/1.0 200 OK\r\n\r\nall the rest", state: inUntilClose},
		{name: "tunnel", text: "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\nanything", state: tunnel},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 7, 1 << 20} {
			f := &Framer{response: true, noBody: tt.head}
			n, err := feedAll(f, tt.text+tt.after, size)
			if err != nil || n != len(tt.text) || f.state != tt.state || f.doubtful != tt.doubtful {
				t.Errorf("%s in pieces of %d: %d of %d, state %d, doubtful %v, %v", tt.name, size, n, len(tt.text), f.state, f.doubtful, err)
			}
		}
	}
}

func TestFramerRefuses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, text := range []string{
		"garbage\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/11 200 OK\r\n", "\r\n",
		ok + "Content-Length: 5\r\nContent-Length: 6\r\n", ok + "Content-Length: +5\r\n", ok + "Content-Length: 5, 5\r\n", ok + "Content-Length:\r\n",
		ok + "Content-Length: -1\r\n", ok + "Content-Length: 99999999999999999999\r\n", ok + "Content-Length:\r\n 5\r\n", ok + "Content-Length: 5\r\n\t6\r\n",
		ok + "Transfer-Encoding: gzip, chunked\r\n", ok + "Transfer-Encoding: xchunked\r\n", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		ok + "Transfer-Encoding:\r\n chunked\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", ok + "Content-Length: " + strings.Repeat("0", 400) + "5\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n1234567890abcdef0\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n5 5\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n0x5\r\n",
	} {
		for _, size := range []int{1, 5, 1 << 20} {
			f := &Framer{response: true}
			if n, err := feedAll(f, text, size); err == nil {
				t.Errorf("%q in pieces of %d is taken: %d, state %d", text, size, n, f.state)
			}
		}
	}
}

// The Framer of requests finds the end of whatever net/http writes.
func TestFramerOfRequests(t *testing.T) {
	for i, r := range []*http.Request{
		request("GET", "/", nil, 0), request("HEAD", "/", nil, 0), request("POST", "/", strings.NewReader("0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), -1),
		request("POST", "/", strings.NewReader("body"), 4), request("PUT", "/"+strings.Repeat("long/", 2000), strings.NewReader(strings.Repeat("b", 9000)), -1),
		request("OPTIONS", "*", nil, 0),
	} {
		var text bytes.Buffer
		if err := r.Write(&text); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 4096, 1 << 20} {
			f := &Framer{}
			n, err := feedAll(f, text.String()+"GET / HTTP/1.1\r\n\r\n", size)
			if err != nil || n != text.Len() || f.state != done || (f.method == "HEAD") != (r.Method == "HEAD") {
				t.Errorf("request %d in pieces of %d: %d of %d, %v", i, size, n, text.Len(), err)
			}
		}
	}
}

func request(method, target string, body io.Reader, length int64) *http.Request {
	if body != nil {
		body = io.MultiReader(body)
	}
	r, err := http.NewRequest(method, "http://a.test/", body)
	if err != nil {
		panic(err)
	}
	r.URL.Opaque = target
	r.ContentLength = length
	return r
}

// FuzzFramer compares with net/http: where the one takes a whole response, the other finds the same end.
func FuzzFramer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\r\na\r\n0\r\nX: y\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nX: 1\r\n Content-Length: 2\r\nContent-Length: 1\r\n\r\nab", "HTTP/1.1 304 \r\n\r\nx", "HTTP/1.0 200 OK\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nab",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		in := bytes.NewReader(text)
		br := bufio.NewReaderSize(in, 16)
		res, err := http.ReadResponse(br, &http.Request{Method: "GET"})
		if err != nil || res.StatusCode < 200 {
			return
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return
		}
		used := len(text) - in.Len() - br.Buffered()
		fr := &Framer{response: true}
		n, err := feedAll(fr, string(text), int(size)+1)
		switch {
		case err != nil: // stricter
		case fr.state == inUntilClose && n == len(text):
		case fr.state == done && n == used:
		default:
			t.Errorf("net/http took %d of %d, the Framer %d, state %d: %q", used, len(text), n, fr.state, text)
		}
	})
}
