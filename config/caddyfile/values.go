package caddyfile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Scalar returns the token's value: the text of a quoted token; else an int, a
// float64 or a bool if the text is one, tried in this order; else the text. NaN
// and infinities are an error, since a document cannot hold them.
func (t Token) Scalar() (any, error) {
	if t.Quoted() {
		return t.Text, nil
	}
	if n, err := strconv.Atoi(t.Text); err == nil {
		return n, nil
	}
	if f, err := strconv.ParseFloat(t.Text, 64); err == nil {
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, t.Errf("%s is not a number that JSON can hold; quote it if it is meant as text", t.Text)
		}
		return f, nil
	}
	if b, err := strconv.ParseBool(t.Text); err == nil {
		return b, nil
	}
	return t.Text, nil
}

// ParseDuration is time.ParseDuration with the unit "d" for 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	if len(s) > 1024 {
		return 0, errors.New("parsing duration: input string too long")
	}
	var hours strings.Builder
	for s0 := s; s0 != ""; {
		n := 0
		for n < len(s0) && (s0[n] >= '0' && s0[n] <= '9' || s0[n] == '.' || n == 0 && (s0[n] == '-' || s0[n] == '+')) {
			n++
		}
		number := s0[:n]
		s0 = s0[n:]
		unit := strings.IndexAny(s0, "0123456789.")
		if unit < 0 {
			unit = len(s0)
		}
		if s0[:unit] != "d" {
			hours.WriteString(number + s0[:unit])
		} else {
			days, err := strconv.ParseFloat(number, 64)
			if err != nil {
				return 0, fmt.Errorf("time: invalid duration %q", s)
			}
			hours.WriteString(strconv.FormatFloat(days*24, 'f', -1, 64) + "h")
		}
		s0 = s0[unit:]
	}
	d, err := time.ParseDuration(hours.String())
	if err != nil && hours.String() != s {
		err = fmt.Errorf("time: invalid duration %q", s)
	}
	return d, err
}

// ParseSize reads a number of bytes: a number with decimals and commas, a space
// if wanted, and a unit in any case: none or b; k, kb, m, mb up to eb for powers
// of 1000; ki, kib up to eib for powers of 1024.
func ParseSize(s string) (uint64, error) {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.' || s[n] == ',') {
		n++
	}
	number, err := strconv.ParseFloat(strings.ReplaceAll(s[:n], ",", ""), 64)
	if err != nil {
		return 0, fmt.Errorf("parsing %q as a size: it should be a number and a unit, such as 10MB", Shorten(s))
	}
	unit := strings.ToLower(strings.TrimSpace(s[n:]))
	factor := 1.0
	if unit != "" && unit != "b" {
		prefix := strings.TrimSuffix(unit, "b")
		base := 1000.0
		if p, ok := strings.CutSuffix(prefix, "i"); ok {
			prefix, base = p, 1024
		}
		power := strings.Index("kmgtpe", prefix) + 1
		if len(prefix) != 1 || power == 0 {
			return 0, fmt.Errorf("unhandled size name: %s", Shorten(unit))
		}
		factor = math.Pow(base, float64(power))
	}
	if number*factor >= math.MaxUint64 {
		return 0, fmt.Errorf("too large: %s", Shorten(s))
	}
	return uint64(number * factor), nil
}
