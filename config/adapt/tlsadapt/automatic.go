package tlsadapt

import (
	"slices"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// automaticFields is the fields of automatic_https that the words of the option
// auto_https set.
var automaticFields = map[string]string{
	"off": "disable", "disable_redirects": "disable_redirects", "disable_certs": "disable_certificates", "ignore_loaded_certs": "ignore_loaded_certificates",
}

func readAutomaticHTTPS(o *Options, _ *module.Use, d *caddyfile.Dispenser) error {
	words := d.RemainingArgs()
	if len(words) == 0 {
		return d.ArgErr()
	}
	for _, w := range words {
		if automaticFields[w] == "" {
			return d.Errf("auto_https must be one of 'off', 'disable_redirects', 'disable_certs', or 'ignore_loaded_certs'; got '%s'", caddyfile.Shorten(w))
		}
	}
	o.automatic = words
	return nil
}

// off reports whether nothing is to be automatic.
func (o *Options) off() bool { return slices.Contains(o.automatic, "off") }
