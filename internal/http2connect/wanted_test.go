package http2connect

import "testing"

func TestWanted(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		kept       bool
	}{
		{"", "http2xconnect=1", false}, {"a=1,b=2", "a=1,b=2,http2xconnect=1", false},
		{"http2xconnect=0", "http2xconnect=0", true}, {"a=1,http2xconnect=1", "a=1,http2xconnect=1", true},
	} {
		if got, kept := wanted(tt.have); got != tt.want || kept != tt.kept {
			t.Errorf("%q becomes %q, kept %v", tt.have, got, kept)
		}
	}
}
