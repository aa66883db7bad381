package authentication

import (
	"encoding/base64"
	"errors"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"golang.org/x/crypto/bcrypt"
)

func newRequest(name, password string) (*http.Request, *httptest.ResponseRecorder) {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(name, password)
	return r, httptest.NewRecorder()
}

func TestExamples(t *testing.T) {
	for _, s := range Specs() {
		if s.Summary == "" || len(s.Examples) == 0 {
			t.Errorf("%s lacks a summary or an example", s.ID)
		}
		for _, e := range s.Examples {
			text := strings.Replace(strings.Replace(e.JSON, `"handler": "authentication", `, "", 1), `"handler": "authentication"`, "", 1)
			if strings.HasPrefix(s.ID, "http.authentication.hashes.") {
				text = "{}"
			}
			if res := build(t, NewGate(1), s.ID, text); len(res.Problems)+len(res.Warnings) > 0 {
				t.Errorf("%s: %v %v", s.ID, res.Problems, res.Warnings)
			}
		}
	}
}

func TestHandler(t *testing.T) {
	yes := providerSpec("yes", func(w http.ResponseWriter, _ *http.Request) (User, bool, error) {
		w.Header().Set("X-Yes", "1")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("not for anyone"))
		return User{ID: "u", Metadata: map[string]string{"mail": "u@x"}}, true, nil
	})
	no := providerSpec("no", func(w http.ResponseWriter, _ *http.Request) (User, bool, error) {
		w.Header().Set("X-No", "1")
		w.Header().Set("Content-Length", "4")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("body"))
		return User{}, false, nil
	})
	known := providerSpec("known", func(w http.ResponseWriter, _ *http.Request) (User, bool, error) {
		return User{ID: "c", Metadata: map[string]string{"mail": "c@x"}}, false, nil
	})
	redirect := providerSpec("redirect", func(w http.ResponseWriter, _ *http.Request) (User, bool, error) {
		w.Header().Set("Location", "/login")
		w.WriteHeader(http.StatusFound)
		_, _ = w.Write([]byte("go there"))
		return User{}, false, nil
	})
	broken := providerSpec("http_basic2", func(http.ResponseWriter, *http.Request) (User, bool, error) {
		return User{ID: "ignored"}, true, errors.New("no idea")
	})
	quiet := providerSpec("quiet", func(http.ResponseWriter, *http.Request) (User, bool, error) { return User{}, false, nil })
	for _, c := range []struct {
		name, providers string
		status          int
		body, header    string
	}{
		{"no providers", ``, 401, "not authenticated user= mail= candidate= mail= error=", ""},
		{"one of two accepts", `"no": {}, "yes": {}`, 200, "user=u mail=u@x candidate= mail= error=", "X-Yes"},
		{"all refuse", `"no": {}, "quiet": {}`, 401, "not authenticated user= mail= candidate= mail= error=", "X-No"},
		{"all refuse, one redirects", `"no": {}, "redirect": {}`, 302, "go there", "Location"},
		{"a candidate", `"known": {}`, 401, "not authenticated user= mail= candidate=c mail=c@x error=", ""},
		{"an error is no acceptance", `"http_basic2": {}, "quiet": {}`, 401, "not authenticated user= mail= candidate= mail= error=", ""},
		{"an error does not keep others from accepting", `"http_basic2": {}, "yes": {}`, 200, "user=u mail=u@x candidate= mail= error=", "X-Yes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := site(t, NewGate(1), `{"providers": {`+c.providers+`}}`, yes, no, known, redirect, broken, quiet)
			rec := s.Get("/")
			if rec.Code != c.status || strings.TrimSpace(rec.Body.String()) != c.body {
				t.Errorf("%d %q, want %d %q", rec.Code, rec.Body, c.status, c.body)
			}
			for _, name := range []string{"X-Yes", "X-No", "Location"} {
				if got := rec.Header().Get(name) != ""; got != (name == c.header) {
					t.Errorf("header %s: %v, want %v", name, got, name == c.header)
				}
			}
			if rec.Header().Get("Content-Length") != "" {
				t.Error("the length of a body that is not sent is announced")
			}
		})
	}
	t.Run("one provider writes to the response itself", func(t *testing.T) {
		rec := site(t, NewGate(1), `{"providers": {"redirect": {}}}`, redirect).Get("/")
		if rec.Code != 302 || rec.Header().Get("Location") != "/login" {
			t.Errorf("%d %v", rec.Code, rec.Header())
		}
	})
}

