// Package environment is what the process finds around it: the directories that
// are its own, and variables that files add.
package environment

import (
	"os"
	"path/filepath"
	"runtime"
)

// name is what the program's own directories are called, and caddy what those of
// the program are that it may have taken the place of.
const (
	name  = "sluice"
	caddy = "caddy"
)

// Directories are where files of the program are kept when nobody says
// otherwise (cli, section 12).
type Directories struct {
	Home, Config, Data string
	// Guessed says that nothing in the environment names a directory, so the
	// working directory is used.
	Guessed bool
}

// These are the directories of this process, as the environment is now.
func These() Directories { return Find(runtime.GOOS, os.Getenv) }

// Find reads the directories from the environment of an operating system, which
// is named as in runtime.GOOS.
func Find(system string, getenv func(string) string) Directories {
	d := Directories{Home: homeDirectory(system, getenv)}
	own := name
	switch system {
	case "darwin", "ios", "windows":
		own = "Sluice"
	}
	under := func(elem ...string) string {
		if d.Home == "" {
			return ""
		}
		return filepath.Join(append([]string{d.Home}, elem...)...)
	}
	switch system {
	case "darwin", "ios":
		d.Config = under("Library", "Application Support", own)
		d.Data = d.Config
	case "windows":
		if app := getenv("AppData"); app != "" {
			d.Config = filepath.Join(app, own)
		}
		d.Data = d.Config
	case "plan9":
		d.Config = under("lib", own)
		d.Data = d.Config
	case "android":
		d.Config, d.Data = under(".config", own), under(own)
	default:
		d.Config, d.Data = under(".config", own), under(".local", "share", own)
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		d.Config = filepath.Join(dir, name)
	}
	if dir := getenv("XDG_DATA_HOME"); dir != "" {
		d.Data = filepath.Join(dir, name)
	}
	for _, dir := range []*string{&d.Config, &d.Data} {
		if *dir == "" {
			*dir, d.Guessed = "."+string(filepath.Separator)+name, true
		}
	}
	return d
}

func homeDirectory(system string, getenv func(string) string) string {
	switch system {
	case "windows":
		if home := getenv("HOMEDRIVE") + getenv("HOMEPATH"); getenv("USERPROFILE") == "" && home != "" {
			return home
		}
		if home := getenv("USERPROFILE"); home != "" {
			return home
		}
	case "plan9":
		return getenv("home")
	}
	return getenv("HOME")
}

// StoreFile is where the store is if nobody says otherwise.
func (d Directories) StoreFile() string { return filepath.Join(d.Data, name+".db") }

// AutosaveFile keeps the last document for --resume without a store.
func (d Directories) AutosaveFile() string { return filepath.Join(d.Config, "autosave.json") }

// HomeMissing reports that files may end up where nobody looks for them.
func HomeMissing(system string, getenv func(string) string) bool {
	if homeDirectory(system, getenv) != "" {
		return false
	}
	return getenv("XDG_CONFIG_HOME") == "" || getenv("XDG_DATA_HOME") == "" || getenv("XDG_CACHE_HOME") == ""
}

// Storage is where certificates, keys and accounts are kept if a document does not
// say: the data directory, or that of Caddy while only Caddy's has any. It has the
// same layout, so whoever exchanges the program keeps certificates, accounts and
// the root that clients trust; and may go back.
func (d Directories) Storage() string {
	if theirs := beside(d.Data); !holdsCertificates(d.Data) && holdsCertificates(theirs) {
		return theirs
	}
	return d.Data
}

// CaddyAutosaveFile is where Caddy has kept its last document.
func (d Directories) CaddyAutosaveFile() string {
	return filepath.Join(beside(d.Config), filepath.Base(d.AutosaveFile()))
}

// beside is the directory that Caddy has where this program has dir.
func beside(dir string) string {
	theirs := caddy
	if filepath.Base(dir) != name {
		theirs = "Caddy"
	}
	return filepath.Join(filepath.Dir(dir), theirs)
}

// holdsCertificates reports whether a storage has been used in a directory.
func holdsCertificates(dir string) bool {
	for _, folder := range []string{"certificates", "acme", "pki"} {
		if info, err := os.Stat(filepath.Join(dir, folder)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}
