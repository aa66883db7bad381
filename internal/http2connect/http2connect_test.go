// The tests of this file are a package apart, for the package itself must not import net/http, not even in its tests.
package http2connect_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluiceproxy/sluice/internal/http2connect"
)

// advertises asks a server of net/http by its first SETTINGS frame whether it serves extended CONNECT.
func advertises(t *testing.T) bool {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	f, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", f)
	}
	v, ok := settings.Value(http2.SettingEnableConnectProtocol)
	return ok && v == 1
}

// UP-15. The test runs itself with values of GODEBUG that an operator may have set.
func TestServersAdvertiseExtendedConnect(t *testing.T) {
	const child = "SLUICE_TEST_CHILD"
	if want := os.Getenv(child); want != "" {
		if got := advertises(t); got != (want == "yes") || got != http2connect.Enabled {
			t.Errorf("GODEBUG=%s: advertised %v, Enabled %v", os.Getenv("GODEBUG"), got, http2connect.Enabled)
		}
		return
	}
	for value, want := range map[string]string{
		"": "yes", "http2debug=0": "yes", "http2xconnect=1": "yes", "http2xconnect=0": "no", "http2client=1,http2xconnect=0": "no",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestServersAdvertiseExtendedConnect$")
		for _, e := range os.Environ() {
			if !strings.HasPrefix(e, "GODEBUG=") {
				cmd.Env = append(cmd.Env, e)
			}
		}
		cmd.Env = append(cmd.Env, child+"="+want)
		if value != "" {
			cmd.Env = append(cmd.Env, "GODEBUG="+value)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("GODEBUG=%q: %v\n%s", value, err, out)
		}
	}
}
