package ech

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

func TestRotate(t *testing.T) {
	s := &certmagic.FileStorage{Path: t.TempDir()}
	ctx := context.Background()
	now := time.Now()
	rotate := func(after time.Duration, names ...string) []*Config {
		t.Helper()
		list, err := Rotate(ctx, s, names, now.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	const day = 24 * time.Hour
	first := rotate(0, "a.example", "b.example")
	if len(first) != 2 {
		t.Fatalf("%d configs", len(first))
	}
	if again := rotate(30*day, "a.example", "b.example"); len(again) != 2 {
		t.Errorf("after 30 days there are %d", len(again))
	}
	second := rotate(31*day, "a.example")
	if len(second) != 2 || second[0].Created.Sub(first[0].Created) < 30*day || second[0].PublicName != "a.example" {
		t.Errorf("after 31 days: %+v", second)
	}
	keys := Keys(second)
	if !keys[0].SendAsRetry || keys[1].SendAsRetry {
		t.Error("clients are not told of the newest alone")
	}
	if third := rotate(91*day, "a.example"); len(third) != 2 || slices.ContainsFunc(third, func(c *Config) bool { return c.Created.Equal(first[0].Created) }) {
		t.Errorf("after 91 days: %+v", third)
	}
	all, err := Load(ctx, s)
	if err != nil || len(all) != 2 { // b.example's is gone as well
		t.Errorf("%d configs in the storage, %v", len(all), err)
	}
	if none := rotate(91 * day); len(none) != 0 {
		t.Errorf("configs of no name: %v", none)
	}
}

func TestSpoiledConfigs(t *testing.T) {
	s := &certmagic.FileStorage{Path: t.TempDir()}
	ctx := context.Background()
	list, err := Rotate(ctx, s, []string{"a.example", "b.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(s.Path, "ech", "configs", strconv.Itoa(int(list[0].ID)))
	if info, err := os.Stat(filepath.Join(folder, "key.bin")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key.bin: %v, %v", info, err)
	}
	for file, text := range map[string]string{"key.bin": strings.Repeat("x", 32), "config.bin": "short", "meta.json": "{"} {
		good, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(ctx, s)
		if err == nil || len(got) != 1 || got[0].ID != list[1].ID {
			t.Errorf("with a spoiled %s: %d configs, %v", file, len(got), err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(ctx, s)
	if err != nil || len(got) != 2 {
		t.Errorf("%d configs, %v", len(got), err)
	}
}

func TestFormat(t *testing.T) {
	c, err := New(7, "outer.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, name, err := unmarshal(c.Raw)
	if err != nil || id != 7 || name != "outer.example" {
		t.Errorf("%d %s %v", id, name, err)
	}
	for n := range len(c.Raw) {
		if _, _, err := unmarshal(c.Raw[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken for a config", n, len(c.Raw))
		}
	}
	other := bytes.Clone(c.Raw)
	other[1] = 1
	if _, _, err := unmarshal(other); err == nil {
		t.Error("another version is taken for ours")
	}
	if _, err := New(1, "", time.Now()); err == nil {
		t.Error("no name is a name")
	}
}

func TestPublications(t *testing.T) {
	s := &certmagic.FileStorage{Path: t.TempDir()}
	ctx := context.Background()
	list, err := Rotate(ctx, s, []string{"a.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := list[0]
	err = Publishing(ctx, s, func() error {
		if p, err := Published(ctx, s, c); err != nil || p.Has("dns", "x.example") {
			t.Errorf("of a new one: %v, %v", p, err)
		}
		for _, domains := range [][]string{{"x.example"}, {"y.example", "z.example"}} {
			if err := NotePublished(ctx, s, c, "dns", domains, time.Now()); err != nil {
				return err
			}
		}
		return NotePublished(ctx, s, c, "other", []string{"x.example"}, time.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Published(ctx, s, c)
	if err != nil || !p.Has("dns", "x.example") || !p.Has("dns", "z.example") || !p.Has("other", "x.example") || p.Has("other", "y.example") {
		t.Errorf("%v, %v", p, err)
	}
	again, err := Rotate(ctx, s, []string{"a.example"}, time.Now().Add(time.Minute))
	if err != nil || len(again) != 1 || !again[0].Created.Equal(c.Created) || again[0].ID != c.ID {
		t.Errorf("the config has changed: %+v, %v", again, err)
	}
	busy := make(chan error)
	err = Publishing(ctx, s, func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		go func() { busy <- Publishing(ctx, s, func() error { return nil }) }()
		return <-busy
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two publish at once: %v", err)
	}
	if err := s.Delete(ctx, c.folder()); err != nil {
		t.Fatal(err)
	}
	if _, err := Published(ctx, s, c); err == nil || !strings.Contains(err.Error(), "no longer in the storage") {
		t.Errorf("of one that is gone: %v", err)
	}
}
