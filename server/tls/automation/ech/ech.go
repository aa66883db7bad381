// Package ech makes and keeps the keys of Encrypted ClientHello, which hides in handshakes the name that a client wants.
package ech

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/certmagic"
)

// How long a key is the newest of its name, and how long it is kept.
const (
	Fresh = 30 * 24 * time.Hour
	Kept  = 90 * 24 * time.Hour
)

// skew is how far the clocks of processes may be apart.
const skew = time.Hour

// prefix is where configs are in a storage, and lockName what guards them.
const (
	prefix   = "ech/configs"
	lockName = "ech_rotation"
)

// Config is one configuration with its key. Immutable.
type Config struct {
	// ID is how clients name it.
	ID uint8
	// PublicName is the outer name.
	PublicName string
	// Raw is what clients get.
	Raw []byte
	// Created is when it was made.
	Created time.Time

	private []byte
}

// meta is what is stored beside key and config.
type meta struct {
	Created      time.Time    `json:"created"`
	Publications Publications `json:"publications,omitempty"`
}

// Parts of a config (RFC 9849 section 4).
const (
	version       = 0xfe0d
	kemX25519     = 0x0020
	kdfSHA256     = 0x0001
	maxNameLength = 0 // clients pad as they think fit
)

// aeads is the ciphers that clients may use.
var aeads = [...]uint16{0x0001, 0x0002, 0x0003}

// New makes a config.
func New(id uint8, publicName string, now time.Time) (*Config, error) {
	if n := len(publicName); n < 1 || n > 255 {
		return nil, fmt.Errorf("public name length (%d) must be in the range 1-255", n)
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", publicName, err)
	}
	c := &Config{ID: id, PublicName: publicName, Created: now.UTC(), private: key.Bytes()}
	c.Raw = marshal(id, key.PublicKey().Bytes(), publicName)
	return c, nil
}

func marshal(id uint8, public []byte, name string) []byte {
	b := []byte{id}
	b = binary.BigEndian.AppendUint16(b, kemX25519)
	b = binary.BigEndian.AppendUint16(b, uint16(len(public)))
	b = append(b, public...)
	b = binary.BigEndian.AppendUint16(b, 4*uint16(len(aeads)))
	for _, a := range aeads {
		b = binary.BigEndian.AppendUint16(b, kdfSHA256)
		b = binary.BigEndian.AppendUint16(b, a)
	}
	b = append(b, maxNameLength, byte(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, 0) // no extensions
	out := binary.BigEndian.AppendUint16(nil, version)
	out = binary.BigEndian.AppendUint16(out, uint16(len(b)))
	return append(out, b...)
}

// unmarshal reads the id and the public name of a config.
func unmarshal(raw []byte) (id uint8, name string, err error) {
	short := errors.New("the config is cut off")
	if len(raw) < 9 {
		return 0, "", short
	}
	if v := binary.BigEndian.Uint16(raw); v != version {
		return 0, "", fmt.Errorf("the config has version %#x; only %#x is known", v, version)
	}
	if int(binary.BigEndian.Uint16(raw[2:])) != len(raw)-4 {
		return 0, "", short
	}
	id, rest := raw[4], raw[7:]
	for range 2 { // public key, cipher suites
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return 0, "", short
		}
		rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
	}
	if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
		return 0, "", short
	}
	return id, string(rest[2 : 2+int(rest[1])]), nil
}

// List is the ECHConfigList of configs, as it is published.
func List(configs []*Config) []byte {
	var all []byte
	for _, c := range configs {
		all = append(all, c.Raw...)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(all))), all...)
}

// Keys is the configs as a server takes them. The newest of each name is what clients with an older one are told.
func Keys(configs []*Config) []tls.EncryptedClientHelloKey {
	told := map[string]bool{}
	var out []tls.EncryptedClientHelloKey
	for _, c := range configs {
		out = append(out, tls.EncryptedClientHelloKey{Config: c.Raw, PrivateKey: c.private, SendAsRetry: !told[c.PublicName]})
		told[c.PublicName] = true
	}
	return out
}

func (c *Config) folder() string { return path.Join(prefix, strconv.Itoa(int(c.ID))) }

// Load reads all configs of a storage, the newest first. A config that cannot be read is left out, and named in the error
// beside those that can.
func Load(ctx context.Context, s certmagic.Storage) ([]*Config, error) {
	folders, err := list(ctx, s)
	if err != nil {
		return nil, err
	}
	return readAll(ctx, s, folders)
}

func list(ctx context.Context, s certmagic.Storage) ([]string, error) {
	folders, err := s.List(ctx, prefix, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the configs of Encrypted ClientHello: %w", err)
	}
	return folders, nil
}

