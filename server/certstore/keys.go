package certstore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

const (
	// MaxValue is the length of the longest value, in bytes.
	MaxValue = 16 << 20
	// MaxKey is the length of the longest key, in bytes.
	MaxKey = 1024
	// MaxKeySegment is the length of the longest name in a key, in bytes: what file
	// systems take.
	MaxKeySegment = 255
)

// tempPrefix begins the names of unfinished files, and of no key.
const tempPrefix = ".tmp-"

// cleanKey checks a key and returns it without slashes at its ends. The outermost
// folder is "".
func cleanKey(key string) (string, error) {
	clean := strings.Trim(key, "/")
	if clean == "" {
		return "", nil
	}
	if len(clean) > MaxKey {
		return "", fmt.Errorf("storage key %.40q... has %d bytes, more than %d", clean, len(clean), MaxKey)
	}
	for name := range strings.SplitSeq(clean, "/") {
		if why := badName(name); why != "" {
			return "", fmt.Errorf("malformed storage key %q: %s", key, why)
		}
	}
	return clean, nil
}

// valueKey is cleanKey for a key that must not be the outermost folder.
func valueKey(key string) (string, error) {
	clean, err := cleanKey(key)
	if err == nil && clean == "" {
		err = fmt.Errorf("storage key %q names no value", key)
	}
	return clean, err
}

// badName says what is wrong with one name of a key, "" for nothing.
func badName(name string) string {
	switch {
	case name == "":
		return "a name is empty; separate names by single slashes"
	case name == "." || name == "..":
		return "it must not have . or .. in it"
	case len(name) > MaxKeySegment:
		return fmt.Sprintf("a name has %d bytes, more than %d", len(name), MaxKeySegment)
	case strings.HasPrefix(name, tempPrefix):
		return "names that begin with " + tempPrefix + " are unfinished files"
	}
	for _, c := range []byte(name) {
		if c < ' ' || c == 0x7f || c == '\\' {
			return fmt.Sprintf("the character %q must not be in it", c)
		}
	}
	return ""
}

// checkValue refuses a value that is too large.
func checkValue(n int64) error {
	if n > MaxValue {
		return fmt.Errorf("the value has %d bytes, more than %d", n, MaxValue)
	}
	return nil
}

var (
	errIsFolder   = errors.New("it is a folder, which has no value")
	errBelowValue = errors.New("a part of the key has a value, so nothing can be below it")
	// errNoValue is a folder that was to be loaded.
	errNoValue = fmt.Errorf("%w: it is a folder, which has no value", fs.ErrNotExist)
)
