package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"
)

// terminal makes a terminal: what the user has, and what the program has.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { user.Close() })
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

// silent waits until the terminal shows nothing of what is typed.
func silent(t *testing.T, f *os.File) {
	t.Helper()
	eventually(t, "end of the echo", func() bool {
		state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		return err == nil && state.Lflag&unix.ECHO == 0
	})
}

func TestHashPasswordAsksOnATerminal(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, second := range []string{"secret", "secrt"} {
		user, program := terminal(t)
		var echo output
		go func() { _, _ = io.Copy(&echo, user) }()
		c := b.spawn(program, "hash-password", "--bcrypt-cost", "4")
		c.logged("Enter password: ")
		silent(t, program)
		fmt.Fprint(user, "secret\n")
		c.logged("Confirm password: ")
		silent(t, program)
		fmt.Fprint(user, second+"\n")
		if second != "secret" {
			c.exits(1)
			c.logged(`"password does not match"`)
		} else {
			c.exits(0)
			if err := bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(c.stdout.String())), []byte(second)); err != nil {
				t.Errorf("%s: %v", c.stdout.String(), err)
			}
		}
		if all := echo.String() + c.stderr.String(); strings.Contains(all, "sec") {
			t.Errorf("the password is shown: %s", all)
		}
	}
}
