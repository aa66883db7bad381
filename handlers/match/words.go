package match

import (
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
)

// eachLine takes the arguments of all lines of a matcher that has no blocks.
func eachLine(d *caddyfile.Dispenser, count caddyfile.Count, take func(args []string) error) error {
	for d.Next() {
		name := d.Token()
		args := d.RemainingArgs()
		if d.OpensBlock() {
			return name.Errf("malformed %s matcher: blocks are not supported", name.Text)
		}
		if !count.Allows(len(args)) {
			return d.ArgErr()
		}
		if err := take(args); err != nil {
			return err
		}
	}
	return nil
}

// list reads a matcher that is the list of all arguments.
func list[C ~[]string](_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var cfg C
	err := eachLine(d, caddyfile.AtLeast(1), func(args []string) error {
		cfg = append(cfg, args...)
		return nil
	})
	return &cfg, err
}

func readRanges(d *caddyfile.Dispenser) (IPRanges, error) {
	var cfg IPRanges
	err := eachLine(d, caddyfile.AtLeast(1), func(args []string) error {
		cfg.Ranges = append(cfg.Ranges, clientip.ExpandRanges(args)...)
		return nil
	})
	return cfg, err
}

func clientIPWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	ranges, err := readRanges(d)
	return &ClientIPConfig{ranges}, err
}

func remoteIPWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	ranges, err := readRanges(d)
	if err == nil && slices.Contains(ranges.Ranges, "forwarded") {
		return nil, u.Token.Errf("the 'forwarded' option is no longer supported; use the 'client_ip' matcher instead")
	}
	return &RemoteIPConfig{ranges}, err
}

func headerWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var cfg HeaderConfig
	for d.Next() {
		if err := respmatch.HeaderWords(d, (*map[string][]string)(&cfg)); err != nil {
			return nil, err
		}
	}
	return &cfg, nil
}

func headerRegexpWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := HeaderRegexpConfig{}
	err := eachLine(d, caddyfile.Between(2, 3), func(args []string) error {
		field, re := keyedRegexp(u, args)
		if _, twice := cfg[field]; twice {
			return d.Errf("header_regexp matcher can only be used once per named matcher, per header field: %s", caddyfile.Shorten(field))
		}
		cfg[field] = re
		return nil
	})
	return &cfg, err
}

func varsRegexpWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := VarsRegexpConfig{}
	err := eachLine(d, caddyfile.Between(2, 3), func(args []string) error {
		name, re := keyedRegexp(u, args)
		cfg[name] = re
		return nil
	})
	return &cfg, err
}

// keyedRegexp reads "[<name>] <key> <regex>".
func keyedRegexp(u *module.Use, args []string) (key string, re Regexp) {
	last := len(args) - 1
	return args[last-1], namedRegexp(u, args[:last-1], args[last])
}

// namedRegexp gives a regular expression the name before it, or else that of the
// matcher which is being defined.
func namedRegexp(u *module.Use, name []string, pattern string) Regexp {
	re := Regexp{Name: u.Definition, Pattern: pattern}
	if len(name) > 0 {
		re.Name = name[0]
	}
	return re
}

func pathRegexpWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	var cfg *PathRegexpConfig
	err := eachLine(d, caddyfile.Between(1, 2), func(args []string) error {
		if cfg != nil {
			return d.Errf("regular expression can only be used once per named matcher")
		}
		last := len(args) - 1
		cfg = &PathRegexpConfig{namedRegexp(u, args[:last], args[last])}
		return nil
	})
	return cfg, err
}

func protocolWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var cfg ProtocolConfig
	err := eachLine(d, caddyfile.AtLeast(0), func(args []string) error {
		if len(args) != 1 {
			return d.Errf("expected exactly one protocol")
		}
		cfg = ProtocolConfig(args[0])
		return nil
	})
	return &cfg, err
}

func queryWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := QueryConfig{}
	err := eachLine(d, caddyfile.AtLeast(1), func(args []string) error {
		for _, arg := range args {
			key, value, ok := strings.Cut(arg, "=")
			if arg == "" {
				continue
			}
			if !ok {
				return d.Errf("malformed query matcher token: %s; must be in param=val format", caddyfile.Shorten(arg))
			}
			cfg[key] = append(cfg[key], value)
		}
		return nil
	})
	return &cfg, err
}

func varsWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := VarsConfig{}
	err := eachLine(d, caddyfile.AtLeast(1), func(args []string) error {
		if len(args) == 1 {
			return d.Errf("malformed vars matcher: expected a variable and the values that it may have")
		}
		cfg[args[0]] = append(cfg[args[0]], args[1:]...)
		return nil
	})
	return &cfg, err
}

// notWords reads one set of each line.
func notWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	var sets []*config.Node
	for d.Next() {
		set, err := Set(u, d, "")
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return config.NewArray(sets), nil
}
