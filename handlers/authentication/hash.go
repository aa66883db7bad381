package authentication

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/sluiceproxy/sluice/config/module"
)

// Hash is a way to tell a password from its hash. Its modules are
// http.authentication.hashes.*; it must be safe for concurrent use.
type Hash interface {
	// Compare reports whether password is what hash was made of. An error says
	// that hash is not one of this algorithm; it shows nothing of either.
	Compare(hash, password []byte) (bool, error)
	// Check is the error that Compare would return for any password.
	Check(hash []byte) error
	// Dummy makes a hash that costs as much to compare as like, or as much as new
	// ones should if like is nil. No password is known that fits.
	Dummy(like []byte) []byte
}

// HashConfig is a hash algorithm. It has no fields.
type HashConfig struct{}

func bcryptSpec() module.Spec {
	return module.New("http.authentication.hashes.bcrypt", "Passwords hashed with bcrypt.", nil,
		func(*module.Env, *HashConfig) (Hash, error) { return bcryptHash{}, nil }, module.Examples(
			module.Example{Title: "The default", JSON: `{"algorithm": "bcrypt"}`}))
}

func argon2Spec() module.Spec {
	return module.New("http.authentication.hashes.argon2id", "Passwords hashed with Argon2id, as $argon2id$v=19$m=KiB,t=N,p=N$SALT$KEY.", nil,
		func(*module.Env, *HashConfig) (Hash, error) { return argon2Hash{}, nil }, module.Examples(
			module.Example{Title: "Hashes that are costly in memory", JSON: `{"algorithm": "argon2id"}`}))
}

type bcryptHash struct{}

// bcryptCost is the cost of new hashes: about a second.
const bcryptCost = 14

// Compare implements Hash.
func (bcryptHash) Compare(hash, password []byte) (bool, error) {
	err := bcrypt.CompareHashAndPassword(hash, password)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	}
	return false, fmt.Errorf("comparing a password with its bcrypt hash: %w", discreet(err))
}

// discreet replaces an error that shows how the hash begins: it may be no hash
// but the password itself.
func discreet(err error) error {
	var prefix bcrypt.InvalidHashPrefixError
	var version bcrypt.HashVersionTooNewError
	if errors.As(err, &prefix) || errors.As(err, &version) {
		return errors.New("it does not begin with $2 and a version that is known")
	}
	return err
}

// Check implements Hash.
func (bcryptHash) Check(hash []byte) error {
	if _, err := bcrypt.Cost(hash); err != nil {
		return fmt.Errorf("reading a bcrypt hash: %w", discreet(err))
	}
	return nil
}

// Dummy implements Hash. The salt and the digest are made up, so that it costs
// nothing to make.
func (bcryptHash) Dummy(like []byte) []byte {
	cost, err := bcrypt.Cost(like)
	if err != nil {
		cost = bcryptCost
	}
	return fmt.Appendf(nil, "$2a$%02d$%s%s", cost, "slVjvLOCbfVbmIhDgWSlIu", "sAceO2/hXtfNYCWSbCnvmKSC7UNeFxy")
}

type argon2Hash struct{}

// argon2Params is the parameters of new hashes.
var argon2Params = params{memory: 47104, time: 1, threads: 1, salt: make([]byte, 16), key: make([]byte, 32)}

// params is a hash in its parts. Memory is in KiB.
type params struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// Limits of what a hash may ask for. Memory is in KiB: 2 GiB.
const (
	maxMemory = 2 << 20
	maxTime   = 1 << 16
	maxBytes  = 1024
)

// Compare implements Hash.
func (argon2Hash) Compare(hash, password []byte) (bool, error) {
	p, err := parseArgon2(string(hash))
	if err != nil {
		return false, err
	}
	key := argon2.IDKey(password, p.salt, p.time, p.memory, p.threads, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

// Check implements Hash.
func (argon2Hash) Check(hash []byte) error {
	_, err := parseArgon2(string(hash))
	return err
}

// Dummy implements Hash.
func (argon2Hash) Dummy(like []byte) []byte {
	p, err := parseArgon2(string(like))
	if err != nil {
		p = argon2Params
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Appendf(nil, "$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		b64(make([]byte, len(p.salt))), b64(make([]byte, len(p.key))))
}

var errArgon2 = errors.New("it must be $argon2id$v=19$m=KiB,t=N,p=N$SALT$KEY with salt and key in unpadded base64")

// parseArgon2 reads a hash in PHC form. Its errors do not show the hash.
func parseArgon2(text string) (params, error) {
	fail := func(why error) (params, error) { return params{}, fmt.Errorf("reading an argon2id hash: %w", why) }
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" {
		return fail(errArgon2)
	}
	if parts[1] != "argon2id" {
		return fail(errors.New("its variant is not argon2id"))
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return fail(fmt.Errorf("its version is not %d", argon2.Version))
	}
	var p params
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return fail(errArgon2)
	}
	var threads uint32
	for i, c := range []struct {
		name string
		to   *uint32
		max  uint64
	}{{"m=", &p.memory, maxMemory}, {"t=", &p.time, maxTime}, {"p=", &threads, 255}} {
		digits, ok := strings.CutPrefix(costs[i], c.name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil {
			return fail(errArgon2)
		}
		if n == 0 || n > c.max {
			return fail(fmt.Errorf("its parameter %s must be from 1 to %d", c.name[:1], c.max))
		}
		*c.to = uint32(n)
	}
	p.threads = uint8(threads)
	strict := base64.RawStdEncoding.Strict()
	var err1, err2 error
	p.salt, err1 = strict.DecodeString(parts[4])
	p.key, err2 = strict.DecodeString(parts[5])
	if err1 != nil || err2 != nil {
		return fail(errArgon2)
	}
	if len(p.salt) > maxBytes || len(p.key) > maxBytes || len(p.key) == 0 {
		return fail(fmt.Errorf("its salt and key must have up to %d bytes", maxBytes))
	}
	return p, nil
}
