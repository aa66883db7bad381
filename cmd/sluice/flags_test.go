package main

import (
	"regexp"
	"strings"
	"testing"
)

// caddyFlags are the flags of Caddy's commands (cli, section 3), each with its
// short form after a comma and its default after an equals sign.
var caddyFlags = map[string]string{
	"run":                         "config,c adapter,a envfile environ,e resume,r watch,w pidfile pingback",
	"start":                       "config,c adapter,a envfile watch,w pidfile",
	"stop":                        "config,c adapter,a address",
	"reload":                      "config,c adapter,a address force,f",
	"adapt":                       "config,c adapter,a=caddyfile pretty,p validate envfile",
	"validate":                    "config,c adapter,a envfile",
	"fmt":                         "config,c overwrite,w diff,d",
	"hash-password":               "plaintext,p algorithm,a=bcrypt bcrypt-cost=14 argon2id-time=1 argon2id-memory=47104 argon2id-threads=1 argon2id-keylen=32",
	"respond":                     "listen,l=:0 status,s=200 body,b header,H access-log debug,v",
	"file-server":                 "domain,d root,r listen,l browse,b reveal-symlinks templates,t access-log,a debug,v file-limit,f=10000 no-compress precompressed,p",
	"file-server export-template": "",
	"reverse-proxy":               "from,f=localhost to,t change-host-header,c insecure disable-redirects,r internal-certs,i header-up,H header-down,d access-log debug,v",
	"list-modules":                "packages versions skip-standard,s json",
	"environ":                     "envfile",
	"version":                     "",
	"build-info":                  "",
	"storage export":              "config,c output,o",
	"storage import":              "config,c input,i",
	"trust":                       "ca=local address config,c adapter,a",
	"untrust":                     "cert,p ca=local address config,c adapter,a",
	"manpage":                     "directory,o",
	"completion":                  "",
	"upgrade":                     "keep-backup,k",
	"add-package":                 "keep-backup,k",
	"remove-package":              "keep-backup,k",
}

// ownFlags are those that Caddy does not have.
var ownFlags = map[string]string{
	"run":   "store revision best-effort first-steps",
	"start": "store",
}

// flagLine is the beginning of the help for a flag.
var flagLine = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)

func TestFlagsAreThoseOfCaddy(t *testing.T) {
	root := thisProgram().newRoot()
	for path, list := range caddyFlags {
		cmd, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) > 0 || cmd.CommandPath() != name+" "+path {
			t.Errorf("%s: %v", path, err)
			continue
		}
		known := map[string]bool{"help": true}
		for _, flag := range strings.Fields(list) {
			flag, value, _ := strings.Cut(flag, "=")
			long, short, _ := strings.Cut(flag, ",")
			known[long] = true
			f := cmd.Flags().Lookup(long)
			if f == nil {
				t.Errorf("%s has no --%s", path, long)
				continue
			}
			if value == "" {
				value = map[string]string{"bool": "false", "stringSlice": "[]", "stringArray": "[]"}[f.Value.Type()]
			}
			if f.Shorthand != short || f.DefValue != value || f.Usage == "" {
				t.Errorf("%s --%s: -%s %q %q, want -%s %q", path, long, f.Shorthand, f.DefValue, f.Usage, short, value)
			}
		}
		for _, own := range strings.Fields(ownFlags[path]) {
			known[own] = true
		}
		for _, found := range flagLine.FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
			if !known[found[1]] {
				t.Errorf("%s has --%s, which Caddy does not have", path, found[1])
			}
		}
	}
}
