package pulled

import (
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/configloader"
)

// Setting is what a document says about pulling.
type Setting struct {
	// Loader gets the configuration; nil if nothing is pulled.
	Loader configloader.Loader
	// Delay is the time before each pull. 0 means once, in the load.
	Delay time.Duration
}

// The keys that lead to the settings.
const (
	adminKey  = "admin"
	configKey = "config"
	loadKey   = "load"
	delayKey  = "load_delay"
)

// AtOnce reports whether a document pulls another one in its load, by its
// settings, and where in it the loader stands.
func AtOnce(root *config.Node) (pointer string, ok bool) {
	pointer, management := managementOf(root)
	key, load := member(management, loadKey)
	if load.Kind() == config.Null {
		return "", false
	}
	if _, delay := member(management, delayKey); delay.Kind() != config.Null {
		var d module.Duration
		if _, err := d.DecodeNode(delay); err != nil || d != 0 {
			return "", false // what is wrong with it, the load says
		}
	}
	return config.JoinPointer(pointer, key), true
}

// Wanted reports whether a document pulls others, at once or later.
func Wanted(root *config.Node) bool {
	_, management := managementOf(root)
	_, load := member(management, loadKey)
	return load.Kind() != config.Null
}

// sameSetting reports whether two documents say the same about pulling.
func sameSetting(a, b *config.Node) bool {
	_, x := managementOf(a)
	_, y := managementOf(b)
	for _, key := range []string{loadKey, delayKey} {
		_, v := member(x, key)
		_, w := member(y, key)
		if !config.Equal(v, w) {
			return false
		}
	}
	return true
}

// adminOf returns the admin object of a document, nil if it has none.
func adminOf(root *config.Node) *config.Node {
	_, admin := member(root, adminKey)
	return admin
}

func identityOf(doc *config.Doc) *config.Node {
	_, identity := member(adminOf(doc.Root()), "identity")
	return identity
}

func managementOf(root *config.Node) (pointer string, n *config.Node) {
	outer, admin := member(root, adminKey)
	inner, management := member(admin, configKey)
	return config.JoinPointer("", outer, inner), management
}

// member finds a field as decoding does: by its name, or else whatever its case.
func member(n *config.Node, name string) (key string, value *config.Node) {
	if v := n.Get(name); v != nil {
		return name, v
	}
	for key, v := range n.Members() {
		if strings.EqualFold(key, name) {
			return key, v
		}
	}
	return name, nil
}
