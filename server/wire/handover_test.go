package wire

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProcessTag(t *testing.T) {
	id, err := tagged(7).GenerateConnectionID()
	if err != nil || id.Len() != connectionIDLen || id.Bytes()[0] != 7 || tagged(7).ConnectionIDLen() != connectionIDLen {
		t.Errorf("%v %v", id, err)
	}
	if again, _ := tagged(7).GenerateConnectionID(); again == id {
		t.Error("twice the same")
	}
	for _, c := range []struct {
		name, packet string
		tag          byte
		ok           bool
	}{
		{"nothing", "", 0, false},
		{"short header", "\x40\x07abcdefrest", 7, true},
		{"short header, too short", "\x40\x07abcde", 0, false},
		{"long header with ours", "\xc0\x00\x00\x00\x01\x07\x09abcdef\x00", 9, true},
		{"long header, cut off", "\xc0\x00\x00\x00\x01\x07\x09abcde", 0, false},
		{"long header of a client", "\xc0\x00\x00\x00\x01\x08\x09abcdefg\x00", 0, false},
		{"long header with none", "\xc0\x00\x00\x00\x01\x00\x09abcdefg\x00", 0, false},
	} {
		if tag, ok := ProcessTag([]byte(c.packet)); tag != c.tag || ok != c.ok {
			t.Errorf("%s: %d %v", c.name, tag, ok)
		}
	}
}

// TestHandOver: an idle connection has time for one more request, one that a handler has taken over for as long as it
// likes.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ws" {
				c, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					go func() {
						defer c.Close()
						_, _ = io.Copy(c, c)
					}()
				}
				return
			}
			fmt.Fprint(w, "ok")
		})
		busy, idle, silent, ws := h.pipe(), h.pipe(), h.pipe(), h.pipe()
		r := bufio.NewReader(busy)
		get(t, busy, r, "/")
		get(t, idle, bufio.NewReader(idle), "/")
		io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- h.HandOver(context.Background(), context.Background()) }()
		time.Sleep(drainFirstByte / 2)
		if res := get(t, busy, r, "/"); !res.Close {
			t.Error("a response does not say that the connection ends")
		}
		expectClose(t, busy, 0, 0)
		for what, c := range map[string]io.Reader{"idle": idle, "silent": silent} {
			if rest, _ := io.ReadAll(c); len(rest) > 0 {
				t.Errorf("%s: %q", what, rest)
			}
			if d := time.Since(start); d != drainFirstByte {
				t.Errorf("%s: closed after %v", what, d)
			}
		}
		time.Sleep(time.Hour)
		go io.WriteString(ws, "hello")
		if buf := make([]byte, 5); true {
			if _, err := io.ReadFull(ws, buf); err != nil || string(buf) != "hello" {
				t.Errorf("%q %v", buf, err)
			}
		}
		select {
		case err := <-done:
			t.Errorf("ended with a connection that goes on: %v", err)
		default:
		}
		ws.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-h.Gone()
	})
}

func TestHandOverLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		stop   func(all, streams context.CancelFunc)
		slowly bool // a request runs on all the same
		says   string
	}{
		{"all", func(all, _ context.CancelFunc) { all() }, false, "cut 1 connections with active requests"},
		{"streams", func(_, streams context.CancelFunc) { streams() }, true, "cut 1 connections that handlers had taken over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/ws" {
						_, _, _ = http.NewResponseController(w).Hijack()
						return
					}
					select {
					case <-release:
					case <-r.Context().Done():
					}
				})
				slow, ws := h.pipe(), h.pipe()
				io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
				io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
				synctest.Wait()
				all, cancelAll := context.WithCancel(context.Background())
				defer cancelAll()
				streams, cancelStreams := context.WithCancel(context.Background())
				defer cancelStreams()
				done := make(chan error, 1)
				go func() { done <- h.HandOver(all, streams) }()
				synctest.Wait()
				c.stop(cancelAll, cancelStreams)
				synctest.Wait()
				if c.slowly {
					select {
					case err := <-done:
						t.Fatalf("a request was cut: %v", err)
					default:
					}
					close(release)
					if res, err := http.ReadResponse(bufio.NewReader(slow), nil); err != nil || res.StatusCode != 200 {
						t.Errorf("%v %v", res, err)
					}
					slow.Close()
				}
				if err := <-done; err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				if _, body := closedAfter(ws); body != "" {
					t.Errorf("the stream: %q", body)
				}
			})
		})
	}
}
