package handshake

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
)

func keySourceSpecs() []module.Spec {
	example := func(title, json string) module.Option {
		return module.Examples(module.Example{Title: title, JSON: json})
	}
	return []module.Spec{
		module.New(stekNamespace+".standard", "Makes the keys of session tickets in this process, for itself.", nil,
			func(*module.Env, *StandardConfig) (KeySource, error) { return standardKeys{}, nil },
			example("Keys of this process.", `{"provider":"standard"}`)),
		module.New(stekNamespace+".distributed", "Shares the keys of session tickets with others over a storage.", nil, compileDistributed,
			example("Keys in the storage of the document.", `{"provider":"distributed"}`)),
	}
}

// StandardConfig is the key source standard. It has no settings.
type StandardConfig struct{}

// standardKeys makes keys for this process alone.
type standardKeys struct{}

// Refresh implements KeySource.
func (standardKeys) Refresh(_ context.Context, have Ring, r Rotation) (Ring, error) {
	var err error
	if have.due(r) {
		if have, err = have.rotated(r); err != nil {
			return Ring{}, err
		}
	}
	return have.kept(r), nil
}

// Check implements KeySource.
func (standardKeys) Check(context.Context, Rotation) error { return nil }

// Where the keys are in a storage, and the lock of who changes them.
const (
	stekKey  = "stek/stek.bin"
	stekLock = "stek_check"
)

// maxStek is more than 64 keys need, in bytes.
const maxStek = 64 << 10

// distributedKeys shares keys over a storage.
type distributedKeys struct {
	storage certmagic.Storage
	named   bool // by the module, and not that of the document
}

func compileDistributed(env *module.Env, c *DistributedConfig) (KeySource, error) {
	return &distributedKeys{storage: storageOf(env, c.Storage), named: c.Storage.Set()}, nil
}

// Check implements KeySource. The storage of a document is not in use yet when it is asked, and is not looked at.
func (d *distributedKeys) Check(ctx context.Context, r Rotation) error {
	if !d.named {
		return nil
	}
	_, err := d.Refresh(ctx, Ring{}, r)
	return err
}

// Refresh implements KeySource.
func (d *distributedKeys) Refresh(ctx context.Context, have Ring, r Rotation) (Ring, error) {
	ring, err := d.load(ctx)
	if err == nil && ring.due(r) {
		ring, err = d.rotate(ctx, r)
	}
	if err != nil {
		return Ring{}, err
	}
	// Tickets that are encrypted with keys of before stay good where there is room.
	for _, key := range have.Keys {
		if len(ring.Keys) < r.Max && !slices.Contains(ring.Keys, key) {
			ring.Keys = append(slices.Clip(ring.Keys), key)
		}
	}
	return ring.kept(r), nil
}

// rotate makes a key for all, unless another process has done so.
func (d *distributedKeys) rotate(ctx context.Context, r Rotation) (ring Ring, err error) {
	if err := d.storage.Lock(ctx, stekLock); err != nil {
		return Ring{}, fmt.Errorf("locking the keys of session tickets: %w", err)
	}
	defer func() {
		if e := d.storage.Unlock(context.WithoutCancel(ctx), stekLock); e != nil && err == nil {
			err = fmt.Errorf("unlocking the keys of session tickets: %w", e)
		}
	}()
	if ring, err = d.load(ctx); err != nil || !ring.due(r) {
		return ring, err
	}
	if ring, err = ring.rotated(r); err != nil {
		return Ring{}, err
	}
	ring = ring.kept(r)
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(ring); err != nil {
		return Ring{}, fmt.Errorf("encoding the keys of session tickets: %w", err)
	}
	if err := d.storage.Store(ctx, stekKey, b.Bytes()); err != nil {
		return Ring{}, fmt.Errorf("storing the keys of session tickets: %w", err)
	}
	return ring, nil
}

// load reads the keys. Without any, or with something else in their place, the ring is empty.
func (d *distributedKeys) load(ctx context.Context) (Ring, error) {
	data, err := d.storage.Load(ctx, stekKey)
	if errors.Is(err, fs.ErrNotExist) {
		return Ring{}, nil
	}
	if err != nil {
		return Ring{}, fmt.Errorf("loading the keys of session tickets: %w", err)
	}
	var ring Ring
	if len(data) > maxStek || gob.NewDecoder(bytes.NewReader(data)).Decode(&ring) != nil {
		return Ring{}, nil
	}
	return ring, nil
}
