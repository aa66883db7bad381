package main

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestHashPassword(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cheap := []string{"hash-password", "--bcrypt-cost", "4"}
	for _, c := range []struct {
		stdin string
		args  []string
		want  string // the password, or "!" and an error
	}{
		{"secret\n", nil, "secret"},
		{"secret\r\n", nil, "secret"},
		{"", []string{"--plaintext", "secret"}, "secret"},
		{"not read\n", []string{"-p", "secret"}, "secret"},
		{"secret", nil, `!"msg":"EOF`},
		{"\n", nil, `!"msg":"plaintext is required"`},
		{strings.Repeat("secret", 13) + "\n", nil, "!at most 72 bytes"},
		{"secret\n", []string{"--algorithm", "md5"}, "!unrecognized hash algorithm: md5"},
	} {
		r := b.runWith(c.stdin, append(cheap, c.args...)...)
		if text, fails := strings.CutPrefix(c.want, "!"); fails {
			if r.code != 1 || !strings.Contains(r.stderr, text) || strings.Contains(r.stderr, "secret") || r.stdout != "" {
				t.Errorf("%+v: %+v", c, r)
			}
			continue
		}
		if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "$2a$04$") || bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(r.stdout)), []byte(c.want)) != nil {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	if r := b.runWith("secret\n", "hash-password", "-a", "argon2id"); !strings.HasPrefix(r.stdout, "$argon2id$v=19$m=47104,t=1,p=1$") {
		t.Errorf("argon2id: %+v", r)
	}
}
