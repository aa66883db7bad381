package httptransport

import (
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/upstream"
)

func TestDefaultsAndOptions(t *testing.T) {
	d := upstream.DefaultHTTPOptions()
	if got := (&Config{Compression: true}).options(); got != d {
		t.Errorf("a config that states nothing gives %+v, want %+v", got, d)
	}
	off := false
	got := (&Config{
		DialTimeout: module.Duration(time.Second), ReadTimeout: 1, WriteTimeout: 2, ResponseHeaderTimeout: 3, ExpectContinueTimeout: 4,
		DialFallbackDelay: -1, MaxResponseHeaderSize: 5, WriteBufferSize: 6, ReadBufferSize: 7, MaxConnsPerHost: 8, LocalAddress: "::1",
		KeepAlive: KeepAlive{Enabled: &off, ProbeInterval: -1, MaxIdleConns: 9, MaxIdleConnsPerHost: 10, IdleTimeout: 11},
	}).options()
	want := upstream.HTTPOptions{
		DialTimeout: time.Second, ReadTimeout: 1, WriteTimeout: 2, ResponseHeaderTimeout: 3, ExpectContinueTimeout: 4,
		DialFallbackDelay: -1, MaxResponseHeaderSize: 5, WriteBufferSize: 6, ReadBufferSize: 7, MaxConnsPerHost: 8, LocalAddress: "::1",
		ProbeInterval: -1, MaxIdleConns: 9, MaxIdleConnsPerHost: 10, IdleTimeout: 11,
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

var _ upstream.Identified = (*transport)(nil)
