package certstore

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// TestLayout: keys of section 13 of the reference, made by the library, are the
// same files for the library's storage and for this one, both ways.
func TestLayout(t *testing.T) {
	const acme = "acme-v02.api.letsencrypt.org-directory"
	keys := certmagic.StorageKeys
	files := map[string]string{
		keys.SiteCert(acme, "*.Example.com"):                                         "certificates/" + acme + "/wildcard_.example.com/wildcard_.example.com.crt",
		keys.SitePrivateKey(acme, "*.Example.com"):                                   "certificates/" + acme + "/wildcard_.example.com/wildcard_.example.com.key",
		keys.SiteMeta(acme, "*.Example.com"):                                         "certificates/" + acme + "/wildcard_.example.com/wildcard_.example.com.json",
		keys.SiteCert("local", "2001:DB8::1"):                                        "certificates/local/2001-db8--1/2001-db8--1.crt",
		keys.SiteCert("local", "a..b +c/ü"):                                          "certificates/local/ab__plus_c/ab__plus_c.crt",
		keys.SiteCert("local", long253):                                              "certificates/local/" + long253 + "/" + long253 + ".crt",
		"acme/" + acme + "/users/me@example.com/" + keys.Safe("me") + ".json":        "acme/" + acme + "/users/me@example.com/me.json",
		"acme/" + acme + "/challenge_tokens/" + keys.Safe("x.example") + ".json":     "acme/" + acme + "/challenge_tokens/x.example.json",
		keys.OCSPStaple(&certmagic.Certificate{Names: []string{"x"}}, []byte("pem")): "",
		"pki/authorities/local/root.key":                                             "pki/authorities/local/root.key",
		"stek/stek.bin":                                                              "stek/stek.bin",
		"ech/configs/7/key.bin":                                                      "ech/configs/7/key.bin",
		"instance.uuid":                                                              "instance.uuid",
		"last_clean.json":                                                            "last_clean.json",
	}
	defer syscall.Umask(syscall.Umask(0)) // the modes must not depend on it
	s := newFileSystem(t)
	library := &certmagic.FileStorage{Path: s.Root()}
	bolt := newBolt(t, filepath.Join(t.TempDir(), "s.db"))
	for key, file := range files {
		if file == "" {
			file = key
		}
		if len(filepath.Base(file)) > MaxKeySegment {
			if s.Store(bg, key, nil) == nil || library.Store(bg, key, nil) == nil {
				t.Errorf("%s fits a file system", key)
			}
			continue
		}
		store(t, s, key)
		store(t, bolt, key)
		if text, err := os.ReadFile(filepath.Join(s.Root(), file)); string(text) != "value of "+key {
			t.Errorf("%s is not in %s: %v", key, file, err)
		}
		if v, err := library.Load(bg, key); string(v) != "value of "+key {
			t.Errorf("the library does not find %s: %v", key, err)
		}
		must(t, library.Store(bg, key, []byte("library")))
		if v, err := s.Load(bg, key); string(v) != "library" {
			t.Errorf("what the library stored as %s: %q, %v", key, v, err)
		}
		store(t, s, key)
	}
	err := filepath.WalkDir(s.Root(), func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	must(t, err)
}

var long253 = strings.Repeat(strings.Repeat("a", 62)+".", 4)[:251]

// TestLibraryUses: what certmagic itself does with a storage works with each: it
// stores and finds a certificate, keeps its account's key, and cleans up.
func TestLibraryUses(t *testing.T) {
	storages(t, true, func(t *testing.T, s lockingStorage) {
		cache := certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			return nil, errors.New("no renewal")
		}})
		defer cache.Stop()
		issuer := &selfIssuer{t: t}
		cfg := certmagic.New(cache, certmagic.Config{Storage: s, Issuers: []certmagic.Issuer{issuer}})
		issuer.cfg = cfg
		must(t, cfg.ObtainCertSync(bg, "www.example.com"))
		must(t, cfg.ObtainCertSync(bg, "www.example.com")) // there already
		if issuer.issued != 1 {
			t.Errorf("%d certificates were issued, want 1", issuer.issued)
		}
		wantList(t, s, "certificates", true, "certificates/self", "certificates/self/www.example.com",
			"certificates/self/www.example.com/www.example.com.crt", "certificates/self/www.example.com/www.example.com.json", "certificates/self/www.example.com/www.example.com.key")
		cert, err := cfg.CacheManagedCertificate(bg, "www.example.com")
		if err != nil || cert.Names[0] != "www.example.com" {
			t.Errorf("%v, %v", cert.Names, err)
		}
		store(t, s, "ocsp/broken-1")
		issuer.expired = true
		must(t, cfg.ObtainCertSync(bg, "old.example.com"))
		must(t, certmagic.CleanStorage(bg, s, certmagic.CleanStorageOptions{OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: 14 * 24 * time.Hour}))
		if s.Exists(bg, "certificates/self/old.example.com") || s.Exists(bg, "ocsp/broken-1") || !s.Exists(bg, "certificates/self/www.example.com") {
			t.Error("the storage is not cleaned as the library means it")
		}
		if _, err := x509.ParseCertificate(cert.Certificate.Certificate[0]); err != nil {
			t.Error(err)
		}
	})
}

