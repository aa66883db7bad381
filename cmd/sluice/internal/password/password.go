// Package password asks for passwords and hashes them.
package password

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"
)

// DefaultBcryptCost is the cost of bcrypt hashes where no other is valid.
const DefaultBcryptCost = 14

// Hash is how to hash.
type Hash struct {
	// Algorithm is "bcrypt" or "argon2id".
	Algorithm string
	// Cost is that of bcrypt, from 4 to 31; DefaultBcryptCost takes the place of
	// any other.
	Cost int
	// Argon2id is the parameters of argon2id.
	Argon2id Argon2id
}

// Argon2id is the parameters of argon2id (RFC 9106, section 3.1).
type Argon2id struct {
	Time    uint32
	Memory  uint32 // KiB
	Threads uint8
	KeyLen  uint32 // bytes
}

// Limits on the parameters; the lower ones are those of RFC 9106.
const (
	maxMemory = 4 << 20 // KiB
	maxKeyLen = 1 << 10
	saltLen   = 16
)

// Check finds what cannot be done, before anybody is asked for a password.
func (h *Hash) Check() error {
	a := h.Argon2id
	switch h.Algorithm {
	case "bcrypt":
		return nil
	case "argon2id":
	default:
		return fmt.Errorf("unrecognized hash algorithm: %s; there are bcrypt and argon2id", h.Algorithm)
	}
	switch {
	case a.Time < 1:
		return errors.New("--argon2id-time is 0; it must be at least 1")
	case a.Threads < 1:
		return errors.New("--argon2id-threads is 0; it must be from 1 to 255")
	case a.Memory < 8*uint32(a.Threads) || a.Memory > maxMemory:
		return fmt.Errorf("--argon2id-memory is %d KiB; it must be from %d (8 for each thread) to %d", a.Memory, 8*uint32(a.Threads), maxMemory)
	case a.KeyLen < 4 || a.KeyLen > maxKeyLen:
		return fmt.Errorf("--argon2id-keylen is %d bytes; it must be from 4 to %d", a.KeyLen, maxKeyLen)
	}
	return nil
}

// Sum hashes a password, with a salt of its own.
func (h *Hash) Sum(plaintext []byte) (string, error) {
	if err := h.Check(); err != nil {
		return "", err
	}
	if len(plaintext) == 0 {
		return "", errors.New("plaintext is required")
	}
	if h.Algorithm == "argon2id" {
		a, salt := h.Argon2id, make([]byte, saltLen)
		rand.Read(salt) // never fails
		key := argon2.IDKey(plaintext, salt, a.Time, a.Memory, a.Threads, a.KeyLen)
		b64 := base64.RawStdEncoding.EncodeToString
		return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.Memory, a.Time, a.Threads, b64(salt), b64(key)), nil
	}
	sum, err := bcrypt.GenerateFromPassword(plaintext, h.cost())
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", errors.New("bcrypt takes passwords of at most 72 bytes; use a shorter one, or --algorithm argon2id")
	}
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	return string(sum), nil
}

// cost is one that is valid.
func (h *Hash) cost() int {
	if h.Cost < bcrypt.MinCost || h.Cost > bcrypt.MaxCost {
		return DefaultBcryptCost
	}
	return h.Cost
}

// maxLine bounds a password, in bytes.
const maxLine = 1 << 16

// Ask reads a password: twice and without an echo from a terminal, with prompts
// on out; else one line, which must end in a newline.
func Ask(in io.Reader, out io.Writer) ([]byte, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askTwice(int(f.Fd()), out)
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxLine)).ReadBytes('\n')
	switch {
	case err == io.EOF && len(line) == maxLine:
		return nil, fmt.Errorf("reading the password: the line is longer than %d bytes", maxLine)
	case err == io.EOF:
		return nil, errors.New("EOF: the password on standard input must end in a newline")
	case err != nil:
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func askTwice(fd int, out io.Writer) ([]byte, error) {
	defer restoreOnInterrupt(fd)()
	first, err := askOnce(fd, out, "Enter password: ")
	if err != nil {
		return nil, err
	}
	second, err := askOnce(fd, out, "Confirm password: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("password does not match")
	}
	return first, nil
}

func askOnce(fd int, out io.Writer, prompt string) ([]byte, error) {
	fmt.Fprint(out, prompt)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(out)
	if err != nil {
		return nil, fmt.Errorf("reading the password from the terminal: %w", err)
	}
	return line, nil
}

// restoreOnInterrupt gives the terminal its echo back if the process is
// interrupted, until what it returns is called.
func restoreOnInterrupt(fd int) (stop func()) {
	state, err := term.GetState(fd)
	if err != nil {
		return func() {}
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		if _, ok := <-interrupts; ok {
			_ = term.Restore(fd, state)
			os.Exit(1)
		}
	}()
	return func() {
		signal.Stop(interrupts)
		close(interrupts)
	}
}
