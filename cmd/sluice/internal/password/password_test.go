package password

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

func TestBcrypt(t *testing.T) {
	h := Hash{Algorithm: "bcrypt", Cost: 4}
	sum, err := h.Sum([]byte("secret"))
	if err != nil || !strings.HasPrefix(sum, "$2a$04$") {
		t.Fatalf("%s %v", sum, err)
	}
	if bcrypt.CompareHashAndPassword([]byte(sum), []byte("secret")) != nil || bcrypt.CompareHashAndPassword([]byte(sum), []byte("Secret")) == nil {
		t.Error("the hash is not one of the password")
	}
	if again, _ := h.Sum([]byte("secret")); again == sum {
		t.Error("two hashes have one salt")
	}
	if _, err := h.Sum(bytes.Repeat([]byte("x"), 73)); err == nil || !strings.Contains(err.Error(), "at most 72 bytes") {
		t.Error(err)
	}
	for cost, want := range map[int]int{-1: 14, 3: 14, 4: 4, 31: 31, 32: 14} { // hashing with 14 takes long
		if got := (&Hash{Cost: cost}).cost(); got != want {
			t.Errorf("cost %d becomes %d, want %d", cost, got, want)
		}
	}
}

func TestArgon2id(t *testing.T) {
	h := Hash{Algorithm: "argon2id", Argon2id: Argon2id{Time: 2, Memory: 64, Threads: 3, KeyLen: 20}}
	sum, err := h.Sum([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(sum, "$")
	if len(parts) != 6 || strings.Join(parts[:4], "$") != "$argon2id$v=19$m=64,t=2,p=3" {
		t.Fatal(sum)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) != 16 {
		t.Fatalf("salt %x %v", salt, err)
	}
	want := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("secret"), salt, 2, 64, 3, 20))
	if parts[5] != want {
		t.Errorf("%s, want %s", parts[5], want)
	}
	if again, _ := h.Sum([]byte("secret")); again == sum {
		t.Error("two hashes have one salt")
	}
}

func TestWhatCannotBeHashed(t *testing.T) {
	good := Argon2id{1, 64, 1, 32}
	change := func(f func(*Argon2id)) Hash {
		a := good
		f(&a)
		return Hash{Algorithm: "argon2id", Argon2id: a}
	}
	for want, h := range map[string]Hash{
		"unrecognized hash algorithm: md5":                  {Algorithm: "md5"},
		"--argon2id-time is 0":                              change(func(a *Argon2id) { a.Time = 0 }),
		"--argon2id-threads is 0":                           change(func(a *Argon2id) { a.Threads = 0 }),
		"it must be from 16 (8 for each thread) to 4194304": change(func(a *Argon2id) { a.Memory, a.Threads = 15, 2 }),
		"--argon2id-memory is 4294967295 KiB":               change(func(a *Argon2id) { a.Memory = 1<<32 - 1 }),
		"--argon2id-keylen is 3 bytes":                      change(func(a *Argon2id) { a.KeyLen = 3 }),
	} {
		if _, err := h.Sum([]byte("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	h := Hash{Algorithm: "bcrypt", Cost: 4}
	if _, err := h.Sum(nil); err == nil || err.Error() != "plaintext is required" {
		t.Error(err)
	}
}

func TestAsk(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"secret\n", "secret"}, {"secret\r\n", "secret"}, {"  a b \nrest\n", "  a b "}, {"\n", ""},
		{"secret", "!EOF"}, {"", "!EOF"},
		{strings.Repeat("x", maxLine-1) + "\n", strings.Repeat("x", maxLine-1)},
		{strings.Repeat("x", maxLine) + "\n", "!reading the password: the line is longer"},
	} {
		var out bytes.Buffer
		got, err := Ask(strings.NewReader(c.in), &out)
		text := string(got)
		if err != nil {
			text = "!" + err.Error()
			if len(c.in) > 0 && strings.Contains(text, c.in) {
				t.Errorf("the password is in the error: %s", text)
			}
		}
		if text != c.want && !(strings.HasPrefix(c.want, "!") && strings.HasPrefix(text, c.want)) {
			t.Errorf("%.20q: %.40q, want %.40q", c.in, text, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("nobody is there to read %q", out.String())
		}
	}
	if _, err := Ask(iotest.ErrReader(errors.New("broken")), io.Discard); err == nil || !strings.Contains(fmt.Sprint(err), "broken") {
		t.Error(err)
	}
}
