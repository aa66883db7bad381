package selection

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

var one = caddyfile.Exactly(1)

// reading is a selection policy while it is read.
type reading struct {
	u        *module.Use
	fallback module.Ref[Policy]
	maxAge   module.Duration
}

var fallbackLine = caddyfile.Option[reading]{
	Name: "fallback", Args: caddyfile.AtLeast(1), Block: true, Once: "fallback selection policy already specified",
	Set: func(p *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		d.Back(len(args) - 1)
		n, err := p.u.Module(d, Namespace, "policy")
		p.fallback = module.RefTo[Policy](n)
		return err
	},
}

// What the blocks of policies may hold.
var (
	noLines       = caddyfile.Options[reading]{}
	fallbackLines = caddyfile.Options[reading]{Lines: []caddyfile.Option[reading]{fallbackLine}}
	cookieLines   = caddyfile.Options[reading]{Lines: []caddyfile.Option[reading]{
		fallbackLine,
		{Name: "max_age", Args: one, Once: "cookie max_age already specified", Set: readMaxAge},
	}}
)

func readMaxAge(p *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	if err := caddyfile.Duration(func(p *reading) *module.Duration { return &p.maxAge })(p, d, args); err != nil {
		return err
	}
	if p.maxAge <= 0 {
		return fmt.Errorf("invalid duration: max_age is %s; it has to be more than 0", args[0].Text)
	}
	return nil
}

// readWords reads the arguments of a policy, whose name is d's next token, and its block.
func readWords(u *module.Use, d *caddyfile.Dispenser, count caddyfile.Count, block *caddyfile.Options[reading]) ([]string, *reading, error) {
	d.Next()
	args := d.RemainingArgs()
	if !count.Allows(len(args)) {
		return nil, nil, d.ArgErr()
	}
	p := &reading{u: u}
	return args, p, block.Parse(d, p)
}

// plainWords reads a policy that is no more than its name.
func plainWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	_, _, err := readWords(u, d, caddyfile.None, &noLines)
	return nil, err
}

// randomChooseWords writes the number even if it is the default.
func randomChooseWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	args, _, err := readWords(u, d, one, &noLines)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, d.Errf("invalid choice value '%s': it is not an integer", caddyfile.Shorten(args[0]))
	}
	return map[string]int{"choose": n}, nil
}

func weightedWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	args, _, err := readWords(u, d, caddyfile.AtLeast(1), &noLines)
	if err != nil {
		return nil, err
	}
	c := &WeightedRoundRobin{}
	for _, a := range args {
		w, err := strconv.Atoi(a)
		if err == nil && w < 0 {
			err = errors.New("weight should be non-negative")
		} else if err != nil {
			err = errors.New("it is not an integer")
		}
		if err != nil {
			return nil, d.Errf("invalid weight value '%s': %w", caddyfile.Shorten(a), err)
		}
		c.Weights = append(c.Weights, w)
	}
	return c, nil
}

func headerWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	args, p, err := readWords(u, d, one, &fallbackLines)
	if err != nil {
		return nil, err
	}
	return &Header{Field: args[0], Fallback: p.fallback}, nil
}

func queryWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	args, p, err := readWords(u, d, one, &fallbackLines)
	if err != nil {
		return nil, err
	}
	return &Query{Key: args[0], Fallback: p.fallback}, nil
}

func cookieWords(u *module.Use, d *caddyfile.Dispenser) (any, error) {
	args, p, err := readWords(u, d, caddyfile.Between(0, 2), &cookieLines)
	if err != nil {
		return nil, err
	}
	c := &Cookie{MaxAge: p.maxAge, Fallback: p.fallback}
	if len(args) > 0 {
		c.Name = args[0]
	}
	if len(args) > 1 {
		c.Secret = args[1]
	}
	return c, nil
}
