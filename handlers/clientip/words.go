package clientip

import (
	"slices"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// PrivateRanges is what a Caddyfile means by private_ranges: the networks that
// nobody can come from through the internet, and the host itself.
func PrivateRanges() []string {
	return []string{"192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1"}
}

// ExpandRanges returns the IP ranges of a Caddyfile with those of PrivateRanges
// in the places of the word private_ranges.
func ExpandRanges(words []string) []string {
	out := slices.Clone(words)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == "private_ranges" {
			out = slices.Replace(out, i, i+1, PrivateRanges()...)
		}
	}
	return out
}

// staticWords reads "static <ranges...>".
func staticWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	d.Next()
	ranges := d.RemainingArgs()
	switch {
	case d.OpensBlock():
		return nil, d.Errf("malformed static IP source: blocks are not supported")
	case len(ranges) == 0:
		return nil, d.ArgErr()
	}
	return &StaticConfig{Ranges: ExpandRanges(ranges)}, nil
}
