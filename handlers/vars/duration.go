package vars

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"
)

// MaxDurationLen is the length of the longest text that [ParseDuration] reads.
const MaxDurationLen = 1024

const day = 24 * time.Hour

// ParseDuration reads a duration as configs write it (section 1.5): a sum of
// terms of a decimal number and a unit, in any order, with one sign in front
// of all. The units are ns, us (or µs), ms, s, m, h and d, which is exactly
// 24 h. A lone 0 needs no unit. The text of the error begins with
//
//	time: invalid duration "xx"
func ParseDuration(s string) (time.Duration, error) {
	if len(s) > MaxDurationLen {
		return 0, fmt.Errorf("time: invalid duration %q...: longer than %d bytes", s[:32], MaxDurationLen)
	}
	if strings.IndexByte(s, 'd') < 0 {
		if d, err := time.ParseDuration(s); err == nil {
			return d, nil
		}
		return 0, durationError(s)
	}
	rest, negative := s, false
	if rest[0] == '-' || rest[0] == '+' {
		negative, rest = rest[0] == '-', rest[1:]
	}
	var sum uint64
	for rest != "" {
		num := rest[:numberLen(rest)]
		rest = rest[len(num):]
		unit := rest[:unitLen(rest)]
		rest = rest[len(unit):]
		d, ok := parseTerm(num, unit)
		if sum += d; !ok || d > math.MaxInt64 || sum > 1<<63 {
			return 0, durationError(s)
		}
	}
	switch {
	case negative:
		return time.Duration(-sum), nil // 1<<63 is its own negative
	case sum > math.MaxInt64:
		return 0, durationError(s)
	}
	return time.Duration(sum), nil
}

func durationError(s string) error {
	return fmt.Errorf("time: invalid duration %q: want numbers with units (ns, us, ms, s, m, h, d), such as 10s, 1.5h or 1d12h", s)
}

// parseTerm returns a number of nanoseconds, below 1<<64.
func parseTerm(num, unit string) (uint64, bool) {
	if unit != "d" {
		if num == "" || unit == "" {
			return 0, false
		}
		d, err := time.ParseDuration(num + unit)
		return uint64(d), err == nil
	}
	whole, frac, _ := strings.Cut(num, ".")
	if whole == "" && frac == "" || strings.IndexByte(frac, '.') >= 0 {
		return 0, false
	}
	var days uint64
	for _, c := range []byte(whole) {
		if days = days*10 + uint64(c-'0'); days > math.MaxInt64/uint64(day) {
			return 0, false
		}
	}
	var part, scale uint64 = 0, 1
	for _, c := range []byte(frac) {
		if scale == 1e18 {
			break // what follows is less than a nanosecond
		}
		part, scale = part*10+uint64(c-'0'), scale*10
	}
	hi, lo := bits.Mul64(part, uint64(day))
	nanos, _ := bits.Div64(hi, lo, scale)
	return days*uint64(day) + nanos, true
}

func numberLen(s string) int {
	i := 0
	for i < len(s) && (s[i] == '.' || '0' <= s[i] && s[i] <= '9') {
		i++
	}
	return i
}

func unitLen(s string) int {
	i := 0
	for i < len(s) && s[i] != '.' && (s[i] < '0' || s[i] > '9') {
		i++
	}
	return i
}
