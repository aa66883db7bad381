//go:build unix

package overwrite

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a new file the owner of an old one, as far as that is allowed.
func keepOwner(f *os.File, old fs.FileInfo) {
	if stat, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid))
	}
}
