package match

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestIPs(t *testing.T) {
	for _, c := range []struct {
		json, ip string
		want     bool
	}{
		{`{"ranges":["127.0.0.0/8"]}`, "127.0.0.1", true}, {`{"ranges":["127.0.0.1%eth0","::1"]}`, "127.0.0.1", false},
		{`{"ranges":["fe80::/10"]}`, "fe80::1%eth0", true}, {`{"ranges":["fe80::1%eth1"]}`, "fe80::1%eth0", false}, {`{"ranges":["fe80::1%eth0"]}`, "fe80::1%eth0", true},
		{`{"ranges":["fe80::/10%eth0"]}`, "fe80::9%eth0", true}, {`{"ranges":["fe80::/10%eth0"]}`, "fe80::9", false},
		{`{"ranges":["192.0.2.7"]}`, "192.0.2.7", true}, {`{"ranges":["192.0.2.7"]}`, "192.0.2.8", false}, {`{"ranges":["127.0.0.1/8"]}`, "127.9.9.9", true},
		{`{}`, "127.0.0.1", false}, {`{"ranges":[]}`, "127.0.0.1", false}, {`{"ranges":["{env.NET}"]}`, "10.1.1.1", true},
		{`{"ranges":["127.0.0.0/8"]}`, "::ffff:127.0.0.1", false}, {`{"ranges":["::ffff:127.0.0.1"]}`, "127.0.0.1", false}, {`{"ranges":["0.0.0.0/0"]}`, "::1", false}, {`{"ranges":["::/0"]}`, "::1", true},
	} {
		host := c.ip
		if netip.MustParseAddr(c.ip).Is6() {
			host = "[" + c.ip + "]"
		}
		check(t, "remote_ip", c.json, request(t, "/", withPeer(host+":4711")), c.want)
		check(t, "remote_ip", c.json, request(t, "/", withPeer(c.ip)), c.want)
		check(t, "client_ip", c.json, request(t, "/", withPeer("9.9.9.9:1"), withVar("client_ip", c.ip)), c.want)
	}
}

// logging is a server that only has a logger.
type logging struct{ log *zap.Logger }

func (logging) Name() string                  { return "s" }
func (logging) LogCredentials() bool          { return false }
func (l logging) Logger(n string) *zap.Logger { return l.log.Named(n) }
func (logging) ShutdownAt() time.Time         { return time.Time{} }
func (logging) NamedRoute(string, http.ResponseWriter, *http.Request, handlers.Next) (bool, error) {
	return false, nil
}

func TestUnreadableAddresses(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	server := func(r *http.Request) { handlers.Of(r).Server = logging{zap.New(core)} }
	everyone := `{"ranges":["0.0.0.0/0","::/0"]}`
	for _, addr := range []string{"@", "", "nonsense:1"} {
		check(t, "remote_ip", everyone, request(t, "/", withPeer(addr), server), false)
	}
	for _, v := range []any{7, nil, true, []string{"1.1.1.1"}, "@", "", "1.1.1.1:80"} {
		check(t, "client_ip", everyone, request(t, "/", withVar("client_ip", v), server), false)
	}
	if n := logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 10 {
		t.Errorf("%d errors logged", n)
	}
	if e := logs.All()[0]; e.LoggerName != "http.matchers.remote_ip" || e.ContextMap()["address"] != "@" {
		t.Errorf("logged %+v", e)
	}
}

// TestIPSet compares the long form of a set with the list.
func TestIPSet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr {
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(rnd.IntN(2)), byte(rnd.IntN(4)), byte(rnd.IntN(8))})
		}
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%d:%d", rnd.IntN(3), rnd.IntN(9)))
	}
	for range 300 {
		var set ipSet
		var list []netip.Prefix
		for range rnd.IntN(40) {
			ip := addr()
			p, err := ip.Prefix(ip.BitLen() - rnd.IntN(5))
			if err != nil {
				t.Fatal(err)
			}
			set.add(p, "")
			list = append(list, p)
		}
		for range 50 {
			ip, want := addr(), false
			for _, p := range list {
				want = want || p.Contains(ip)
			}
			if got := set.has(ip); got != want {
				t.Fatalf("%v in %v: got %v", ip, list, got)
			}
		}
	}
}
