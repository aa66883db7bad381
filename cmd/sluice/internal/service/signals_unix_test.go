//go:build unix

package service

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func TestSignals(t *testing.T) {
	for sig, want := range map[os.Signal]Signal{
		os.Interrupt: Stop, syscall.SIGTERM: Stop, syscall.SIGQUIT: Quit, syscall.SIGUSR1: Reload, syscall.SIGUSR2: Idle, syscall.SIGHUP: Idle,
	} {
		if got := SignalOf(sig); got != want {
			t.Errorf("%v: %d, want %d", sig, got, want)
		}
		if IsInterrupt(sig) != (sig == os.Interrupt) {
			t.Errorf("%v: wrong about an interrupt", sig)
		}
	}
	trapped := Trap()
	for _, sig := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGHUP} { // the first is ignored
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case sig := <-trapped:
		if sig != syscall.SIGHUP {
			t.Errorf("trapped %v", sig)
		}
	case <-time.After(10 * time.Second):
		t.Error("SIGHUP was not trapped")
	}
}
