package authentication

import (
	"errors"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

func directives() module.Option {
	return module.Directives(
		module.Directive{Name: "basic_auth", Read: readBasicAuth},
		module.Directive{Name: "basicauth", Now: "basic_auth", Read: readBasicAuth},
	)
}

var algorithms = []string{"bcrypt", "argon2id"}

// readBasicAuth: basic_auth [<matcher>] [<algorithm> [<realm>]] { <user> <hash> ... }
func readBasicAuth(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	algorithm := "bcrypt"
	cfg := BasicConfig{HashCache: &CacheConfig{}}
	switch args := d.RemainingArgTokens(); len(args) {
	case 0:
	case 2:
		cfg.Realm = args[1].Text
		fallthrough
	case 1:
		algorithm = args[0].Text
		if algorithm != algorithms[0] && algorithm != algorithms[1] {
			return nil, args[0].Errf("unrecognized hash algorithm: %s", caddyfile.Shorten(algorithm)).Suggest(algorithm, algorithms)
		}
	default:
		return nil, d.ArgErr()
	}
	cfg.Hash = module.RefTo[Hash](config.NewObject(map[string]*config.Node{"algorithm": config.NewString(algorithm)}))
	if err := accountLines.Parse(d, &cfg); err != nil {
		return nil, err
	}
	provider, err := u.Table().Encode("http.authentication.providers.http_basic", &cfg)
	if err != nil {
		return nil, err
	}
	return u.One(m, "authentication", &Config{Providers: map[string]module.Ref[Provider]{"http_basic": module.RefTo[Provider](provider)}})
}

// accountLines of a block are all accounts.
var accountLines = caddyfile.Options[BasicConfig]{
	Other: func(c *BasicConfig, d *caddyfile.Dispenser) (bool, error) {
		a := Account{Username: d.Val()}
		if !d.NextArg() || a.Username == "" || d.Val() == "" {
			return false, errors.New("username and password cannot be empty or missing")
		}
		a.Password = d.Val()
		if d.NextArg() || d.OpensBlock() {
			if d.OpensBlock() {
				d.Next()
			}
			return false, d.ArgErr()
		}
		c.Accounts = append(c.Accounts, a)
		return true, nil
	},
}
