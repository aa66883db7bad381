// Package certstore is the storage of certificates, keys and accounts: the
// modules of the namespace caddy.storage, the Switch through which the process
// uses the one of the current document, and export and import.
//
// A storage is a certmagic.Storage. Keys are names separated by single slashes,
// as in certmagic.StorageKeys. Both storages mean the same by every method:
//
//   - A key has a value or is a folder. Storing a value makes the folders above
//     it, which stay when it is deleted. A value cannot take the place of a
//     folder, nor stand below a value.
//   - Load, Stat and List of what is not there are fs.ErrNotExist; so is Load of
//     a folder. The outermost folder, "", is always there, and cannot be deleted.
//   - List gives values and folders, each folder before what is in it and
//     siblings by name. That of a value is empty.
//   - After a crash a key has its old value or its new one. A failed Store means
//     either, and nothing else.
//
// Values are at most MaxValue bytes. No error holds a value.
package certstore

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/config/module"
)

const (
	// Namespace is where the storage modules are. Their value is a certmagic.Storage.
	Namespace = "caddy.storage"
	// InlineKey names the module in a storage's object.
	InlineKey = "module"
)

// boltName is the file of the storage bolt in the data directory.
const boltName = "storage.db"

// Stores is what the storages of all documents share: where they are if nothing
// is said, and the files that are open. It is safe for concurrent use.
type Stores struct {
	dir string

	mu    sync.Mutex
	files map[string]*sharedDatabase

	suspending sync.Mutex
	suspended  []*database // their locks are held
}

// NewStores makes the service that the modules need. The directory is where a
// storage without a place of its own keeps its data; nothing is made there before
// something is stored.
func NewStores(dir string) *Stores {
	return &Stores{dir: dir, files: map[string]*sharedDatabase{}}
}

// Default is the storage of a document that names none.
func (s *Stores) Default() *FileSystem { return NewFileSystem(s.dir) }

// Specs describes the storage modules. They need the service *Stores.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".file_system", "Keeps certificates, keys and accounts as files below a folder, which several processes may share.", nil, compileFileSystem,
			module.Examples(module.Example{Title: "Use the data directory of a Caddy installation.", JSON: `{"module":"file_system","root":"/var/lib/caddy/.local/share/caddy"}`}),
			module.Words(fileSystemWords)),
		module.New(Namespace+".bolt", "Keeps certificates, keys and accounts in one file, for one process.", nil, compileBolt,
			module.Examples(module.Example{Title: "Keep everything in one file.", JSON: `{"module":"bolt","path":"/var/lib/sluice/certificates.db"}`}),
			module.Words(boltWords)),
	}
}

// FileSystemConfig is the storage file_system.
type FileSystemConfig struct {
	// Root is the folder. It is made, for the process's user alone, when something is stored. The data directory of a Caddy installation can be used as it is. Placeholders such as {env.NAME} are replaced. Default: the data directory.
	Root string `json:"root"`
}

func compileFileSystem(env *module.Env, c *FileSystemConfig) (certmagic.Storage, error) {
	root, err := place(env, "/root", c.Root, module.Service[*Stores](env).dir)
	if err != nil {
		return nil, err
	}
	return NewFileSystem(root), nil
}

// BoltConfig is the storage bolt.
type BoltConfig struct {
	// Path is the file. It and its folder are made, for the process's user alone, when the document takes effect. While a process uses the file no other can. Placeholders such as {env.NAME} are replaced. Default: storage.db in the data directory.
	Path string `json:"path"`
}

func compileBolt(env *module.Env, c *BoltConfig) (certmagic.Storage, error) {
	stores := module.Service[*Stores](env)
	path, err := place(env, "/path", c.Path, filepath.Join(stores.dir, boltName))
	if err != nil {
		return nil, err
	}
	b := NewBolt(stores, path)
	env.Own(module.Acquired(b.Open, b.Close))
	return b, nil
}

// place is the absolute path that a field stands for.
func place(env *module.Env, pointer, text, otherwise string) (string, error) {
	if text == "" {
		text = otherwise
	}
	path, err := env.ExpandStrict(text)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", module.Problem(pointer, fmt.Sprintf("finding where the certificates are kept: %v", err))
	}
	return path, nil
}
