package upstream

import (
	"strconv"
	"testing"
)

func TestParseDial(t *testing.T) {
	tests := []struct {
		text, address, host, port, hostport string
	}{
		{"10.20.0.1:8080", "tcp/10.20.0.1:8080", "10.20.0.1", "8080", "10.20.0.1:8080"},
		{"tcp/10.20.0.1:8080", "tcp/10.20.0.1:8080", "10.20.0.1", "8080", "10.20.0.1:8080"},
		{"[2001:db8::5]:80", "tcp/[2001:db8::5]:80", "2001:db8::5", "80", "[2001:db8::5]:80"},
		{"tcp4/app.internal:8080", "tcp4/app.internal:8080", "app.internal", "8080", "app.internal:8080"},
		{"TCP6 /app.internal:1", "tcp6/app.internal:1", "app.internal", "1", "app.internal:1"},
		{"unix//run/app.sock", "unix//run/app.sock", "/run/app.sock", "0", "/run/app.sock"},
		{"app.internal", "tcp/app.internal:0", "app.internal", "0", "app.internal:0"},
		{"app.internal:", "tcp/app.internal:0", "app.internal", "0", "app.internal:0"},
	}
	for _, tt := range tests {
		a, err := ParseDial(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if a.String() != tt.address || a.Host != tt.host || a.Port != tt.port || a.HostPort != tt.hostport {
			t.Errorf("%q: %+v", tt.text, a)
		}
	}
	for _, text := range []string{"10.20.0.1:8080-8083", "10.20.0.1:x", "10.20.0.1:99999"} {
		if a, err := ParseDial(text); err == nil {
			t.Errorf("%q was accepted as %+v", text, a)
		}
	}
}

func TestHostEncodingRoundTrip(t *testing.T) {
	for _, tt := range [][2]string{
		{"tcp", "10.20.0.1:8080"}, {"tcp", "[::1]:80"}, {"tcp4", "app.internal:80"},
		{"unix", "/run/a:b/äpp.sock"}, {"unix", "@abstract"},
	} {
		network, address, err := DecodeHost(encodeHost(tt[0], tt[1]))
		if err != nil || network != tt[0] || address != tt[1] {
			t.Errorf("%v came back as %q %q %v", tt, network, address, err)
		}
	}
	if _, _, err := DecodeHost("!unix!zz:0"); err == nil {
		t.Error("a broken encoding was decoded")
	}
}

// The vectors of section 24.1 of the reference.
func TestScoreVectors(t *testing.T) {
	pool := []string{"10.20.0.1:8080", "10.20.0.2:8080", "10.20.0.3:8080"}
	tests := []struct {
		key    string
		scores [3]string
	}{
		{"203.0.113.7", [3]string{"ad2610982680c2c5", "a8761e7099505902", "ff62ab846f3af5c3"}},
		{"203.0.113.8", [3]string{"b8fc6c939cff34b2", "a8d5415480f954da", "1b60cc1103b4bc9d"}},
		{"203.0.113.9", [3]string{"e8add666bb9bddbb", "9cace10bb11151dd", "3d0d18e1eca1d894"}},
		{"2001:db8::5", [3]string{"ba21eec09742aec4", "418cb347d83e7071", "b0934fd9fbb650fb"}},
		{"/shop?id=7", [3]string{"70092cc5508f4ffb", "04c934775d59b5d7", "50d8cb464ee73b66"}},
		{"/shop?id=8", [3]string{"7e90aef80868f8d9", "5780b31d596e27c2", "c9c2f4f979ee0ad1"}},
		{"alpha", [3]string{"8f14fd815bce5fea", "9fcae0fd9830ba82", "4cb9042cd7c381ef"}},
		{"beta", [3]string{"6e88949367f23aa3", "193e4a59fdcc24a3", "841e9ae11a0e241f"}},
		{"red,blue", [3]string{"29a6c2e200cf575b", "a7a2221af4201ab8", "f3587a285aedcb89"}},
	}
	for _, tt := range tests {
		for i, dial := range pool {
			want, err := strconv.ParseUint(tt.scores[i], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got := Score(dial, tt.key); got != want {
				t.Errorf("%s %s: %x, want %x", dial, tt.key, got, want)
			}
		}
	}
}

func TestScoreDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Score("10.20.0.1:8080", "203.0.113.7") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
