package main

import (
	"os"
	"path/filepath"
	"runtime"
)

// directories are where files of this program are kept when nobody says
// otherwise (cli, section 12).
type directories struct {
	home, config, data string
	// guessed says that nothing in the environment names a directory, so the
	// working directory is used.
	guessed bool
}

func theseDirectories() directories { return findDirectories(runtime.GOOS, os.Getenv) }

// findDirectories reads them from an environment.
func findDirectories(system string, getenv func(string) string) directories {
	d := directories{home: homeDirectory(system, getenv)}
	own := name
	switch system {
	case "darwin", "ios", "windows":
		own = "Sluice"
	}
	under := func(elem ...string) string {
		if d.home == "" {
			return ""
		}
		return filepath.Join(append([]string{d.home}, elem...)...)
	}
	switch system {
	case "darwin", "ios":
		d.config = under("Library", "Application Support", own)
		d.data = d.config
	case "windows":
		if app := getenv("AppData"); app != "" {
			d.config = filepath.Join(app, own)
		}
		d.data = d.config
	case "plan9":
		d.config = under("lib", own)
		d.data = d.config
	case "android":
		d.config, d.data = under(".config", own), under(own)
	default:
		d.config, d.data = under(".config", own), under(".local", "share", own)
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		d.config = filepath.Join(dir, name)
	}
	if dir := getenv("XDG_DATA_HOME"); dir != "" {
		d.data = filepath.Join(dir, name)
	}
	for _, dir := range []*string{&d.config, &d.data} {
		if *dir == "" {
			*dir, d.guessed = "."+string(filepath.Separator)+name, true
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

// storeFile is where the store is if nobody says otherwise.
func (d directories) storeFile() string { return filepath.Join(d.data, name+".db") }

// autosaveFile keeps the last document for --resume without a store.
func (d directories) autosaveFile() string { return filepath.Join(d.config, "autosave.json") }

// homeMissing reports that files may end up where nobody looks for them.
func homeMissing(system string, getenv func(string) string) bool {
	if homeDirectory(system, getenv) != "" {
		return false
	}
	return getenv("XDG_CONFIG_HOME") == "" || getenv("XDG_DATA_HOME") == "" || getenv("XDG_CACHE_HOME") == ""
}