func readAll(ctx context.Context, s certmagic.Storage, folders []string) ([]*Config, error) {
	var out []*Config
	var errs []error
	for _, f := range folders {
		c, err := read(ctx, s, f)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the config of Encrypted ClientHello %s: %w", path.Base(f), err))
			continue
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Config) int { return b.Created.Compare(a.Created) })
	return out, errors.Join(errs...)
}

func read(ctx context.Context, s certmagic.Storage, folder string) (*Config, error) {
	c := &Config{}
	var err error
	if c.Raw, err = s.Load(ctx, path.Join(folder, "config.bin")); err != nil {
		return nil, err
	}
	if c.private, err = s.Load(ctx, path.Join(folder, "key.bin")); err != nil {
		return nil, err
	}
	text, err := s.Load(ctx, path.Join(folder, "meta.json"))
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("meta.json: %w", err)
	}
	c.Created = m.Created
	if c.ID, c.PublicName, err = unmarshal(c.Raw); err != nil {
		return nil, err
	}
	key, err := ecdh.X25519().NewPrivateKey(c.private)
	if err != nil {
		return nil, errors.New("key.bin is no X25519 key of 32 bytes")
	}
	if !bytes.Contains(c.Raw, key.PublicKey().Bytes()) {
		return nil, errors.New("key.bin is not the key of config.bin")
	}
	return c, nil
}

func (c *Config) store(ctx context.Context, s certmagic.Storage) error {
	text, err := json.Marshal(meta{Created: c.Created})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"key.bin", c.private}, {"config.bin", c.Raw}, {"meta.json", text}} {
		if err := s.Store(ctx, path.Join(c.folder(), f.name), f.data); err != nil {
			return fmt.Errorf("storing the config of Encrypted ClientHello for %s: %w", c.PublicName, err)
		}
	}
	return nil
}

// redate gives a config that seems to come from the future the age of now, so that it is renewed like others.
func (c *Config) redate(ctx context.Context, s certmagic.Storage, now time.Time) error {
	m, err := c.meta(ctx, s)
	if err != nil {
		return err
	}
	c.Created, m.Created = now.UTC(), now.UTC()
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.Store(ctx, c.metaKey(), text)
}

// Rotate makes new configs for the names that have none or only old ones, removes those that are past their time, and
// returns the configs of the names, the newest first. What can be served is returned beside an error.
func Rotate(ctx context.Context, s certmagic.Storage, names []string, now time.Time) ([]*Config, error) {
	if err := s.Lock(ctx, lockName); err != nil {
		return nil, fmt.Errorf("locking the configs of Encrypted ClientHello: %w", err)
	}
	defer func() { _ = s.Unlock(context.WithoutCancel(ctx), lockName) }()
	folders, err := list(ctx, s)
	if err != nil {
		return nil, err
	}
	all, err := readAll(ctx, s, folders)
	errs := []error{err}
	newest := map[string]time.Time{}
	taken := map[uint8]bool{}
	var kept []*Config
	for _, c := range all {
		if now.Sub(c.Created) > Kept {
			errs = append(errs, s.Delete(ctx, c.folder()))
			continue
		}
		if c.Created.After(now.Add(skew)) { // the clock was wrong then
			errs = append(errs, c.redate(ctx, s, now))
		}
		taken[c.ID] = true
		if c.Created.After(newest[c.PublicName]) {
			newest[c.PublicName] = c.Created
		}
		kept = append(kept, c)
	}
	for _, name := range names {
		if created, ok := newest[name]; ok && now.Sub(created) <= Fresh {
			continue
		}
		c, err := add(ctx, s, name, taken, now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		taken[c.ID] = true
		kept = slices.Insert(kept, 0, c)
	}
	slices.SortStableFunc(kept, func(a, b *Config) int { return b.Created.Compare(a.Created) })
	kept = slices.DeleteFunc(kept, func(c *Config) bool { return !slices.Contains(names, c.PublicName) })
	return kept, errors.Join(errs...)
}

// add makes a config under an id that is free.
func add(ctx context.Context, s certmagic.Storage, name string, taken map[uint8]bool, now time.Time) (*Config, error) {
	var first [1]byte
	_, _ = rand.Read(first[:])
	for i := range 256 {
		id := first[0] + uint8(i)
		if taken[id] || s.Exists(ctx, path.Join(prefix, strconv.Itoa(int(id)))) {
			continue
		}
		c, err := New(id, name, now)
		if err != nil {
			return nil, err
		}
		return c, c.store(ctx, s)
	}
	return nil, fmt.Errorf("there is no room for a config of Encrypted ClientHello for %s; the storage can have 256", name)
}
