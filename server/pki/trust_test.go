package pki

import (
	"crypto/x509"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/truststore"
)

// The stores are told one by one, and one that fails does not keep it from the others. Nothing is installed here.
func TestEachStore(t *testing.T) {
	s := &systemTrust{}
	root := issue(t, nil, "root", time.Hour, nil)
	if s.Trusted(root.cert) {
		t.Error("a root that was just made is trusted")
	}
	calls := 0
	broken := errors.New("broken")
	err := s.each(root.cert, func(c *x509.Certificate, options ...truststore.Option) error {
		if !c.Equal(root.cert) {
			t.Error("another root")
		}
		if calls++; calls == 2 {
			if len(options) != 2 {
				t.Errorf("%d options for Java", len(options))
			}
			return nil
		}
		return broken
	})
	if calls != 3 || !errors.Is(err, broken) || !strings.Contains(err.Error(), "of the system: broken") || !strings.Contains(err.Error(), "of Firefox: broken") || strings.Contains(err.Error(), "Java") {
		t.Errorf("%d calls: %v", calls, err)
	}
	failed := truststore.NewCmdError(broken, exec.Command("tee"), []byte("tee: \n denied "+strings.Repeat("x", 1000)))
	if got := said(failed); !strings.HasPrefix(got, ": tee: denied x") || len(got) > 310 {
		t.Errorf("%q", got)
	}
	if got := said(broken); got != "" {
		t.Errorf("%q", got)
	}
}
