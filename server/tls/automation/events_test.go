package automation

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"
)

// recorder keeps the last data of each event, by what tells events of one name apart.
type recorder struct {
	mu   sync.Mutex
	data map[string]map[string]any
}

func record(b *bus) *recorder {
	r := &recorder{data: map[string]map[string]any{}}
	b.veto = func(name string, data map[string]any) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if renewal, _ := data["renewal"].(bool); renewal {
			name += " again"
		}
		r.data[name] = data
		return nil
	}
	return r
}

func (r *recorder) has(event string) bool { return r.get(event) != nil }

func (r *recorder) get(event string) map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.data[event]
}

// fields checks which data an event has.
func (r *recorder) fields(t *testing.T, event, want string) map[string]any {
	t.Helper()
	data := r.get(event)
	if got := strings.Join(slices.Sorted(maps.Keys(data)), " "); got != want {
		t.Errorf("event %s has the data %q, want %q", event, got, want)
	}
	return data
}

const obtainedFields = "certificate_path csr_pem identifier issuer metadata_path private_key_path renewal storage_path"

// TestEvents looks at each event of tls-pki, section 14.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemory())
		defer r.m.Close()
		rec := record(r.bus)
		cert, key := r.other.fresh("loaded.example")
		r.load(strings.TrimSuffix(loadPEM(cert, key, ""), "}") + `,"automation":{"renew_interval":"1m"}}`)
		if d := rec.fields(t, "cached_unmanaged_cert", "sans"); !slices.Equal(d["sans"].([]string), []string{"loaded.example"}) {
			t.Errorf("cached_unmanaged_cert: %v", d)
		}
		r.public.life = 24 * time.Hour
		r.m.Manage([]string{"a.example"}, nil)
		synctest.Wait()
		if d := rec.fields(t, "cert_obtaining", "identifier"); d["identifier"] != "a.example" {
			t.Errorf("cert_obtaining: %v", d)
		}
		d := rec.fields(t, "cert_obtained", obtainedFields)
		if d["certificate_path"] != "certificates/public/a.example/a.example.crt" || d["issuer"] != "public" || !strings.Contains(string(d["csr_pem"].([]byte)), "CERTIFICATE REQUEST") {
			t.Errorf("cert_obtained: %v", d)
		}
		if d := rec.fields(t, "cached_managed_cert", "sans"); !slices.Equal(d["sans"].([]string), []string{"a.example"}) {
			t.Errorf("cached_managed_cert: %v", d)
		}
		if _, err := r.hello("a.example"); err != nil {
			t.Fatal(err)
		}
		rec.fields(t, "tls_get_certificate", "client_hello")
		r.public.failing(func(string) error { return errors.New("not today") })
		r.m.Manage([]string{"b.example"}, nil)
		synctest.Wait()
		if d := rec.fields(t, "cert_failed", "error identifier issuers renewal"); d["identifier"] != "b.example" || d["error"].(error).Error() != "not today" {
			t.Errorf("cert_failed: %v", d)
		}
		time.Sleep(17 * time.Hour)
		synctest.Wait()
		d = rec.fields(t, "cert_obtaining again", "forced identifier issuer remaining renewal")
		if d["forced"] != false || d["issuer"] != "public" || d["remaining"].(time.Duration) > 8*time.Hour {
			t.Errorf("cert_obtaining: %v", d)
		}
		rec.fields(t, "cert_failed again", "error identifier issuers remaining renewal")
		r.public.failing(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		rec.fields(t, "cert_obtained again", strings.Replace(obtainedFields, "renewal", "remaining renewal", 1))
	})
}

// TestRevoked: a certificate that its authority has revoked is replaced, while it serves on.
func TestRevoked(t *testing.T) {
	r := newRig(t, newMemory())
	rec := record(r.bus)
	var status, asked atomic.Int64
	r.public.ocsp = responder(t, r.public, &status, &asked).URL
	r.load(`{"automation":{"ocsp_interval":"20ms"}}`)
	r.m.Manage([]string{"revoked.example"}, nil)
	r.served("revoked.example", "public")
	first, err := r.hello("revoked.example")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "its state has been asked for", func() bool { return asked.Load() > 1 })
	status.Store(ocsp.Revoked)
	until(t, "it is found to be revoked", func() bool { return rec.has("cert_ocsp_revoked") })
	d := rec.fields(t, "cert_ocsp_revoked", "certificate reason revoked_at subjects")
	if !slices.Equal(d["subjects"].([]string), []string{"revoked.example"}) || time.Since(d["revoked_at"].(time.Time)) > time.Hour {
		t.Errorf("cert_ocsp_revoked: %v", d)
	}
	status.Store(ocsp.Good)
	until(t, "it is replaced", func() bool {
		c, err := r.hello("revoked.example")
		if err != nil {
			t.Fatalf("not served meanwhile: %v", err)
		}
		return !c.Equal(first)
	})
	if d := rec.get("cert_obtaining again"); d["forced"] != true {
		t.Errorf("cert_obtaining: %v", d)
	}
	until(t, "nothing is wrong any more", func() bool {
		c := r.status("revoked.example")
		return len(c) == 1 && c[0].Renewal == RenewalValid && c[0].LastError == "" && c[0].Serial != first.SerialNumber.Text(16)
	})
}
