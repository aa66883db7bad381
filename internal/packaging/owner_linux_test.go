package packaging

import (
	"os"
	"syscall"
)

// owner is the number of the user who has a file.
func owner(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