func TestReplyIsBounded(t *testing.T) {
	p := &reply{header: http.Header{}}
	for range 3 {
		if n, err := p.Write(make([]byte, maxReply)); n != maxReply || err != nil {
			t.Fatal(n, err)
		}
	}
	p.WriteHeader(302)
	if len(p.body) != maxReply || p.status != 200 {
		t.Errorf("%d bytes are kept, status %d", len(p.body), p.status)
	}
}

func TestBasic(t *testing.T) {
	decoded := base64.StdEncoding.EncodeToString([]byte(cheapBcrypt))
	for _, c := range []struct {
		name, hash, password string
		more                 string
	}{
		{"bcrypt is the default", "", cheapBcrypt, ""},
		{"bcrypt", "bcrypt", cheapBcrypt, ""},
		{"a hash in base64", "bcrypt", decoded, ""},
		{"argon2id", "argon2id", cheapArgon2, ""},
		{"with a cache", "bcrypt", cheapBcrypt, `, "hash_cache": {}`},
		{"argon2id with a cache", "argon2id", cheapArgon2, `, "hash_cache": {}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := site(t, NewGate(1), basicConfig(c.hash, account("ann", c.password)+","+account("bob", c.password), c.more))
			for range 2 {
				if status, h, body := ask(s, "ann", "hunter2"); status != 200 || !strings.HasPrefix(body, "user=ann ") || h.Get("Www-Authenticate") != "" {
					t.Errorf("the right password: %d %q %v", status, body, h)
				}
				for _, bad := range [][2]string{{"ann", "hunter3"}, {"ann", ""}, {"", "hunter2"}, {"eve", "hunter2"}, {"ANN", "hunter2"}, {"ann", "hunter2\x00"}} {
					status, h, body := ask(s, bad[0], bad[1])
					if status != 401 || h.Get("Www-Authenticate") != `Basic realm="restricted"` || body != "not authenticated user= mail= candidate= mail= error=" {
						t.Errorf("%q: %d %q %v", bad, status, body, h)
					}
				}
			}
		})
	}
}

func TestBasicFixture(t *testing.T) {
	s := site(t, NewGate(1), `{"providers": {"http_basic": {
		"hash": {"algorithm": "argon2id"}, "realm": "staff", "hash_cache": {},
		"accounts": [{"username": "ann", "password": "$argon2id$v=19$m=47104,t=1,p=1$zRqE4rz2RtFULHQxc1jsFA$0+AWf1a13xJV/32S6T60YeFfCNPSaR22qN78N7jDhYc"}]}}}`)
	if rec := s.Get("/private/x"); rec.Code != 401 || rec.Header().Get("Www-Authenticate") != `Basic realm="staff"` {
		t.Errorf("without credentials: %d %v", rec.Code, rec.Header())
	}
	if status, _, body := ask(s, "ann", "hunter2"); status != 200 || !strings.HasPrefix(body, "user=ann ") {
		t.Errorf("with the password: %d %q", status, body)
	}
}

func TestCredentialsThatAreNone(t *testing.T) {
	s := site(t, NewGate(1), basicConfig("", account("ann", cheapBcrypt), ""))
	right := base64.StdEncoding.EncodeToString([]byte("ann:hunter2"))
	for _, c := range []struct {
		header string
		status int
	}{
		{"", 401}, {"Basic", 401}, {"Basic ", 401}, {"Basic !!", 401}, {"Bearer " + right, 401},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("ann")), 401}, {"Basic " + right, 200}, {"bAsIc " + right, 200},
	} {
		rec := s.Get("/", "Authorization: "+c.header)
		if rec.Code != c.status || (c.status == 401) != (rec.Header().Get("Www-Authenticate") != "") {
			t.Errorf("%q: %d %v, want %d", c.header, rec.Code, rec.Header(), c.status)
		}
	}
}

func TestBasicPlaceholders(t *testing.T) {
	s := site(t, NewGate(1), basicConfig("", account("{env.NAME}", "{env.HASH}"), `, "realm": "{env.NAME}"`))
	if status, _, _ := ask(s, "ann", "hunter2"); status != 200 {
		t.Errorf("placeholders of an account: %d", status)
	}
	if _, h, _ := ask(s, "ann", "x"); h.Get("Www-Authenticate") != `Basic realm="{env.NAME}"` {
		t.Errorf("a realm is not expanded: %v", h)
	}
}

func TestBasicProblems(t *testing.T) {
	for _, c := range []struct{ name, cfg, at string }{
		{"a user twice", `{"accounts": [` + account("a", cheapBcrypt) + `,` + account("a", cheapBcrypt) + `]}`, "/accounts/1/username"},
		{"a user and one of that name after expansion", `{"accounts": [` + account("{env.NAME}", cheapBcrypt) + `,` + account("ann", cheapBcrypt) + `]}`, "/accounts/1/username"},
		{"no user", `{"accounts": [` + account("", cheapBcrypt) + `]}`, "/accounts/0"},
		{"no user after expansion", `{"accounts": [` + account("{env.NONE}", cheapBcrypt) + `]}`, "/accounts/0"},
		{"no password", `{"accounts": [` + account("a", "") + `]}`, "/accounts/0"},
		{"no password after expansion", `{"accounts": [` + account("a", "{env.NONE}") + `]}`, "/accounts/0"},
		{"a password that is no hash", `{"accounts": [` + account("a", "hunter-2") + `]}`, "/accounts/0/password"},
		{"base64 without padding", `{"accounts": [` + account("a", "JDJ") + `]}`, "/accounts/0/password"},
		{"an unknown algorithm", `{"hash": {"algorithm": "scrypt"}}`, "/hash/algorithm"},
		{"no algorithm", `{"hash": {}}`, "/hash"},
		{"a field of a hash", `{"hash": {"algorithm": "bcrypt", "cost": 4}}`, "/hash/cost"},
		{"a field of the cache", `{"hash_cache": {"size": 1}}`, "/hash_cache/size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := build(t, NewGate(1), "http.authentication.providers.http_basic", c.cfg)
			if len(res.Problems) != 1 || res.Problems[0].Pointer != c.at {
				t.Fatalf("problems %v, want one at %s", res.Problems, c.at)
			}
			if text := res.Problems.Error(); strings.Contains(text, "hunter-2") || strings.Contains(text, cheapBcrypt) {
				t.Errorf("the error shows a secret: %s", text)
			}
		})
	}
	for name, cfg := range map[string]string{
		"a user that comes back after expansion": `{"accounts": [` + account("ann", cheapBcrypt) + `,` + account("{env.NAME}", cheapBcrypt) + `]}`,
		"a hash of another algorithm":            `{"accounts": [` + account("a", cheapArgon2) + `]}`,
		"a realm with a quote":                   `{"realm": "a\"b"}`,
	} {
		res := build(t, NewGate(1), "http.authentication.providers.http_basic", cfg)
		if len(res.Problems) > 0 || len(res.Warnings) != 1 {
			t.Errorf("%s: problems %v, warnings %v; want one warning", name, res.Problems, res.Warnings)
		}
	}
	if res := build(t, NewGate(1), "http.handlers.authentication", `{"providers": {"oauth": {}}}`); len(res.Problems) != 1 {
		t.Errorf("an unknown provider: %v", res.Problems)
	}
}

// TestUnreadableHash: it is an error of the provider, which shows nothing of it.
func TestUnreadableHash(t *testing.T) {
	s := site(t, NewGate(1), basicConfig("bcrypt", account("ann", "$secret-that-is-no-hash-but-long-enough-to-be-one-of-60-bytes-x"), ""))
	status, h, body := ask(s, "ann", "hunter2")
	if status != 401 || h.Get("Www-Authenticate") == "" || !strings.Contains(body, "error=comparing a password") || strings.Contains(body, "secret") {
		t.Errorf("%d %v %q", status, h, body)
	}
}

func TestHashes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"as it should be", cheapArgon2, true},
		{"a longer salt", "$argon2id$v=19$m=64,t=1,p=1$" + strings.Repeat("AAAA", 10) + "$b3Xxnw5ZkKdA", true},
		{"no salt", "$argon2id$v=19$m=64,t=1,p=1$$b3Xxnw5ZkKdA", true},
		{"argon2i", strings.Replace(cheapArgon2, "argon2id", "argon2i", 1), false},
		{"another version", strings.Replace(cheapArgon2, "v=19", "v=16", 1), false},
		{"no version", strings.Replace(cheapArgon2, "$v=19", "", 1), false},
		{"padding", cheapArgon2 + "=", false},
		{"bits that do not count", strings.TrimSuffix(cheapArgon2, "w") + "x", false},
		{"another alphabet", strings.Replace(cheapArgon2, "RIm", "R-m", 1), false},
		{"parameters in another order", strings.Replace(cheapArgon2, "m=64,t=1", "t=1,m=64", 1), false},
		{"a parameter too many", strings.Replace(cheapArgon2, "p=1", "p=1,k=1", 1), false},
		{"no time", strings.Replace(cheapArgon2, "t=1", "t=0", 1), false},
		{"a sign", strings.Replace(cheapArgon2, "t=1", "t=+1", 1), false},
		{"too much memory", strings.Replace(cheapArgon2, "m=64", "m=4294967295", 1), false},
		{"too many threads", strings.Replace(cheapArgon2, "p=1", "p=256", 1), false},
		{"no key", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$", false},
		{"something before it", "x" + cheapArgon2, false},
		{"bcrypt", cheapBcrypt, false},
		{"nothing", "", false},
	} {
		if _, err := (argon2Hash{}).Compare([]byte(c.text), []byte("hunter2")); (err == nil) != c.ok {
			t.Errorf("%s: %v, want it to be read: %v", c.name, err, c.ok)
		} else if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error shows the hash: %v", c.name, err)
		} else if other := (argon2Hash{}).Check([]byte(c.text)); (other == nil) != c.ok {
			t.Errorf("%s: Check says %v", c.name, other)
		}
	}
}

func FuzzArgon2(f *testing.F) {
	f.Add(cheapArgon2)
	f.Add("$argon2id$v=19$m=1,t=1,p=1$$AA")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseArgon2(text)
		if err != nil {
			return
		}
		if p.memory == 0 || p.memory > maxMemory || p.time == 0 || p.time > maxTime || p.threads == 0 || len(p.key) == 0 {
			t.Errorf("%q is read as %+v", text, p)
		}
	})
}

// TestDummies: nobody's password fits them, and they cost what the accounts'
// hashes cost.
func TestDummies(t *testing.T) {
	d := bcryptHash{}.Dummy([]byte(cheapBcrypt))
	if cost, err := bcrypt.Cost(d); err != nil || cost != 4 {
		t.Errorf("%s: cost %d, %v; want 4", d, cost, err)
	}
	for _, like := range []string{"", "nonsense"} {
		if cost, err := bcrypt.Cost(bcryptHash{}.Dummy([]byte(like))); err != nil || cost != 14 {
			t.Errorf("cost %d, %v; want 14", cost, err)
		}
		if p, err := parseArgon2(string(argon2Hash{}.Dummy([]byte(like)))); err != nil || p.memory != 47104 || p.time != 1 || p.threads != 1 || len(p.salt) != 16 || len(p.key) != 32 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	for h, d := range map[Hash][]byte{bcryptHash{}: d, argon2Hash{}: argon2Hash{}.Dummy([]byte(cheapArgon2))} {
		for _, password := range []string{"", "hunter2", "password", "12345"} {
			if same, err := h.Compare(d, []byte(password)); same || err != nil {
				t.Errorf("%T, %q: %v, %v", h, password, same, err)
			}
		}
	}
	res := build(t, NewGate(1), "http.authentication.providers.http_basic", `{"accounts": [`+account("a", cheapBcrypt)+`,`+account("b", strings.Replace(cheapBcrypt, "$04$", "$05$", 1))+`]}`)
	var costs []int
	for _, d := range res.Root.Value().(*basic).dummies {
		cost, _ := bcrypt.Cost(d)
		costs = append(costs, cost)
	}
	if !slices.Equal(costs, []int{4, 5}) {
		t.Errorf("costs of dummies %v, want those of the accounts", costs)
	}
}

// TestUnknownUserNeverPasses: not even with a password that fits what it is
// compared with.
func TestUnknownUserNeverPasses(t *testing.T) {
	b := &basic{gate: NewGate(1), hash: alwaysSame{}, accounts: map[string][]byte{"ann": []byte("h")}, dummies: [][]byte{[]byte("d")}, seed: maphash.MakeSeed()}
	r, rec := newRequest("eve", "x")
	x := &handlers.Exchange{}
	if _, ok, err := b.Authenticate(rec, x.Begin(r, nil)); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

type alwaysSame struct{}

func (alwaysSame) Compare([]byte, []byte) (bool, error) { return true, nil }
func (alwaysSame) Check([]byte) error                   { return nil }
func (alwaysSame) Dummy([]byte) []byte                  { return []byte("d") }

// TestCacheOutlivesEdits of other things than the place of the provider.
func TestCacheOutlivesEdits(t *testing.T) {
	const id = "http.authentication.providers.http_basic"
	b := newBuilder(t, NewGate(1))
	edit := func(prev *module.Built, text string) module.Result {
		return b.Build(prev, id, parse(t, text), module.Options{})
	}
	first := edit(nil, `{"hash_cache": {}, "accounts": [`+account("a", cheapBcrypt)+`]}`)
	second := edit(first.Root, `{"hash_cache": {}, "realm": "x", "accounts": [`+account("a", cheapBcrypt)+`]}`)
	if a, b := cacheOf(first), cacheOf(second); a == nil || a != b {
		t.Error("the cache was made anew")
	}
	if cacheOf(edit(second.Root, `{"accounts": [`+account("a", cheapBcrypt)+`]}`)) != nil {
		t.Error("there is a cache although it is off")
	}
}

func cacheOf(r module.Result) *cache { return r.Root.Value().(*basic).cache }
