package caddyfile

import (
	"fmt"
	"math"
	"strconv"
)

// integer is any integer type with a sign.
type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64
}

// Int returns a Set for an option with one argument that is an integer.
func Int[C any, N integer](field func(c *C) *N) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, args []Token) error {
		n, err := strconv.ParseInt(first(args), 10, 64)
		if err != nil || int64(N(n)) != n {
			return fmt.Errorf("invalid integer '%s'", Shorten(first(args)))
		}
		*field(c) = N(n)
		return nil
	}
}

// Duration returns a Set for an option with one argument that is a duration
// with a unit; see ParseDuration.
func Duration[C any, D ~int64](field func(c *C) *D) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, args []Token) error {
		d, err := ParseDuration(first(args))
		if err != nil {
			return fmt.Errorf("bad duration value '%s': %w", Shorten(first(args)), err)
		}
		*field(c) = D(d)
		return nil
	}
}

// Size returns a Set for an option with one argument that is a number of
// bytes; see ParseSize.
func Size[C any, N integer](field func(c *C) *N) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, args []Token) error {
		n, err := ParseSize(first(args))
		if err == nil && (n > math.MaxInt64 || uint64(N(n)) != n) {
			err = fmt.Errorf("too large")
		}
		if err != nil {
			return fmt.Errorf("invalid size '%s': %w", Shorten(first(args)), err)
		}
		*field(c) = N(n)
		return nil
	}
}
