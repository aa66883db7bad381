package fileserver

import (
	"fmt"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/fsys"
	"github.com/sluiceproxy/sluice/schema"
)

// FilesystemsConfig is the app caddy.filesystems: file systems under names, to
// which the field fs of handlers and matchers refers. The machine's own needs no
// entry; it is called default.
type FilesystemsConfig struct {
	// Filesystems are the file systems.
	Filesystems []NamedFilesystem `json:"filesystems,omitempty"`
}

// NamedFilesystem is a file system with its name.
type NamedFilesystem struct {
	// Name is what the file system is called. As default, or without a name, it is
	// what is used where no other one is named.
	Name string `json:"name,omitempty"`
	// FileSystem is the file system: a module caddy.fs.
	FileSystem module.Ref[fsys.FS] `json:"file_system" module:"caddy.fs" inline:"backend"`
}

func filesystemsSpec() module.Spec {
	return module.New("caddy.filesystems", "Gives names to file systems.", nil, compileFilesystems, module.App,
		module.Examples(module.Example{Title: "No file system but that of the machine", JSON: `{"filesystems": []}`}))
}

// compileFilesystems makes a fsys.Registry.
func compileFilesystems(_ *module.Env, cfg *FilesystemsConfig) (any, error) {
	out := fsys.Registry{}
	var problems schema.Problems
	for i, f := range cfg.Filesystems {
		pointer := config.JoinPointer("/filesystems", itoa(i))
		name := or(f.Name, fsys.Default)
		if _, twice := out[name]; twice {
			problems = append(problems, schema.Problem{Pointer: config.JoinPointer(pointer, "name"), Message: fmt.Sprintf("the name %q is taken by an entry before", name)})
		}
		if !f.FileSystem.Set() {
			problems = append(problems, schema.Problem{Pointer: pointer, Message: "file_system is missing: it says what is registered under the name"})
			continue
		}
		out[name] = f.FileSystem.Value()
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}
