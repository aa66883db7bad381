package authentication

import (
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
)

// BasicConfig is the provider http_basic: a name and a password in each request
// (RFC 7617). It shows the browser's dialog for them. Use it over TLS only.
//
// How many hashes are computed at a time is bounded for the whole process. The
// requests that wait get their turns by client; where there are too many the
// answer is error 503.
type BasicConfig struct {
	// Hash is the algorithm that the passwords are hashed with. Default: bcrypt.
	Hash module.Ref[Hash] `json:"hash,omitempty" module:"http.authentication.hashes" inline:"algorithm"`
	// Accounts are the users that are let in.
	Accounts []Account `json:"accounts,omitempty"`
	// Realm is what the users are told that they log in to. It is sent as it is.
	// Default: restricted.
	Realm string `json:"realm,omitempty"`
	// HashCache, if present, remembers which passwords fit and which do not, so that
	// the costly computation is made once and not for each request. Neither
	// passwords nor hashes are kept for it. Default: off.
	HashCache *CacheConfig `json:"hash_cache,omitempty"`
}

// Account is a user with a password.
type Account struct {
	// Username is the name; placeholders such as {env.NAME} are replaced when the
	// config is loaded.
	Username string `json:"username"`
	// Password is the hash of the password, never the password itself: in modular
	// crypt format, which begins with $, or that in base64. Placeholders are
	// replaced when the config is loaded. sluice hash-password makes one.
	Password string `json:"password"`
}

// CacheConfig is the cache of http_basic. It has no fields: 1000 results are
// kept.
type CacheConfig struct{}

const (
	defaultRealm = "restricted"
	challenge    = "Www-Authenticate"
)

func basicSpec() module.Spec {
	return module.New("http.authentication.providers.http_basic", "Asks for a name and a password with HTTP basic authentication.", nil, compileBasic, module.Examples(
		module.Example{Title: "One account", JSON: `{"realm": "staff", "hash_cache": {}, "hash": {"algorithm": "argon2id"}, "accounts": [
			{"username": "ann", "password": "$argon2id$v=19$m=47104,t=1,p=1$zRqE4rz2RtFULHQxc1jsFA$0+AWf1a13xJV/32S6T60YeFfCNPSaR22qN78N7jDhYc"}]}`},
	))
}

type basic struct {
	gate      *Gate
	hash      Hash
	accounts  map[string][]byte
	challenge []string
	cache     *cache // nil if off
	// dummies are hashes that nobody's password fits, one like that of each account.
	// Which of them an unknown user gets depends on the name alone, so that the time
	// it takes is like that of a known one.
	dummies [][]byte
	seed    maphash.Seed
}

func compileBasic(env *module.Env, cfg *BasicConfig) (Provider, error) {
	b := &basic{gate: module.Service[*Gate](env), hash: cfg.Hash.Value(), seed: maphash.MakeSeed()}
	if b.hash == nil {
		b.hash = bcryptHash{}
	}
	realm := cfg.Realm
	if realm == "" {
		realm = defaultRealm
	}
	if strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }) {
		env.Warn("/realm", "the realm has a quote or a control character, which clients cannot read in the header")
	}
	b.challenge = []string{`Basic realm="` + realm + `"`}
	if err := b.read(env, cfg.Accounts); err != nil {
		return nil, err
	}
	if cfg.HashCache != nil {
		b.cache = env.State("cache", func() any { return newCache() }).(*cache)
	}
	return b, nil
}

// read takes over the accounts.
func (b *basic) read(env *module.Env, accounts []Account) error {
	var problems schema.Problems
	fail := func(i int, field, message string) {
		problems = append(problems, schema.Problem{Pointer: "/accounts/" + strconv.Itoa(i) + field, Message: message})
	}
	b.accounts = make(map[string][]byte, len(accounts))
	for i, a := range accounts {
		if _, again := b.accounts[a.Username]; again {
			fail(i, "/username", fmt.Sprintf("account %d: user %q is there already; each has one password", i, a.Username))
			continue
		}
		name, text := env.Expand(a.Username), env.Expand(a.Password)
		if name == "" || text == "" {
			fail(i, "", fmt.Sprintf("account %d: username and password cannot be empty or missing", i))
			continue
		}
		hash, err := decodeHash(text)
		if err != nil {
			fail(i, "/password", fmt.Sprintf("account %d: %v", i, err))
			continue
		}
		if _, again := b.accounts[name]; again {
			env.Warn("/accounts/"+strconv.Itoa(i)+"/username", "the user is there already under the same name after placeholders were replaced; this account counts")
		}
		if err := b.hash.Check(hash); err != nil {
			env.Warn("/accounts/"+strconv.Itoa(i)+"/password", "nobody can log in with this account: "+err.Error())
		}
		b.accounts[name] = hash
		b.dummies = append(b.dummies, b.hash.Dummy(hash))
	}
	if len(b.dummies) == 0 {
		b.dummies = [][]byte{b.hash.Dummy(nil)}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// decodeHash returns the hash that a password field holds. The error does not
// show it.
func decodeHash(text string) ([]byte, error) {
	if strings.HasPrefix(text, "$") {
		return []byte(text), nil
	}
	hash, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(hash) == 0 {
		return nil, fmt.Errorf("the password is neither a hash that begins with $ nor one in base64; hash it with `sluice hash-password`")
	}
	return hash, nil
}

// Authenticate implements Provider.
func (b *basic) Authenticate(w http.ResponseWriter, r *http.Request) (User, bool, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		w.Header()[challenge] = b.challenge
		return User{}, false, nil
	}
	hash, known := b.accounts[name]
	if !known {
		hash = b.dummies[maphash.String(b.seed, name)%uint64(len(b.dummies))]
	}
	same, err := b.same(r, name, hash, password)
	if err != nil || !same || !known {
		w.Header()[challenge] = b.challenge
		return User{}, false, err
	}
	return User{ID: name}, true, nil
}

// same reports whether the password is that of the hash.
func (b *basic) same(r *http.Request, name string, hash []byte, text string) (bool, error) {
	password := []byte(text)
	defer clear(password)
	compare := func() (bool, error) {
		ip, _ := handlers.Of(r).ClientIP()
		if err := b.gate.enter(r.Context(), clientKey(ip)); err != nil {
			return false, err
		}
		defer b.gate.leave()
		return b.hash.Compare(hash, password)
	}
	if b.cache == nil {
		return compare()
	}
	return b.cache.get(r.Context(), b.cache.digest(name, hash, password), compare)
}
