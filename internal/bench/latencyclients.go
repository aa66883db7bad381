package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	messageSize = 100
	// warmUp is how many exchanges at the start of a measurement do not count.
	warmUp = 20
)

func dialCalls(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
}

// callLatency makes unary calls over one connection.
func (b *bench) callLatency(t *target) ([]time.Duration, error) {
	// Not a deadline, which would travel along with each call.
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	defer time.AfterFunc(b.streamPeriod+streamTimeout, cancel).Stop()
	message := bytes.Repeat([]byte("x"), messageSize)
	var echo []byte
	return b.repeat(func() (time.Duration, error) {
		start := time.Now()
		err := t.calls.Invoke(ctx, rpcMethod, &message, &echo)
		d := time.Since(start)
		if err == nil && !bytes.Equal(echo, message) {
			err = fmt.Errorf("the echo is %.200q", echo)
		}
		return d, err
	})
}

// repeat measures for the period.
func (b *bench) repeat(once func() (time.Duration, error)) ([]time.Duration, error) {
	for range warmUp {
		if _, err := once(); err != nil {
			return nil, err
		}
	}
	var out []time.Duration
	for end := time.Now().Add(b.streamPeriod); time.Now().Before(end); {
		d, err := once()
		if err != nil {
			return nil, err
		}
		if b.ctx.Err() != nil {
			return nil, context.Cause(b.ctx)
		}
		out = append(out, d)
	}
	return out, nil
}

// socket is an open WebSocket and a message for it.
type socket struct {
	net.Conn
	r           *bufio.Reader
	frame, echo []byte
}

// webSocketRequest opens a WebSocket on the upstreams of this program.
const webSocketRequest = "GET /ws HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + webSocketKey + "\r\n\r\n"

func openSocket(addr string) (*socket, error) {
	c, r, err := dialStream(addr, webSocketRequest, "101")
	if err != nil {
		return nil, err
	}
	// A final binary frame, masked with 0 (RFC 6455, section 5.2). The upstream
	// sends bytes back as they come.
	frame := append([]byte{0x82, 0x80 | messageSize, 0, 0, 0, 0}, bytes.Repeat([]byte("x"), messageSize)...)
	return &socket{c, r, frame, make([]byte, len(frame))}, nil
}

// exchange sends the message and waits for its echo.
func (s *socket) exchange() error {
	if _, err := s.Write(s.frame); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.r, s.echo); err != nil {
		return err
	}
	if !bytes.Equal(s.echo, s.frame) {
		return fmt.Errorf("the echo is %.200q", s.echo)
	}
	return nil
}

// echoLatency sends messages through one WebSocket.
func (b *bench) echoLatency(t *target) ([]time.Duration, error) {
	s, err := openSocket(t.plain)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(b.streamPeriod + streamTimeout)); err != nil {
		return nil, err
	}
	return b.repeat(func() (time.Duration, error) {
		start := time.Now()
		err := s.exchange()
		return time.Since(start), err
	})
}

// eventLatency reads events, which say when they were sent.
func (b *bench) eventLatency(t *target) ([]time.Duration, error) {
	c, err := net.DialTimeout("tcp", t.plain, streamTimeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := errors.Join(c.SetDeadline(time.Now().Add(b.streamPeriod+streamTimeout)), send(c, string(get("/stamps", "bench.test")))); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.New("status " + res.Status)
	}
	r := bufio.NewReader(res.Body)
	return b.repeat(func() (time.Duration, error) {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return 0, err
			}
			now := time.Now()
			if text, ok := bytes.CutPrefix(line, []byte(stamp)); ok {
				sent, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
				return now.Sub(time.Unix(0, sent)), err
			}
		}
	})
}