// TestLinks: a root, a folder and a value may be behind links.
func TestLinks(t *testing.T) {
	s, elsewhere := newFileSystem(t), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(elsewhere, "certificates/x"), 0o700))
	must(t, os.WriteFile(filepath.Join(elsewhere, "certificates/x/k"), []byte("1"), 0o600))
	store(t, s, "own")
	must(t, os.Symlink(filepath.Join(elsewhere, "certificates"), filepath.Join(s.Root(), "certificates")))
	linked := filepath.Join(t.TempDir(), "root")
	must(t, os.Symlink(s.Root(), linked))
	s = NewFileSystem(linked)
	wantList(t, s, "", true, "certificates", "own")
	wantList(t, s, "certificates", true, "certificates/x", "certificates/x/k")
	if v, err := s.Load(bg, "certificates/x/k"); string(v) != "1" {
		t.Errorf("%q, %v", v, err)
	}
	must(t, syscall.Mkfifo(filepath.Join(s.Root(), "pipe"), 0o600))
	if _, err := s.Load(bg, "pipe"); err == nil {
		t.Error("a pipe was loaded")
	}
	if err := os.Symlink("loop", filepath.Join(s.Root(), "loop")); err != nil || s.Exists(bg, "loop") {
		t.Errorf("a link to itself: %v", err)
	}
}

// TestUnfinishedFiles: what a process left that died while writing is no key, and
// is removed when it is old.
func TestUnfinishedFiles(t *testing.T) {
	s := newFileSystem(t)
	store(t, s, "a/k")
	young, old := filepath.Join(s.Root(), "a", tempPrefix+"1"), filepath.Join(s.Root(), "a", tempPrefix+"2")
	for _, f := range []string{young, old} {
		must(t, os.WriteFile(f, nil, 0o600))
	}
	yesterday := time.Now().Add(-tempAge - time.Minute)
	must(t, os.Chtimes(old, yesterday, yesterday))
	wantList(t, s, "", true, "a", "a/k")
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a file that may be being written was removed: %v", err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("an unfinished file is kept for ever")
	}
}

// TestUnwritable: a root that cannot be made or written is an error, and what is
// there can still be read.
func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	s := NewFileSystem(filepath.Join(file, "below"))
	if err := s.Store(bg, "k", []byte("SECRET")); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("Store below a file: %v", err)
	}
	if _, err := s.TryLock(bg, "l"); err == nil {
		t.Error("a lock below a file")
	}
	for _, path := range []string{filepath.Join(file, "s.db"), t.TempDir()} {
		if err := NewBolt(NewStores(""), path).Open(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("opening %s: %v", path, err)
		}
	}
}
